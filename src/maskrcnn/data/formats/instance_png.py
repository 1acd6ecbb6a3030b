"""One mask image for a photograph, in which every object has its own number (or colour) and 0 is the background."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np

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
from maskrcnn.data.formats.mask_files import mask_files, without_mask
from maskrcnn.data.formats.tree import FileTree, ImageFinder
from maskrcnn.data.sources.report import Issue


def find(tree: FileTree) -> list[Path]:
    """Returns the masks called like a photograph."""
    return [mask.path for mask in mask_files(tree) if mask.image is not None and not mask.one_object]


def read(files: list[Path], finder: ImageFinder, options: ReadOptions) -> LabelSet:
    """Returns the labels of instance masks. Masks of one photograph in folders of several classes belong together."""
    labels = LabelSet("instance_png", iter(()))
    labels.images = _images(finder.tree, options, labels.issues)
    return labels


FORMAT = LabelFormat("instance_png", "PNG of instance numbers", find, read)


def _images(tree: FileTree, options: ReadOptions, issues: list[Issue]) -> Iterator[LabelledImage]:
    masks = [mask for mask in mask_files(tree) if not mask.one_object]
    by_image: dict[Path, list] = {}
    for mask in masks:
        if mask.image is None:
            issues.append(unusable_file(mask.path, "there is no photograph with its name"))
        else:
            by_image.setdefault(mask.image, []).append(mask)
    for image, group in by_image.items():
        objects: list[LabelledObject] = []
        found: list[Issue] = []
        size: tuple[int | None, int | None] = (None, None)
        for mask in group:
            try:
                bitmap = read_bitmap(mask.path).values
            except LabelFileError as error:
                found.append(unusable_file(mask.path, error))
                continue
            size = bitmap.shape
            objects += _objects(mask.path, bitmap, mask.folder or options.class_name, options.split_parts)
        where = str(group[0].path)
        if len(found) == len(group):  # without any mask it would be taken for an image without objects
            issues += found
            continue
        split = split_of(image, tree.root)
        yield LabelledImage(image.name, where, image, objects, None, *size, issues=found, split=split)
    for image in without_mask(tree, masks):
        yield LabelledImage(image.name, str(image), image, split=split_of(image, tree.root), labelled=False)


def _objects(path: Path, bitmap: np.ndarray, label: str, split_parts: bool) -> Iterator[LabelledObject]:
    for value in np.unique(bitmap[bitmap != 0]).tolist():
        part = bitmap == value
        if not split_parts:
            yield LabelledObject(label, f"{path.name}, number {value}", segmentation=bitmap_to_rle(part))
            continue
        count, parts = cv2.connectedComponents(part.astype(np.uint8))
        for index in range(1, count):
            at = f"{path.name}, number {value}, part {index}"
            yield LabelledObject(label, at, segmentation=bitmap_to_rle(parts == index))
