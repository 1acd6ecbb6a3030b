"""The metrics of a set of results by COCO's or LVIS's rules, for boxes, masks and mask boundaries."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from pycocotools import mask as coco_mask

from maskrcnn.errors import EvaluationError
from maskrcnn.evaluation.engines import AREAS, Curves, Problem, accumulate
from maskrcnn.evaluation.ground_truth import GroundTruth
from maskrcnn.inference.results import CategoryId, ImageId

if TYPE_CHECKING:
    from maskrcnn.config import Config


class MetricRow(NamedTuple):
    """A metric: its name, IoU thresholds, object size, most detections an image, and LVIS's class frequency."""

    name: str
    iou: str
    area: str
    detections: int
    frequency: str = "all"


# COCO's twelve metrics in COCO's order.
COCO_METRICS = (
    MetricRow("AP", "0.50:0.95", "all", 100),
    MetricRow("AP50", "0.50", "all", 100),
    MetricRow("AP75", "0.75", "all", 100),
    MetricRow("APs", "0.50:0.95", "small", 100),
    MetricRow("APm", "0.50:0.95", "medium", 100),
    MetricRow("APl", "0.50:0.95", "large", 100),
    MetricRow("AR1", "0.50:0.95", "all", 1),
    MetricRow("AR10", "0.50:0.95", "all", 10),
    MetricRow("AR100", "0.50:0.95", "all", 100),
    MetricRow("ARs", "0.50:0.95", "small", 100),
    MetricRow("ARm", "0.50:0.95", "medium", 100),
    MetricRow("ARl", "0.50:0.95", "large", 100),
)
# LVIS's thirteen: 300 detections an image; classes are rare (up to 10 training images), common (100) or frequent.
LVIS_METRICS = (
    MetricRow("AP", "0.50:0.95", "all", 300),
    MetricRow("AP50", "0.50", "all", 300),
    MetricRow("AP75", "0.75", "all", 300),
    MetricRow("APs", "0.50:0.95", "small", 300),
    MetricRow("APm", "0.50:0.95", "medium", 300),
    MetricRow("APl", "0.50:0.95", "large", 300),
    MetricRow("APr", "0.50:0.95", "all", 300, "r"),
    MetricRow("APc", "0.50:0.95", "all", 300, "c"),
    MetricRow("APf", "0.50:0.95", "all", 300, "f"),
    MetricRow("AR300", "0.50:0.95", "all", 300),
    MetricRow("ARs", "0.50:0.95", "small", 300),
    MetricRow("ARm", "0.50:0.95", "medium", 300),
    MetricRow("ARl", "0.50:0.95", "large", 300),
)
PROTOCOLS = {"coco": COCO_METRICS, "lvis": LVIS_METRICS}
KINDS = ("bbox", "segm", "boundary")
IOU_THRESHOLDS = {"0.50:0.95": slice(None), "0.50": slice(0, 1), "0.75": slice(5, 6)}


@dataclass(frozen=True)
class MetricSettings:
    """How results are scored: the library, the rules ('coco' or 'lvis'), and whether boundary AP is wanted too."""

    engine: str
    protocol: str
    boundary: bool

    @classmethod
    def from_config(cls, cfg: Config) -> MetricSettings:
        """Returns the settings of a run."""
        return cls(cfg.metric_engine, cfg.metric_protocol, cfg.metric_boundary)


COCO_RULES = MetricSettings("auto", "coco", False)


@dataclass(frozen=True)
class ClassMetrics:
    """AP and AP50 of one class, -1 if the evaluated images hold no object of it, and how many they hold."""

    category_id: CategoryId
    objects: int
    ap: float
    ap50: float


@dataclass(frozen=True)
class Metrics:
    """The metrics of one of ``KINDS``.

    stats: by name, -1 where no object could tell, as in COCO. per_class: in the order of the category ids.
    precision: float64 [10 IoU thresholds, 101 recalls, K classes], for objects of any size and the most detections.
    scores: float64 of the same shape, the score that reaches a recall.
    """

    kind: str
    stats: dict[str, float]
    per_class: list[ClassMetrics]
    precision: np.ndarray = field(repr=False, compare=False)
    scores: np.ndarray = field(repr=False, compare=False)
    protocol: str = "coco"


