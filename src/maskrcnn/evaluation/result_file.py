"""Result files in COCO's format, from this project or any other: whatever is wrong is one line."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from maskrcnn.data.sources.report import brief
from maskrcnn.data.sources.scalars import Identity, as_identity
from maskrcnn.data.sources.segmentation import rle_runs
from maskrcnn.errors import EvaluationError
from maskrcnn.evaluation.ground_truth import GroundTruth

Records = list[dict[str, Any]]


def read_results(path: str | os.PathLike[str]) -> Records:
    """Reads a file of COCO result records; ``check_results`` looks at what is in them.

    Raises:
        EvaluationError: It cannot be read, is no JSON, or holds no list of objects.
    """
    try:
        records = json.loads(Path(path).read_bytes().decode("utf-8-sig"))
    except OSError as error:
        raise EvaluationError(f"cannot read the results {path}: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise EvaluationError(f"the results {path} are no UTF-8 text (byte {error.start})") from error
    except RecursionError:
        raise EvaluationError(f"the results {path} are no list of results: they are nested too deeply") from None
    except ValueError as error:
        raise EvaluationError(f"the results {path} are no JSON: {error}") from error
    if not isinstance(records, list):
        raise EvaluationError(f"the results {path} are {_kind_of(records)}, not a list of results")
    for number, record in enumerate(records, 1):
        if not isinstance(record, dict):
            raise EvaluationError(f"{path}: record {number} is {_kind_of(record)}, not an object")
    return records


def sizes_of_masks(records: Sequence[Mapping[str, Any]]) -> dict[Identity, tuple[int, int]]:
    """Returns (height, width) of images by ``as_identity`` of their ids, as far as the masks of results tell them."""
    sizes = {}
    for record in records:
        segmentation = record.get("segmentation")
        size = segmentation.get("size") if isinstance(segmentation, dict) else None
        image = as_identity(record.get("image_id"))
        if image is not None and _is_size(size):
            sizes[image] = (size[0], size[1])
    return sizes


def check_results(records: Sequence[Mapping[str, Any]], kind: str, truth: GroundTruth, path: object) -> Records:
    """Checks the records of a file, and gives them the annotation file's spelling of ids.

    Args:
        records: What ``read_results`` gave.
        kind: 'bbox', or 'segm' for masks.
        truth: The annotations they will be scored against.
        path: What to call the file in messages.

    Returns:
        The records with ``image_id``, ``category_id``, ``score``, and ``bbox`` or ``segmentation``.

    Raises:
        EvaluationError: A record cannot be scored; the message names it, the field and its value.
    """
    images = {as_identity(image["id"]): image for image in truth.images}
    categories = {as_identity(category["id"]): category["id"] for category in truth.categories}
    checked = []
    for number, record in enumerate(records, 1):
        try:
            checked.append(_checked(record, kind, images, categories))
        except ValueError as error:
            raise EvaluationError(f"{path}: record {number}{_place(record)}: {error}") from None
    return checked


def _checked(
    record: Mapping[str, Any], kind: str, images: Mapping[Identity, dict[str, Any]], categories: Mapping[Identity, Any]
) -> dict[str, Any]:
    """The record in today's spelling; ValueError for a field that cannot be used."""
    image = images.get(as_identity(_field(record, "image_id")))
    if image is None:
        raise ValueError(f"image_id is {brief(record['image_id'])}, which the annotation file does not list")
    category = as_identity(_field(record, "category_id"))
    if category not in categories:
        raise ValueError(f"category_id is {brief(record['category_id'])}, which the annotation file does not list")
    score = _field(record, "score")
    if not _is_number(score):
        raise ValueError(f"score is {brief(score)}, expected a number")
    common = {"image_id": image["id"], "category_id": categories[category], "score": score}
    if kind == "bbox":
        return {**common, "bbox": _box(_field(record, "bbox"))}
    return {**common, "segmentation": _mask(_field(record, "segmentation"), image["height"], image["width"])}


def _field(record: Mapping[str, Any], name: str) -> Any:
    if name not in record:
        raise ValueError(f"it has no {name}")
    return record[name]


def _box(bbox: Any) -> list[float]:
    if not isinstance(bbox, list) or len(bbox) != 4 or not all(map(_is_number, bbox)):
        raise ValueError(f"bbox is {brief(bbox)}, expected four numbers [x, y, width, height]")
    if bbox[2] < 0 or bbox[3] < 0:
        raise ValueError(f"bbox is {brief(bbox)}, with a negative width or height")
    return bbox


def _mask(segmentation: Any, height: int | None, width: int | None) -> dict[str, Any]:
    """A compressed RLE of the image's size. Unlike that of an annotation it may cover no pixel."""
    if not isinstance(segmentation, dict):
        raise ValueError(f"segmentation is {brief(segmentation)}, expected a run-length code {{size, counts}}")
    size, counts = (_field_of(segmentation, name) for name in ("size", "counts"))
    if not _is_size(size):
        raise ValueError(f"segmentation.size is {brief(size)}, expected [height, width]")
    if None not in (height, width) and size != [height, width]:
        raise ValueError(f"segmentation.size is {brief(size)}, but the image is [{height}, {width}]")
    if not isinstance(counts, str):
        raise ValueError(f"segmentation.counts is {brief(counts)}, expected compressed run lengths as text")
    try:
        runs = rle_runs(counts.encode("ascii", "replace"))
    except ValueError as error:
        raise ValueError(f"segmentation.counts is {brief(counts)}: {error}") from None
    if runs.min() < 0 or runs.sum() != size[0] * size[1]:
        raise ValueError(f"segmentation.counts is {brief(counts)}: it does not add up to {size[0]}x{size[1]} pixels")
    return {"size": size, "counts": counts}


def _field_of(segmentation: dict[str, Any], name: str) -> Any:
    if name not in segmentation:
        raise ValueError(f"segmentation has no {name}")
    return segmentation[name]


def _is_number(value: Any) -> bool:
    """Whether this is a finite number; true and false are none."""
    try:
        return type(value) in (int, float) and math.isfinite(value)
    except OverflowError:  # an integer beyond all floats
        return False


def _is_size(size: Any) -> bool:
    return isinstance(size, list) and len(size) == 2 and all(type(side) is int and side > 0 for side in size)


def _place(record: Mapping[str, Any]) -> str:
    """The image of a record in brackets, where it names one."""
    image = as_identity(record.get("image_id"))
    return "" if image is None else f" (image {brief(image)})"


def _kind_of(value: Any) -> str:
    names = {dict: "an object", list: "a list", str: "a text", bool: "true or false", type(None): "null"}
    return names.get(type(value), "a number")
