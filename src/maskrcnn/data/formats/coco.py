"""COCO JSON: one file for a split; also as Roboflow exports it, beside the images of each split's folder.

Files are indexed, and entries understood, as in training (``data.sources.coco_file``); polygons stay polygons.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from maskrcnn.data.formats.files import start_of
from maskrcnn.data.formats.labels import LabelFormat, LabelledImage, LabelledObject, LabelSet, ReadOptions, split_of
from maskrcnn.data.formats.tree import FileTree, ImageFinder
from maskrcnn.data.sources.coco_entries import CocoImage
from maskrcnn.data.sources.coco_file import CocoFile
from maskrcnn.data.sources.json_stream import iter_elements
from maskrcnn.data.sources.report import Issue, Reason, brief
from maskrcnn.data.sources.scalars import Identity, as_identity, as_integer, as_number
from maskrcnn.errors import DataError

_LISTS = ("images", "annotations", "categories")


def find(tree: FileTree) -> list[Path]:
    """Returns the JSON files with a list of images and one of annotations or categories."""
    return [path for path in tree.with_suffix(".json") if _is_coco(path)]


def read(files: list[Path], finder: ImageFinder, options: ReadOptions) -> LabelSet:
    """Returns the labels of COCO files. A root category that no annotation has, as Roboflow's, is left out."""
    issues: list[Issue] = []
    indexed = []
    for path in files:
        try:
            indexed.append(CocoFile(path))
        except DataError as error:
            issues.append(Issue(Reason.UNREADABLE_LABELS, str(error)))
            continue
        issues += [Issue(issue.reason, f"{path}: {issue.where}") for issue in indexed[-1].issues]
    names = dict.fromkeys(name for file in indexed for name in file.category_names)
    return LabelSet("coco", _images(indexed, finder), tuple(names), issues)


FORMAT = LabelFormat("coco", "COCO JSON", find, read)


def _is_coco(path: Path) -> bool:
    """Tells whether the file's root has the lists of COCO; it is read until there are elements of two of them."""
    start = start_of(path)
    if not start.lstrip().startswith("{") or ('"shapes"' in start and '"imagePath"' in start):
        return False
    found: set[str] = set()
    try:
        for key, element, _ in iter_elements(path, _LISTS):
            if not isinstance(element, dict):
                return False
            found.add(key)
            if len(found) > 1:
                return True
    except DataError:
        # broken somewhere: still the user's COCO file if it began as one
        return len(found) > 1 or ('"images"' in start and ('"file_name"' in start or '"categories"' in start))
    return "images" in found


def _images(files: list[CocoFile], finder: ImageFinder) -> Iterator[LabelledImage]:
    for file in files:
        split = split_of(file.path, finder.root)
        names = {as_identity(entry["id"]): str(entry["name"]).strip() for entry in file.categories}
        for entry in file.images:
            where = f"{file.path}: image {entry.id!r}"
            issues: list[Issue] = []
            objects = []
            for annotation in file.annotations(entry):
                found = _object(annotation, names, where)
                issues.append(found) if isinstance(found, Issue) else objects.append(found)
            yield LabelledImage(
                name=entry.file_name,
                where=where,
                path=_path(entry, file, split, finder),
                objects=objects,
                height=entry.height,
                width=entry.width,
                issues=issues,
                split=split,
            )


def _object(annotation: dict[str, Any], names: dict[Identity, str], where: str) -> LabelledObject | Issue:
    at = f"annotation {brief(annotation.get('id', '?'))}"
    category = as_identity(annotation.get("category_id"))
    if category not in names:
        found = brief(annotation.get("category_id"))
        return Issue(Reason.UNKNOWN_CATEGORY, f"{where}, {at}, category_id {found}")
    crowd = annotation.get("iscrowd", 0)
    crowd = 0 if crowd is None else as_integer(int(crowd) if isinstance(crowd, bool) else crowd)
    if crowd not in (0, 1):
        return Issue(Reason.MALFORMED, f"{where}, {at}, iscrowd {brief(annotation['iscrowd'])}")
    bbox = annotation.get("bbox")
    sides = [as_number(value) for value in bbox] if isinstance(bbox, list) and len(bbox) == 4 else [None]
    if None in sides:
        return Issue(Reason.BAD_BOX, f"{where}, {at}, bbox {brief(bbox)}")
    x, y, width, height = sides
    segmentation = annotation.get("segmentation") or None
    is_crowd = bool(crowd) and not _is_mask_of_cvat(annotation)
    return LabelledObject(names[category], at, (x, y, x + width, y + height), segmentation, is_crowd)


def _is_mask_of_cvat(annotation: dict[str, Any]) -> bool:
    """Tells whether it is a mask as CVAT writes it: with ``iscrowd`` 1, and attributes of its own."""
    attributes = annotation.get("attributes")
    return isinstance(attributes, dict) and "occluded" in attributes


def _path(entry: CocoImage, file: CocoFile, split: str | None, finder: ImageFinder) -> Path | None:
    """Returns the image file; COCO keeps the images of ``annotations/instances_train2017.json`` in ``train2017``."""
    for folder in filter(None, (file.path.stem.partition("_")[2], split)):
        path = file.path.parent.parent / folder / entry.file_name
        if path.is_file():
            return path
    return finder.find(entry.file_name, file.path.parent)
