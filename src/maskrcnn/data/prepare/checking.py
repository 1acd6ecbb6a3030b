"""Labelled images checked against their image files, with the care of the COCO reader."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from pycocotools import mask as coco_mask

from maskrcnn.data.formats.labels import LabelledImage, LabelledObject
from maskrcnn.data.prepare.classes import ClassMap
from maskrcnn.data.sources.report import Issue, Reason
from maskrcnn.data.sources.segmentation import encode_segmentation
from maskrcnn.data.sources.source import ImageFile, UnusableImage, clip_box, read_image

_DECIMALS = 3  # of coordinates in pixels


@dataclass(frozen=True)
class CheckedObject:
    """An object of a prepared data set, in pixels of its image.

    Attributes:
        label: name of its class.
        box: x1, y1, x2, y2, within the image.
        segmentation: polygons, or a COCO RLE with compressed counts; None where only the box is known.
        area: pixels of the mask; of the box where there is no mask.
        crowd: a region to ignore.
    """

    label: str
    box: tuple[float, float, float, float]
    segmentation: Any
    area: float
    crowd: bool = False


@dataclass(frozen=True)
class CheckedImage:
    """An image that can be used, with those of its objects that can.

    Attributes:
        name: its file name as the labels give it.
        path: the image file; None for an embedded image.
        data: the bytes of an embedded image; None for a file.
        height: rows.
        width: columns.
        orientation: the EXIF orientation in which the labels see the stored pixels.
        objects: its objects.
        split: "train", "val" or "test" where the source says so.
    """

    name: str
    path: Path | None
    data: bytes | None
    height: int
    width: int
    orientation: int
    objects: Sequence[CheckedObject]
    split: str | None


def check_image(
    image: LabelledImage, classes: ClassMap, keep_empty: bool = True
) -> tuple[CheckedImage | None, list[Issue]]:
    """Checks an image and its objects, and gives objects their new class names.

    Args:
        image: the image as the labels describe it.
        classes: new names, and which classes are kept.
        keep_empty: keep an image that has only objects of classes that are not kept, as background.

    Returns:
        The image, and what was wrong. The image is None where it cannot be used: its file is unusable, or none of its
        objects is usable, so that they would be taken for background.
    """
    issues = list(image.issues)
    try:
        file = _image_file(image)
    except UnusableImage as error:
        return None, [*issues, Issue(error.reason, f"{image.where}: {error.detail}")]
    if file.note is not None:
        issues.append(Issue(file.note, image.where))
    height, width = file.height, file.width
    objects: list[CheckedObject] = []
    seen: set[str] = set()
    for item in image.objects:
        found, found_issues = _check_object(item, image, classes, height, width)
        issues += found_issues
        if found is None:
            continue
        key = json.dumps([found.label, found.box, found.segmentation, found.crowd])
        if key in seen:
            issues.append(Issue(Reason.DUPLICATE_OBJECT, f"{image.where}, {item.where} ({found.label})"))
            continue
        seen.add(key)
        objects.append(found)
    if not objects:
        emptied = any(issue.reason.fault or issue.reason is Reason.NO_AREA for issue in issues)
        filtered = any(issue.reason is Reason.OTHER_CLASS for issue in issues)
        issues.append(Issue(Reason.NO_OBJECTS, image.where))
        if emptied or (filtered and not keep_empty):
            return None, issues
    checked = CheckedImage(
        image.name, image.path, image.data, height, width, file.orientation, tuple(objects), image.split
    )
    return checked, issues


def _image_file(image: LabelledImage) -> ImageFile:
    """Returns an image's file after decoding it; annotation tools show photographs as EXIF says.

    Raises:
        UnusableImage: it is missing, damaged or of another size than the labels say.
    """
    if image.path is not None:
        return read_image(image.path, image.height, image.width)
    if image.data is None:
        raise UnusableImage(Reason.MISSING_IMAGE, image.name)
    with tempfile.NamedTemporaryFile(suffix=Path(image.name).suffix) as file:
        file.write(image.data)
        file.flush()
        try:
            return read_image(Path(file.name), image.height, image.width)
        except UnusableImage as error:
            raise UnusableImage(error.reason, error.detail.replace(file.name, "the embedded image")) from None


def _check_object(
    item: LabelledObject, image: LabelledImage, classes: ClassMap, height: int, width: int
) -> tuple[CheckedObject | None, list[Issue]]:
    where = f"{image.where}, {item.where}"
    label = classes.name_of(item.label)
    if label is None:
        return None, [Issue(Reason.OTHER_CLASS, f"{where} ({item.label})")]
    box, segmentation = item.box, item.segmentation
    if image.relative:
        sides = np.array([width, height])
        box = None if box is None else (np.reshape(box, (2, 2)) * sides).ravel().tolist()
        if segmentation is not None:
            segmentation = [(np.reshape(polygon, (-1, 2)) * sides).ravel().tolist() for polygon in segmentation]
    issues: list[Issue] = []
    area = None
    if segmentation is not None:
        try:
            rle = {"size": [height, width], "counts": encode_segmentation(segmentation, height, width)}
        except ValueError as error:
            issues.append(Issue(Reason.BAD_MASK if box is not None else Reason.BAD_SHAPE, f"{where}: {error}"))
            segmentation = None
        else:
            area = float(coco_mask.area(rle))
            segmentation = _tidied(segmentation, rle)
            box = _bounds(segmentation, rle) if box is None else box
    elif box is not None:
        issues.append(Issue(Reason.BOX_ONLY, where))
    if box is None:
        return None, issues
    clipped, reason = clip_box(tuple(map(float, box)), height, width)
    if reason is not None:
        issues.append(Issue(reason, f"{where}, box {_brief(box)}"))
    if clipped is None:
        return None, issues
    if segmentation is None:
        area = (clipped[2] - clipped[0]) * (clipped[3] - clipped[1])
    rounded = tuple(round(value, _DECIMALS) for value in clipped)
    return CheckedObject(label, rounded, segmentation, round(area, _DECIMALS), item.crowd), issues


def _tidied(segmentation: Any, rle: dict[str, Any]) -> Any:
    """Returns the polygons of three points or more, rounded; an RLE with compressed counts."""
    if isinstance(segmentation, dict):
        return {"size": rle["size"], "counts": rle["counts"].decode("ascii")}
    # a polygon may be a list of pairs, and so may be the segmentation itself
    flat = [np.asarray(polygon, float).ravel() for polygon in segmentation]
    if len(flat[0]) == 2:
        flat = [np.concatenate(flat)]
    usable = [polygon for polygon in flat if len(polygon) >= 6 and len(polygon) % 2 == 0]
    return [[round(value, _DECIMALS) for value in polygon.tolist()] for polygon in usable]


def _bounds(segmentation: Any, rle: dict[str, Any]) -> tuple[float, float, float, float]:
    """Returns the box of a mask: that of its polygons' points, within the image, or that of its pixels."""
    if isinstance(segmentation, dict):
        x, y, width, height = coco_mask.toBbox(rle).tolist()
        return x, y, x + width, y + height
    rows, columns = rle["size"]
    points = np.concatenate([np.reshape(polygon, (-1, 2)) for polygon in segmentation])
    low, high = points.min(0).clip(0, [columns, rows]), points.max(0).clip(0, [columns, rows])
    return (*low.tolist(), *high.tolist())


def _brief(box: Sequence[float]) -> str:
    return "[" + ", ".join(f"{value:.6g}" for value in box) + "]"
