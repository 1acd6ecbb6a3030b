"""The metrics of a set of results by COCO's or LVIS's rules, for boxes, masks and mask boundaries."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
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
# Names that users of the model zoo's evaluation know.
ALIASES = {
    "AP": "Precision/mAP",
    "AP50": "Precision/mAP@.50IOU",
    "AP75": "Precision/mAP@.75IOU",
    "APs": "Precision/mAP (small)",
    "APm": "Precision/mAP (medium)",
    "APl": "Precision/mAP (large)",
    "AR1": "Recall/AR@1",
    "AR10": "Recall/AR@10",
    "AR100": "Recall/AR@100",
    "ARs": "Recall/AR@100 (small)",
    "ARm": "Recall/AR@100 (medium)",
    "ARl": "Recall/AR@100 (large)",
}


@dataclass(frozen=True)
class MetricSettings:
    """How results are scored.

    Attributes:
        engine: The library, one of ``engines.ENGINES``.
        protocol: The rules, 'coco' or 'lvis'.
        boundary: Whether boundary AP is wanted, too.
        max_detections: Most detections of an image that count; 0 for the rules' own number.
    """

    engine: str
    protocol: str
    boundary: bool
    max_detections: int

    @classmethod
    def from_config(cls, cfg: Config) -> MetricSettings:
        """Returns the settings of a run."""
        return cls(cfg.metric_engine, cfg.metric_protocol, cfg.metric_boundary, cfg.max_detections)

    @property
    def most_detections(self) -> int:
        """Most detections of an image that count."""
        return self.max_detections or max(row.detections for row in PROTOCOLS[self.protocol])

    def rows(self) -> tuple[MetricRow, ...]:
        """Returns the metrics in their order; those with the most detections are named by their number."""
        rows = PROTOCOLS[self.protocol]
        most = max(row.detections for row in rows)
        return tuple(
            row._replace(name=row.name.replace(str(most), str(self.most_detections)), detections=self.most_detections)
            if row.detections == most
            else row
            for row in rows
        )


COCO_RULES = MetricSettings("auto", "coco", False, 0)


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

    stats: by name, -1 where no object could tell, as in COCO. rows: what the names mean. per_class: in the order of the
    category ids.
    precision: float64 [10 IoU thresholds, 101 recalls, K classes], for objects of any size and the most detections.
    scores: float64 of the same shape, the score that reaches a recall.
    """

    kind: str
    stats: dict[str, float]
    rows: tuple[MetricRow, ...]
    per_class: list[ClassMetrics]
    precision: np.ndarray = field(repr=False, compare=False)
    scores: np.ndarray = field(repr=False, compare=False)
    protocol: str = "coco"

    def with_aliases(self) -> dict[str, float]:
        """Returns ``stats``, and those of them that have a name in the model zoo under that name, too."""
        return {**self.stats, **{ALIASES[name]: value for name, value in self.stats.items() if name in ALIASES}}


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
        records: COCO result records under 'bbox' and 'segm', or one of them, that fit the ground truth: those of
            ``coco_records`` or ``read_results``.
        category_ids: The classes that count; the order of ``per_class``.
        image_ids: The images that count; None means all.
        settings: How they are scored.

    Returns:
        The metrics of each kind.

    Raises:
        EvaluationError: There is no object to find, or the engine is missing.
    """
    problems = make_problems(truth, records, category_ids, image_ids, settings)
    return {kind: _score(truth, problem, settings) for kind, problem in problems.items()}


def make_problems(
    truth: GroundTruth,
    records: Mapping[str, Sequence[dict[str, Any]]],
    category_ids: Sequence[CategoryId],
    image_ids: Sequence[ImageId] | None = None,
    settings: MetricSettings = COCO_RULES,
) -> dict[str, Problem]:
    """Returns what ``compute_metrics``, whose arguments these are, compares with what, by kind.

    Results are in the order of the records. Annotations have their id in the ground truth as ``source``.

    Raises:
        EvaluationError: There is no object to find.
    """
    wanted = [image["id"] for image in truth.images] if image_ids is None else list(image_ids)
    if settings.protocol == "lvis":
        _check_lvis(truth)
    objects = truth.objects_of(category_ids, wanted)
    return {
        kind: _problem(truth, annotations, found, kind, category_ids, wanted, settings)
        for kind, annotations, found in _kinds(objects, records, settings)
    }


def compute_image_metrics(
    truth: GroundTruth,
    records: Mapping[str, Sequence[dict[str, Any]]],
    category_ids: Sequence[CategoryId],
    image_ids: Sequence[ImageId] | None = None,
    settings: MetricSettings = COCO_RULES,
) -> dict[ImageId, dict[str, dict[str, float]]]:
    """Scores every image for itself.

    Args:
        truth: The ground truth.
        records: As for ``compute_metrics``.
        category_ids: The classes that count.
        image_ids: The images that count; None means all.
        settings: How they are scored.

    Returns:
        AP and AP50 of each kind by image id, for the images with an object that could be found.
    """
    wanted = [image["id"] for image in truth.images] if image_ids is None else list(image_ids)
    image_of = {image["id"]: image for image in truth.images}
    objects = _by_image(truth.objects_of(category_ids, wanted))
    found = {kind: _by_image(of_kind) for kind, of_kind in records.items()}
    scored = {}
    for image_id in wanted:
        of_image = {kind: of_kind.get(image_id, []) for kind, of_kind in found.items()}
        kinds = {}
        for kind, own, results in _kinds(objects.get(image_id, []), of_image, settings):
            # The other classes have no object here, and so no AP.
            classes = list(dict.fromkeys(entry["category_id"] for entry in own if not entry["iscrowd"]))
            only = replace(truth, images=[image_of[image_id]])
            if classes:
                problem = _problem(only, own, results, kind, classes, [image_id], settings)
                stats = _score(only, problem, settings).stats
                kinds[kind] = {"AP": stats["AP"], "AP50": stats["AP50"]}
        if kinds:
            scored[image_id] = kinds
    return scored


def _by_image(entries: Iterable[dict[str, Any]]) -> dict[ImageId, list[dict[str, Any]]]:
    grouped: dict[ImageId, list[dict[str, Any]]] = {}
    for entry in entries:
        grouped.setdefault(entry["image_id"], []).append(entry)
    return grouped


def _kinds(
    objects: Sequence[dict[str, Any]], records: Mapping[str, Sequence[dict[str, Any]]], settings: MetricSettings
) -> Iterator[tuple[str, list[dict[str, Any]], Sequence[dict[str, Any]]]]:
    """What is scored: each kind with its annotations, numbered from 1 on, and its records."""
    with_masks = [entry for entry in objects if entry["segmentation"] is not None]
    for kind, of_kind in records.items():
        if kind == "bbox":
            yield kind, _numbered(objects), of_kind
        elif not all(entry["iscrowd"] for entry in with_masks):
            for scored in (kind, "boundary") if settings.boundary else (kind,):
                yield scored, _numbered(with_masks), of_kind


def _numbered(annotations: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    return [
        {
            **{key: value for key, value in annotation.items() if value is not None},
            "id": number,
            "source": annotation["id"],
        }
        for number, annotation in enumerate(annotations, 1)
    ]


def _problem(
    truth: GroundTruth,
    annotations: list[dict[str, Any]],
    records: Sequence[dict[str, Any]],
    kind: str,
    category_ids: Sequence[CategoryId],
    image_ids: Sequence[ImageId],
    settings: MetricSettings,
) -> Problem:
    return Problem(
        truth.images,
        truth.categories,
        annotations,
        _with_area(records, kind),
        kind,
        category_ids,
        image_ids,
        tuple(sorted({row.detections for row in settings.rows()})),
        settings.protocol == "lvis",
    )


def _score(truth: GroundTruth, problem: Problem, settings: MetricSettings) -> Metrics:
    """The metrics of one kind."""
    rows, limits = settings.rows(), problem.max_detections
    most = limits.index(settings.most_detections)
    curves = accumulate(problem, settings.engine)
    frequency = {category["id"]: category.get("frequency", "") for category in truth.categories}
    frequencies = np.array([frequency.get(category, "") for category in problem.category_ids])
    stats = {row.name: _stat(row, curves, limits, frequencies) for row in rows}
    precision, scores = curves.precision[..., 0, most], curves.scores[..., 0, most]
    per_class = _per_class(precision, problem.annotations, problem.category_ids)
    return Metrics(problem.kind, stats, rows, per_class, precision, scores, settings.protocol)


def _stat(row: MetricRow, curves: Curves, limits: Sequence[int], frequencies: np.ndarray) -> float:
    """The mean of precision, or of recall, over whatever the metric leaves open; -1 where no object could tell."""
    values = curves.precision if row.name.startswith("AP") else curves.recall
    values = values[..., AREAS.index(row.area), limits.index(row.detections)][IOU_THRESHOLDS[row.iou]]
    if row.frequency != "all":
        values = values[..., frequencies == row.frequency]
    known = values[values > -1]
    return float(np.mean(known)) if len(known) else -1.0


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
