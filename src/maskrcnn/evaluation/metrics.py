"""The figures of a set of results by COCO's or LVIS's rules, for boxes, masks and mask boundaries."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from pycocotools import mask as coco_mask

from maskrcnn.errors import EvaluationError
from maskrcnn.evaluation.engines import AREAS, Curves, Problem, accumulate
from maskrcnn.evaluation.ground_truth import GroundTruth

if TYPE_CHECKING:
    from maskrcnn.config import Config


class Figure(NamedTuple):
    """A figure: its name, IoU thresholds, object size, most detections an image, and LVIS's class frequency."""

    name: str
    iou: str
    area: str
    detections: int
    frequency: str = "all"


# COCO's twelve figures in COCO's order.
FIGURES = (
    Figure("AP", "0.50:0.95", "all", 100),
    Figure("AP50", "0.50", "all", 100),
    Figure("AP75", "0.75", "all", 100),
    Figure("APs", "0.50:0.95", "small", 100),
    Figure("APm", "0.50:0.95", "medium", 100),
    Figure("APl", "0.50:0.95", "large", 100),
    Figure("AR1", "0.50:0.95", "all", 1),
    Figure("AR10", "0.50:0.95", "all", 10),
    Figure("AR100", "0.50:0.95", "all", 100),
    Figure("ARs", "0.50:0.95", "small", 100),
    Figure("ARm", "0.50:0.95", "medium", 100),
    Figure("ARl", "0.50:0.95", "large", 100),
)
# LVIS's thirteen: 300 detections an image; classes are rare (up to 10 training images), common (100) or frequent.
LVIS_FIGURES = (
    Figure("AP", "0.50:0.95", "all", 300),
    Figure("AP50", "0.50", "all", 300),
    Figure("AP75", "0.75", "all", 300),
    Figure("APs", "0.50:0.95", "small", 300),
    Figure("APm", "0.50:0.95", "medium", 300),
    Figure("APl", "0.50:0.95", "large", 300),
    Figure("APr", "0.50:0.95", "all", 300, "r"),
    Figure("APc", "0.50:0.95", "all", 300, "c"),
    Figure("APf", "0.50:0.95", "all", 300, "f"),
    Figure("AR300", "0.50:0.95", "all", 300),
    Figure("ARs", "0.50:0.95", "small", 300),
    Figure("ARm", "0.50:0.95", "medium", 300),
    Figure("ARl", "0.50:0.95", "large", 300),
)
PROTOCOLS = {"coco": FIGURES, "lvis": LVIS_FIGURES}
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


COCO_METRIC = MetricSettings("auto", "coco", False)


@dataclass(frozen=True)
class ClassMetrics:
    """AP and AP50 of one class, -1 if the evaluated images hold no object of it, and how many they hold."""

    category_id: int
    objects: int
    ap: float
    ap50: float


@dataclass(frozen=True)
class Metrics:
    """The figures of one of ``KINDS``. A figure is -1 where no object could tell, as in COCO.

    precision: float64 [10 IoU thresholds, 101 recalls, K classes], for objects of any size and the most detections.
    scores: float64 of the same shape, the score that reaches a recall.
    """

    kind: str
    figures: dict[str, float]
    per_class: list[ClassMetrics]
    precision: np.ndarray = field(repr=False, compare=False)
    scores: np.ndarray = field(repr=False, compare=False)
    protocol: str = "coco"


def compute_metrics(
    truth: GroundTruth,
    records: Sequence[dict[str, Any]],
    kind: str,
    category_ids: Sequence[int],
    image_ids: Sequence[int] | None = None,
    settings: MetricSettings = COCO_METRIC,
) -> Metrics:
    """Scores result records (see ``coco_records``) against the ground truth.

    Only the classes ``category_ids`` and the images ``image_ids`` (None: all) count; an image without records
    counts as one where nothing was found. The order of ``per_class`` is that of ``category_ids``.

    Raises:
        EvaluationError: The records do not fit the annotations, there is no object to find, or the engine is missing.
    """
    if kind not in KINDS:
        raise ValueError(f"kind is {kind!r}, not one of {KINDS}")
    if kind != "bbox" and not truth.has_masks:
        raise EvaluationError(f"{truth.path} has no segmentations: masks cannot be evaluated")
    images = {image["id"]: image for image in truth.images}
    wanted = list(images) if image_ids is None else list(image_ids)
    annotations = _annotations(truth, kind, set(category_ids), set(wanted))
    _check_records(records, kind, images, {category["id"] for category in truth.categories})
    rows = PROTOCOLS[settings.protocol]
    if settings.protocol == "lvis":
        _check_lvis(truth)
    limits = tuple(sorted({row.detections for row in rows}))
    problem = Problem(
        truth.images,
        truth.categories,
        annotations,
        _with_area(records, kind),
        kind,
        category_ids,
        wanted,
        limits,
        settings.protocol == "lvis",
    )
    curves = accumulate(problem, settings.engine)
    frequency = {category["id"]: category.get("frequency", "") for category in truth.categories}
    frequencies = np.array([frequency[category] for category in category_ids])
    figures = {row.name: _figure(row, curves, limits, frequencies) for row in rows}
    precision, scores = curves.precision[..., 0, -1], curves.scores[..., 0, -1]
    per_class = _per_class(precision, annotations, category_ids)
    return Metrics(kind, figures, per_class, precision, scores, settings.protocol)


def _figure(row: Figure, curves: Curves, limits: Sequence[int], frequencies: np.ndarray) -> float:
    """The mean of precision, or of recall, over whatever the figure leaves open; -1 where no object could tell."""
    values = curves.precision if row.name.startswith("AP") else curves.recall
    values = values[..., AREAS.index(row.area), limits.index(row.detections)][IOU_THRESHOLDS[row.iou]]
    if row.frequency != "all":
        values = values[..., frequencies == row.frequency]
    known = values[values > -1]
    return float(np.mean(known)) if len(known) else -1.0


def _annotations(truth: GroundTruth, kind: str, categories: set[int], images: set[int]) -> list[dict[str, Any]]:
    """Copies of what counts, numbered from 1 on since pycocotools takes id 0 for no match."""
    chosen = [
        annotation
        for annotation in truth.annotations
        if annotation["category_id"] in categories
        and annotation["image_id"] in images
        and not (kind != "bbox" and annotation["id"] in truth.maskless)
    ]
    if all(annotation["iscrowd"] for annotation in chosen):
        raise EvaluationError(
            f"{truth.path} has no object of the run's {len(categories)} classes in the {len(images)} images "
            "to evaluate: check coco_classes and the annotation file"
        )
    copies = [dict(annotation, id=number) for number, annotation in enumerate(chosen, 1)]
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
        rows.append(ClassMetrics(int(category), objects, ap, ap50))
    return rows
