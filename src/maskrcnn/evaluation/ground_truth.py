"""The annotations that results are scored against: a COCO-format file, checked before anything is computed."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from operator import itemgetter
from pathlib import Path
from typing import Any

from pycocotools import mask as coco_mask

from maskrcnn.data.sources.classes import ClassList
from maskrcnn.data.sources.segmentation import encode_segmentation
from maskrcnn.errors import DataError

IMAGE_KEYS = ("id", "file_name", "height", "width")
ANNOTATION_KEYS = ("id", "image_id", "category_id", "bbox")
CATEGORY_KEYS = ("id", "name")


@dataclass(frozen=True)
class GroundTruth:
    """Images, annotations and categories as COCO's dictionaries, every needed key present.

    What annotation tools leave out is filled in: ``iscrowd`` is 0, ``area`` that of the segmentation or else of the
    box. ``maskless`` has the ids of annotations without a segmentation, or with one that covers nothing; they count for
    boxes, not for masks.
    """

    path: Path
    images: list[dict[str, Any]]
    annotations: list[dict[str, Any]]
    categories: list[dict[str, Any]]
    maskless: frozenset[int]

    @property
    def has_masks(self) -> bool:
        """Whether any annotation has a mask."""
        return len(self.maskless) < len(self.annotations)

    @property
    def category_names(self) -> tuple[str, ...]:
        """The names of all categories, by id."""
        return tuple(str(category["name"]) for category in sorted(self.categories, key=itemgetter("id")))

    def find_classes(self, names: Sequence[str]) -> ClassList:
        """Returns classes, that of label 1 first, with the ids that they have in this file.

        Raises:
            DataError: A class is no category of the file, or two categories have one name.
        """
        return ClassList.from_categories(self.categories, names, str(self.path))


def load_ground_truth(path: str | os.PathLike[str]) -> GroundTruth:
    """Reads a COCO-format annotation file.

    Raises:
        DataError: It holds something that an evaluation could not use.
    """
    path = Path(path)
    try:
        with open(path, encoding="utf-8") as file:
            content = json.load(file)
    except FileNotFoundError:
        raise DataError(f"there is no annotation file {path}: check ann_file, or coco_root and val_data_type") from None
    except (OSError, ValueError) as error:
        raise DataError(f"the annotation file {path} cannot be read: {error}") from error
    if not isinstance(content, dict):
        raise DataError(f"{path} is not a COCO annotation file: it holds a {type(content).__name__}, no object")
    images = _entries(path, content, "images", IMAGE_KEYS)
    categories = _entries(path, content, "categories", CATEGORY_KEYS)
    annotations = _entries(path, content, "annotations", ANNOTATION_KEYS)
    if not annotations:
        raise DataError(f"{path} has no annotations: there is nothing to evaluate against")

    image_ids, category_ids = {i["id"] for i in images}, {c["id"] for c in categories}
    for annotation in annotations:
        if not _is_box(annotation["bbox"]):
            raise DataError(
                f"{path}: annotation {annotation['id']} has the bbox {annotation['bbox']!r}, "
                "not four numbers [x, y, width, height]"
            )
        if annotation["image_id"] not in image_ids:
            raise DataError(
                f"{path}: annotation {annotation['id']} belongs to image {annotation['image_id']}, which is not listed"
            )
        if annotation["category_id"] not in category_ids:
            raise DataError(
                f"{path}: annotation {annotation['id']} has category {annotation['category_id']}, which is not listed"
            )
        if annotation.get("iscrowd") not in (None, 0, 1):
            raise DataError(f"{path}: annotation {annotation['id']} has iscrowd {annotation['iscrowd']!r}, not 0 or 1")
    sizes = {image["id"]: (image["height"], image["width"]) for image in images}
    annotations = [_complete(path, annotation, *sizes[annotation["image_id"]]) for annotation in annotations]
    maskless = frozenset(a["id"] for a in annotations if not _covers(a.get("segmentation")))
    return GroundTruth(path, images, annotations, categories, maskless)


def _complete(path: Path, annotation: dict[str, Any], height: int, width: int) -> dict[str, Any]:
    """The annotation with ``iscrowd`` and ``area``. Raises DataError for what is no segmentation in COCO's sense."""
    segmentation = annotation.get("segmentation")
    polygons = isinstance(segmentation, list) and all(isinstance(polygon, list) for polygon in segmentation)
    rle = isinstance(segmentation, dict) and (not segmentation or {"size", "counts"} <= segmentation.keys())
    if not (polygons or rle or segmentation is None):
        raise DataError(f"{path}: the segmentation of annotation {annotation['id']} is neither polygons nor an RLE")
    area = annotation.get("area")
    if area is None:
        try:
            counts = encode_segmentation(segmentation, height, width)
            area = float(coco_mask.area({"size": [height, width], "counts": counts}))
        except ValueError:  # it covers nothing
            area = annotation["bbox"][2] * annotation["bbox"][3]
    return {**annotation, "iscrowd": annotation.get("iscrowd") or 0, "area": area}


def _entries(path: Path, content: dict[str, Any], section: str, keys: Sequence[str]) -> list[dict[str, Any]]:
    """The list ``section`` of the file, each entry checked for ``keys`` and a unique id."""
    entries = content.get(section)
    if not isinstance(entries, list):
        raise DataError(f"{path} is not a COCO instances file: it has no list '{section}'")
    if not entries and section != "annotations":
        raise DataError(f"{path}: the list '{section}' is empty")
    seen = set()
    for position, entry in enumerate(entries):
        missing = [key for key in keys if key not in entry] if isinstance(entry, dict) else list(keys)
        if missing:
            has_id = isinstance(entry, dict) and "id" in entry
            name = f"id {entry['id']}" if has_id else f"number {position + 1}"
            raise DataError(f"{path}: the entry with {name} of '{section}' has no '{missing[0]}'")
        if type(entry["id"]) is not int:
            raise DataError(f"{path}: the id {entry['id']!r} in '{section}' is not an integer")
        if entry["id"] in seen:
            raise DataError(f"{path}: the id {entry['id']} appears twice in '{section}'")
        seen.add(entry["id"])
    return entries


def _is_box(bbox: Any) -> bool:
    return isinstance(bbox, list) and len(bbox) == 4 and all(isinstance(v, (int, float)) for v in bbox)


def _covers(segmentation: Any) -> bool:
    """Whether there is a segmentation, and it has an RLE or at least one polygon of three points."""
    if isinstance(segmentation, list):
        return any(len(polygon) >= 6 for polygon in segmentation)
    return bool(segmentation)