def compute_metrics(
    truth: GroundTruth,
    records: Mapping[str, Sequence[dict[str, Any]]],
    category_ids: Sequence[CategoryId],
    image_ids: Sequence[ImageId] | None = None,
    settings: MetricSettings = COCO_RULES,
) -> dict[str, Metrics]:
    """Scores result records against the ground truth.

    An image without records counts as one where nothing was found. Masks are left out where the objects to be found
    have none.

    Args:
        truth: The ground truth.
        records: COCO result records under 'bbox' and 'segm', or one of them.
        category_ids: The classes that count; the order of ``per_class``.
        image_ids: The images that count; None means all.
        settings: The library, the rules, and whether boundary AP is wanted too.

    Returns:
        The metrics of each kind.

    Raises:
        EvaluationError: The records do not fit the annotations, there is no object to find, or the engine is missing.
    """
    images = {image["id"]: image for image in truth.images}
    wanted = list(images) if image_ids is None else list(image_ids)
    if settings.protocol == "lvis":
        _check_lvis(truth)
    objects = _objects_that_count(truth, set(category_ids), set(wanted))
    with_masks = [entry for entry in objects if entry["id"] not in truth.maskless]
    has_masks = any(not entry["iscrowd"] for entry in with_masks)
    metrics = {}
    for kind, of_kind in records.items():
        _check_records(of_kind, kind, images, {category["id"] for category in truth.categories})
        for scored in (kind, "boundary") if kind == "segm" and settings.boundary else (kind,):
            if kind == "bbox" or has_masks:
                annotations = _numbered(objects if kind == "bbox" else with_masks, kind)
                metrics[scored] = _score(truth, annotations, of_kind, scored, category_ids, wanted, settings)
    return metrics


def _score(
    truth: GroundTruth,
    annotations: list[dict[str, Any]],
    records: Sequence[dict[str, Any]],
    kind: str,
    category_ids: Sequence[CategoryId],
    image_ids: Sequence[ImageId],
    settings: MetricSettings,
) -> Metrics:
    """The metrics of one kind."""
    rows = PROTOCOLS[settings.protocol]
    limits = tuple(sorted({row.detections for row in rows}))
    problem = Problem(
        truth.images,
        truth.categories,
        annotations,
        _with_area(records, kind),
        kind,
        category_ids,
        image_ids,
        limits,
        settings.protocol == "lvis",
    )
    curves = accumulate(problem, settings.engine)
    frequency = {category["id"]: category.get("frequency", "") for category in truth.categories}
    frequencies = np.array([frequency.get(category, "") for category in category_ids])
    stats = {row.name: _value(row, curves, limits, frequencies) for row in rows}
    precision, scores = curves.precision[..., 0, -1], curves.scores[..., 0, -1]
    per_class = _per_class(precision, annotations, category_ids)
    return Metrics(kind, stats, per_class, precision, scores, settings.protocol)


def _value(row: MetricRow, curves: Curves, limits: Sequence[int], frequencies: np.ndarray) -> float:
    """The mean of precision, or of recall, over whatever the metric leaves open; -1 where no object could tell."""
    values = curves.precision if row.name.startswith("AP") else curves.recall
    values = values[..., AREAS.index(row.area), limits.index(row.detections)][IOU_THRESHOLDS[row.iou]]
    if row.frequency != "all":
        values = values[..., frequencies == row.frequency]
    known = values[values > -1]
    return float(np.mean(known)) if len(known) else -1.0


def _objects_that_count(truth: GroundTruth, categories: set[CategoryId], images: set[ImageId]) -> list[dict[str, Any]]:
    chosen = [
        annotation
        for annotation in truth.annotations
        if annotation["category_id"] in categories and annotation["image_id"] in images
    ]
    if all(annotation["iscrowd"] for annotation in chosen):
        raise EvaluationError(
            f"{truth.path} has no object of the run's {len(categories)} classes in the {len(images)} images "
            "to evaluate: check coco_classes and the annotation file"
        )
    return chosen


def _numbered(annotations: list[dict[str, Any]], kind: str) -> list[dict[str, Any]]:
    """Copies of annotations, numbered from 1 on since pycocotools takes id 0 for no match."""
    copies = [dict(annotation, id=number) for number, annotation in enumerate(annotations, 1)]
    for annotation in copies:
        if kind != "bbox" and isinstance(annotation["segmentation"], list):
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
        if kind != "bbox":
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


def _check_lvis(truth: GroundTruth) -> None:
    """Raises EvaluationError where the annotation file lacks what LVIS's rules go by."""
    needed = (("images", truth.images, "neg_category_ids"), ("images", truth.images, "not_exhaustive_category_ids"))
    for section, entries, key in (*needed, ("categories", truth.categories, "frequency")):
        missing = next((entry["id"] for entry in entries if key not in entry), None)
        if missing is not None:
            raise EvaluationError(
                f"{truth.path} is no LVIS file, the entry with id {missing} of '{section}' has no '{key}': "
                "use --metric_protocol coco"
            )


def _per_class(
    precision: np.ndarray, annotations: list[dict[str, Any]], category_ids: Sequence[int]
) -> list[ClassMetrics]:
    """Mean precision over IoU and recall of each class."""
    rows = []
    for position, category in enumerate(category_ids):
        of_class = precision[:, :, position]
        objects = sum(a["category_id"] == category and not a["iscrowd"] for a in annotations)
        ap, ap50 = (float(p[p > -1].mean()) if (p > -1).any() else -1.0 for p in (of_class, of_class[0]))
        rows.append(ClassMetrics(category, objects, ap, ap50))
    return rows
