"""Calibration and suggested scores against plain loops."""

from __future__ import annotations

import numpy as np
import pytest

from maskrcnn.report.calibration import best_threshold, calibrate


def made(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Scores, many of them equal, that are right as often as their square."""
    rng = np.random.default_rng(seed)
    scores = np.round(rng.random(200), 1)
    return scores, rng.random(200) < scores**2


@pytest.mark.parametrize("seed", range(3))
def test_threshold_is_the_best_of_all(seed: int) -> None:
    scores, correct = made(seed)
    objects = int(correct.sum()) + 20
    best = best_threshold(scores, correct, objects)
    tried = {}
    for threshold in sorted(set(scores.tolist())):
        shown = scores >= threshold
        precision, recall = correct[shown].mean(), correct[shown].sum() / objects
        tried[threshold] = 2 * precision * recall / (precision + recall) if precision + recall else 0.0
    assert best.f1 == pytest.approx(max(tried.values()))
    assert best.score == max(t for t, f1 in tried.items() if f1 == pytest.approx(best.f1))
    shown = scores >= best.score
    assert best.precision == pytest.approx(correct[shown].mean())
    assert best.recall == pytest.approx(correct[shown].sum() / objects)


def test_no_threshold_without_objects_or_correct_detections() -> None:
    scores, correct = made(0)
    assert best_threshold(scores, correct, 0) is None
    assert best_threshold(scores, np.zeros_like(correct), 5) is None
    assert best_threshold(scores[:0], correct[:0], 5) is None


def test_calibration_error_is_the_weighted_distance_of_score_and_precision() -> None:
    scores, correct = made(1)
    found = calibrate(scores, correct)
    expected = 0.0
    for n in range(10):
        inside = (np.floor(scores * 10) == n) | ((n == 9) & (scores == 1))
        assert found.counts[n] == inside.sum()
        if inside.any():
            assert found.scores[n] == pytest.approx(scores[inside].mean())
            assert found.precisions[n] == pytest.approx(correct[inside].mean())
            expected += inside.sum() * abs(scores[inside].mean() - correct[inside].mean()) / len(scores)
    assert found.error == pytest.approx(expected) and expected > 0.1
    empty = calibrate(scores[:0], correct[:0])
    assert empty.error is None and empty.counts == [0] * 10 and empty.scores == [None] * 10
