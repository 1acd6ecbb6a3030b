"""All figures of one kind, boxes or masks, as the page's script takes them: plain lists, dicts and numbers."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import numpy as np

from maskrcnn.evaluation.engines import Problem
from maskrcnn.evaluation.metrics import Metrics
from maskrcnn.report.calibration import best_threshold, calibrate
from maskrcnn.report.error_types import FALSE, Outcome, ap_gains
from maskrcnn.report.outcomes import Outcomes
from maskrcnn.report.slices import Slice, by_crowding, by_occlusion, by_size

STEPS = 100  # of a score, from 0 to 1, that the page's slider can tell apart
_DIGITS = 4
_CURVES = {"AP50": slice(0, 1), "AP75": slice(5, 6), "AP": slice(None)}


def score_step(scores: np.ndarray) -> np.ndarray:
    """Returns int64: the last of the slider's steps at which a detection of that score is still shown."""
    return np.floor(np.asarray(scores, np.float64) * STEPS + 1e-6).astype(np.int64)


def summarize(problem: Problem, metrics: Metrics, outcomes: Outcomes, engine: str) -> dict[str, Any]:
    """Returns everything about one kind that the page shows, except for its images.

    Histograms are ``{step: count}``, the detections of each step of the score, so that the page can count those from
    any score on.
    """
    gains = ap_gains(outcomes.table())
    return {
        "figures": metric_rows(metrics),
        "classes": class_rows(metrics, outcomes),
        "curves": curves(metrics),
        "slices": {
            "size": _rows(by_size(problem, engine)),
            "crowding": _rows(by_crowding(problem, engine)),
            "occlusion": _rows(by_occlusion(problem, outcomes)),
        },
        "calibration": calibrations(outcomes),
        "confusion": confusion(outcomes),
        "gains": {name: _rounded(value) for name, value in gains.items()},
        "outcomes": outcome_histograms(outcomes),
        "score": _suggested(outcomes, np.ones(len(outcomes.score), bool), int(outcomes.counts.sum())),
    }


def metric_rows(metrics: Metrics) -> list[dict[str, Any]]:
    """Returns COCO's or LVIS's metrics with what each stands for."""
    return [{**row._asdict(), "value": _rounded(metrics.stats[row.name])} for row in metrics.rows]


def class_rows(metrics: Metrics, outcomes: Outcomes) -> list[dict[str, Any]]:
    """Returns AP, AP50, objects, mean IoU of the correct detections and the suggested score of each class."""
    rows = []
    for category, row in enumerate(metrics.per_class):
        of_class = outcomes.category == category
        correct = of_class & (outcomes.outcome == Outcome.CORRECT)
        rows.append(
            {
                "ap": _rounded(row.ap),
                "ap50": _rounded(row.ap50),
                "objects": row.objects,
                "iou": _rounded(outcomes.iou[correct].mean()) if correct.any() else None,
                "score": _suggested(outcomes, of_class, row.objects),
            }
        )
    return rows


def curves(metrics: Metrics) -> dict[str, list[list[float] | None]]:
    """Returns precision at 101 recalls for IoU 0.5, 0.75 and the mean of COCO's ten: all classes, then each."""
    result: dict[str, list[list[float] | None]] = {}
    for name, thresholds in _CURVES.items():
        precision = metrics.precision[thresholds].mean(axis=0)  # [101, K]
        known = precision.min(axis=0, initial=0.0) > -1
        mean = [precision[:, known].mean(axis=1)] if known.any() else [None]
        of_classes = [precision[:, k] if known[k] else None for k in range(len(known))]
        result[name] = [None if c is None else [_rounded(p, 3) for p in c] for c in (*mean, *of_classes)]
    return result


def calibrations(outcomes: Outcomes) -> list[dict[str, Any]]:
    """Returns the calibration of all detections, then of each class."""
    counted = ~outcomes.ignored()
    chosen = [counted, *(counted & (outcomes.category == k) for k in range(outcomes.classes))]
    rows = []
    for mask in chosen:
        row = calibrate(outcomes.score[mask], outcomes.correct()[mask])._asdict()
        rows.append(
            {
                "counts": row["counts"],
                "scores": [_rounded(value) for value in row["scores"]],
                "precisions": [_rounded(value) for value in row["precisions"]],
                "error": _rounded(row["error"]),
            }
        )
    return rows


def confusion(outcomes: Outcomes) -> list[list[Any]]:
    """Returns the cells [object's class, detection's class, histogram] of the confusion matrix that hold anything.

    An object and the detection that covers it with IoU 0.5 or more, best score first, meet in a cell whatever their
    classes. A detection that covers nothing has -1 for the object's class. What is left of a class's objects has been
    missed; the page finds it as the difference.
    """
    partner = outcomes.partner
    in_crowd = np.append(outcomes.crowd, False)[partner]
    rows = np.where(partner >= 0, np.append(outcomes.object_category, -1)[partner], -1)[~in_crowd]
    columns, steps = outcomes.category[~in_crowd], score_step(outcomes.score[~in_crowd])
    cells: dict[tuple[int, int], dict[int, int]] = defaultdict(lambda: defaultdict(int))
    for row, column, step in zip(rows.tolist(), columns.tolist(), steps.tolist()):
        cells[row, column][step] += 1
    return [[row, column, histogram] for (row, column), histogram in sorted(cells.items())]


def outcome_histograms(outcomes: Outcomes) -> dict[str, list[dict[int, int]]]:
    """Returns for each outcome a histogram of each class.

    That of 'missed' counts objects at the step up to which they are not missed, -1 if they are at any score.
    """
    steps = score_step(outcomes.score)
    result = {}
    for outcome in (Outcome.CORRECT, *FALSE):
        chosen = outcomes.outcome == outcome
        result[outcome.name.lower()] = _histograms(outcomes.category[chosen], steps[chosen], outcomes.classes)
    real = ~outcomes.crowd
    until = np.append(steps, -1)[outcomes.found_by[real]]
    result["missed"] = _histograms(outcomes.object_category[real], until, outcomes.classes)
    return result


def _histograms(classes: np.ndarray, steps: np.ndarray, count: int) -> list[dict[int, int]]:
    histograms = []
    for category in range(count):
        values, numbers = np.unique(steps[classes == category], return_counts=True)
        histograms.append(dict(zip(values.tolist(), numbers.tolist())))
    return histograms


def _suggested(outcomes: Outcomes, chosen: np.ndarray, objects: int) -> dict[str, float] | None:
    """The score with the best F1 of the chosen detections."""
    chosen = chosen & ~outcomes.ignored()
    best = best_threshold(outcomes.score[chosen], outcomes.correct()[chosen], objects)
    if best is None:
        return None
    score = math.floor(best.score * 10**_DIGITS) / 10**_DIGITS  # rounded up it would exclude the detection it is of
    return {**{name: _rounded(value) for name, value in best._asdict().items()}, "score": score}


def _rows(slices: Sequence[Slice]) -> list[dict[str, Any]]:
    return [
        {"label": part.label, "objects": part.objects, "ap": _rounded(part.ap), "ap50": _rounded(part.ap50)}
        for part in slices
    ]


def _rounded(value: float | None, digits: int = _DIGITS) -> float | None:
    """A figure short enough for the page; None for COCO's -1."""
    return None if value is None or value == -1 else round(float(value), digits)
