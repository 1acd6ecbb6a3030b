"""One mask image for each object of a photograph, as the nuclei of the Data Science Bowl 2018 have."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from maskrcnn.data.formats.files import read_bitmap
from maskrcnn.data.formats.geometry import bitmap_to_rle
from maskrcnn.data.formats.labels import (
    LabelFileError,
    LabelFormat,
    LabelledImage,
    LabelledObject,
    LabelSet,
    ReadOptions,
    split_of,
    unusable_file,
)
from maskrcnn.data.formats.mask_files import MaskFile, mask_files, without_mask
from maskrcnn.data.formats.tree import FileTree, ImageFinder
from maskrcnn.data.sources.report import Issue, Reason


def find(tree: FileTree) -> list[Path]:
    """Returns the masks of photographs that have one for each object."""
    return [mask.path for mask in mask_files(tree) if mask.one_object]


def read(files: list[Path], finder: ImageFinder, options: ReadOptions) -> LabelSet:
    """Returns the labels of object masks."""
    labels = LabelSet("object_png", iter(()))
    labels.images = _images(finder.tree, options, labels.issues)
    return labels


FORMAT = LabelFormat("object_png", "PNG for each object", find, read)


def _images(tree: FileTree, options: ReadOptions, issues: list[Issue]) -> Iterator[LabelledImage]:
    masks = [mask for mask in mask_files(tree) if mask.one_object or mask.image is None]
    by_image: dict[Path, list[MaskFile]] = {}
    for mask in masks:
        if mask.image is None:
            issues.append(unusable_file(mask.path, "it belongs to no photograph"))
        else:
            by_image.setdefault(mask.image, []).append(mask)
    for image, group in by_image.items():
        yield _image(image, group, tree, options)
    for image in without_mask(tree, masks):
        yield LabelledImage(image.name, str(image), image, split=split_of(image, tree.root), labelled=False)


def _image(image: Path, group: list[MaskFile], tree: FileTree, options: ReadOptions) -> LabelledImage:
    issues: list[Issue] = []
    objects = []
    for mask in group:
        try:
            rle = bitmap_to_rle(read_bitmap(mask.path).values)
        except LabelFileError as error:
            issues.append(Issue(Reason.BAD_MASK, f"{mask.path}: {error}"))
            continue
        objects.append(LabelledObject(mask.folder or options.class_name, mask.path.name, segmentation=rle))
    return LabelledImage(
        image.name, str(group[0].path.parent), image, objects, issues=issues, split=split_of(image, tree.root)
    )
