"""The COCO figures of a set of results, computed by pycocotools, the reference."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from maskrcnn.errors import EvaluationError
from maskrcnn.evaluation.ground_truth import GroundTruth

# The twelve figures in COCO's order: name, IoU, object size, most detections an image.
FIGURES = (
    ("AP", "0.50:0.95", "all", 100),
    ("AP50", "0.50", "all", 100),
    ("AP75", "0.75", "all", 100),
    ("APs", "0.50:0.95", "small", 100),
    ("APm", "0.50:0.95", "medium", 100),
    ("APl", "0.50:0.95", "large", 100),
    ("AR1", "0.50:0.95", "all", 1),
    ("AR10", "0.50:0.95", "all", 10),
    ("AR100", "0.50:0.95", "all", 100),
    ("ARs", "0.50:0.95", "small", 100),
    ("ARm", "0.50:0.95", "medium", 100),
    ("ARl", "0.50:0.95", "large", 100),
)
KINDS = ("bbox", "segm")


@dataclass(frozen=True)
class ClassMetrics:
    """AP and AP50 of one class, -1 if the evaluated images hold no object of it, and how many they hold."""

    category_id: int
    objects: int
    ap: float
    ap50: float


@dataclass(frozen=True)
class Metrics:
    """The figures of one kind, 'bbox' or 'segm'. A figure is -1 where no object could tell, as in COCO."""

    kind: str
    figures: dict[str, float]
    per_class: list[ClassMetrics]


def compute_metrics(
    truth: GroundTruth,
    records: Sequence[dict[str, Any]],
    kind: str,
    category_ids: Sequence[int],
    image_ids: Sequence[int] | None = None,
) -> Metrics:
    """Judge result records (see ``coco_records``) by the ground truth.

    Only the classes ``category_ids`` and the images ``image_ids`` (None: all) count; an image without records
    counts as one where nothing was found. The order of ``per_class`` is that of ``category_ids``.

    Raises EvaluationError for records that do not fit the annotations, or if there is no object to find.
    """
    if kind not in KINDS:
        raise ValueError(f"kind is {kind!r}, not one of {KINDS}")
    if kind == "segm" and not truth.has_masks:
        raise EvaluationError(f"{truth.path} has no segmentations: masks cannot be evaluated")
    images = {image["id"]: image for image in truth.images}
    wanted = list(images) if image_ids is None else list(image_ids)
    annotations = _annotations(truth, kind, set(category_ids), set(wanted))
    _check_records(records, kind, images, {category["id"] for category in truth.categories})

    with contextlib.redirect_stdout(io.StringIO()):
        evaluation = COCOeval(_coco(truth, annotations), _coco(truth, _with_area(records, kind)), iouType=kind)
        evaluation.params.imgIds = wanted
        evaluation.params.catIds = list(category_ids)
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    figures = {name: float(value) for (name, *_), value in zip(FIGURES, evaluation.stats)}
    return Metrics(kind, figures, _per_class(evaluation, annotations, category_ids))


def _annotations(truth: GroundTruth, kind: str, categories: set[int], images: set[int]) -> list[dict[str, Any]]:
    """Copies of what counts, numbered from 1 on since pycocotools takes id 0 for no match."""
    chosen = [
        annotation
        for annotation in truth.annotations
        if annotation["category_id"] in categories
        and annotation["image_id"] in images
        and not (kind == "segm" and annotation["id"] in truth.maskless)
    ]
    if all(annotation["iscrowd"] for annotation in chosen):
        raise EvaluationError(
            f"{truth.path} has no object of the run's {len(categories)} classes in the {len(images)} images "
            "to evaluate: check coco_classes and the annotation file"
        )
    copies = [dict(annotation, id=number) for number, annotation in enumerate(chosen, 1)]
    for annotation in copies:
        if kind == "segm" and isinstance(annotation["segmentation"], list):
            # Fewer than three points are no polygon, and four numbers would be read as a box.
            annotation["segmentation"] = [p for p in annotation["segmentation"] if len(p) >= 6]
    return copies


def _check_records(
    records: Sequence[dict[str, Any]], kind: str, images: dict[int, dict[str, Any]], categories: set[int]
) -> None:
    content = "bbox" if kind == "bbox" else "segmentation"
    for position, record in enumerate(records):
        where = f"{kind} result number {position + 1}"
        if not isinstance(record, dict):
            raise EvaluationError(f"{where} is a {type(record).__name__}, not an object")
        for key in ("image_id", "category_id", "score", content):
            if key not in record:
                raise EvaluationError(f"{where} has no '{key}'")
        if record["image_id"] not in images:
            raise EvaluationError(f"{where} is of image {record['image_id']}, which the annotation file does not list")
        if record["category_id"] not in categories:
            raise EvaluationError(
                f"{where} is of category {record['category_id']}, which the annotation file does not list"
            )
        if kind == "segm":
            image = images[record["image_id"]]
            size, expected = list(record[content]["size"]), [image["height"], image["width"]]
            if size != expected:
                raise EvaluationError(
                    f"{where} has a mask of size {size}, but image {record['image_id']} is {expected}"
                )


def _with_area(records: Sequence[dict[str, Any]], kind: str) -> list[dict[str, Any]]:
    """Copies of the records with what pycocotools' ``loadRes`` would add; it cannot load an empty list."""
    if kind == "bbox":
        extra = [{"area": r["bbox"][2] * r["bbox"][3]} for r in records]
    else:
        extra = [{"area": float(area)} for area in _areas([r["segmentation"] for r in records])]
    return [{**r, **e, "id": n, "iscrowd": 0} for n, (r, e) in enumerate(zip(records, extra), 1)]


def _areas(rles: list[dict[str, Any]]) -> np.ndarray:
    return np.asarray(coco_mask.area(rles)) if rles else np.zeros(0)


def _coco(truth: GroundTruth, annotations: list[dict[str, Any]]) -> COCO:
    coco = COCO()
    coco.dataset = {"images": truth.images, "categories": truth.categories, "annotations": annotations}
    coco.createIndex()
    return coco


def _per_class(
    evaluation: COCOeval, annotations: list[dict[str, Any]], category_ids: Sequence[int]
) -> list[ClassMetrics]:
    """Mean precision over IoU and recall, for objects of any size and 100 detections, by class."""
    precision = evaluation.eval["precision"][:, :, :, 0, -1]  # [IoU, recall, class]
    position = {category: k for k, category in enumerate(evaluation.params.catIds)}
    rows = []
    for category in category_ids:
        of_class = precision[:, :, position[category]]
        objects = sum(a["category_id"] == category and not a["iscrowd"] for a in annotations)
        ap, ap50 = (float(p[p > -1].mean()) if (p > -1).any() else -1.0 for p in (of_class, of_class[0]))
        rows.append(ClassMetrics(int(category), objects, ap, ap50))
    return rows
