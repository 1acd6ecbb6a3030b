"""How far scores can be trusted, and the score from which on the detections of a class are best shown."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

BINS = 10


class Calibration(NamedTuple):
    """Scores against the truth, in ``BINS`` equal ranges of the score.

    counts: detections in each range. scores: their mean score. precisions: the share of them that is correct; both are
    None where the range is empty. error: expected calibration error (Guo et al. 2017, equation 3), the mean distance of
    score and precision over detections, None without any.
    """

    counts: list[int]
    scores: list[float | None]
    precisions: list[float | None]
    error: float | None


class Threshold(NamedTuple):
    """A score, and the precision, recall and F1 of the detections with that score or more."""

    score: float
    precision: float
    recall: float
    f1: float


def calibrate(scores: np.ndarray, correct: np.ndarray) -> Calibration:
    """Compares scores float64 [N] with whether each detection is correct, bool [N]."""
    bins = np.minimum((scores * BINS).astype(np.int64), BINS - 1)
    counts = np.bincount(bins, minlength=BINS)
    sums, hits = (np.bincount(bins, weights=values, minlength=BINS) for values in (scores, correct))
    filled = counts > 0
    error = float(np.abs(sums - hits).sum() / len(scores)) if len(scores) else None
    means, shares = (
        [float(value / count) if full else None for value, count, full in zip(values, counts, filled)]
        for values in (sums, hits)
    )
    return Calibration(counts.tolist(), means, shares, error)


def best_threshold(scores: np.ndarray, correct: np.ndarray, objects: int) -> Threshold | None:
    """Returns the score from which on F1, the harmonic mean of precision and recall, is largest.

    Detections of equal scores are shown together. Of equally good scores the highest is taken.

    Args:
        scores: float64 [N].
        correct: bool [N].
        objects: How many there are to find.

    Returns:
        None if there are no objects or no correct detection.
    """
    if not objects or not correct.any():
        return None
    order = np.argsort(-scores, kind="mergesort")
    ordered = scores[order]
    last = np.append(ordered[1:] != ordered[:-1], True)  # of its equals
    true, shown = np.cumsum(correct[order])[last], np.flatnonzero(last) + 1
    f1 = 2 * true / (shown + objects)
    best = int(f1.argmax())
    precision, recall = true[best] / shown[best], true[best] / objects
    return Threshold(float(ordered[last][best]), float(precision), float(recall), float(f1[best]))
