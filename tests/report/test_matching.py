"""Matching against pycocotools, and AP against closed forms."""

from __future__ import annotations

import numpy as np
import pytest
from tests.evaluation.problems import varied

from maskrcnn.evaluation.engines import accumulate
from maskrcnn.report.matching import average_precision, match, pair_images
from maskrcnn.report.outcomes import collect_outcomes


@pytest.mark.parametrize("kind", ["bbox", "segm"])
@pytest.mark.parametrize("seed, limits", [(0, (1, 10, 100)), (1, (1, 10, 100)), (2, (1, 2, 3))])
def test_matches_give_the_ap_of_pycocotools(seed: int, kind: str, limits: tuple[int, ...]) -> None:
    """At every IoU threshold and for every class, with crowds and with equal scores."""
    problem = varied(seed, kind, limits)
    expected = accumulate(problem, "pycocotools").precision[..., 0, -1].mean(axis=1)
    outcomes = collect_outcomes(problem)
    for threshold in range(10):
        for category in range(outcomes.classes):
            counted = (outcomes.category == category) & ~outcomes.ignored(threshold)
            correct = outcomes.correct(threshold)[counted]
            ap = average_precision(outcomes.score[counted], correct, outcomes.counts[category])
            assert ap == pytest.approx(expected[threshold, category], abs=1e-12), (threshold, category)


def test_average_precision_in_closed_form() -> None:
    """Right, wrong, right of four objects: precision 1 up to recall 1/4, 2/3 up to 1/2, then none."""
    scores, correct = np.array([0.9, 0.8, 0.7]), np.array([True, False, True])
    expected = (26 * 1 + 25 * 2 / 3) / 101
    assert average_precision(scores, correct, 4) == pytest.approx(expected)
    assert average_precision(scores[::-1], correct[::-1], 4) == pytest.approx(expected)
    assert average_precision(scores, correct, 0) == -1
    assert average_precision(scores[:0], correct[:0], 4) == 0
    # Normalised to eight objects: 2 and 4 correct ones to the same single false one.
    assert average_precision(scores, correct, 4, 8) == pytest.approx((26 * 1 + 25 * 4 / 5) / 101)
    assert average_precision(scores, correct, 4, 4) == pytest.approx(expected)


def test_across_classes_a_detection_takes_what_it_covers_best() -> None:
    problem = varied(3, "bbox")
    differs = 0
    for pairs in pair_images(problem):
        own = match(pairs, np.array([0.5]))[0]
        across = match(pairs, np.array([0.5]), across_classes=True)[0]
        assert all(pairs.detection_classes[d] == pairs.object_classes[g] for d, g in enumerate(own) if g >= 0)
        real = across[(across >= 0)]
        real = real[~pairs.crowd[real]]
        assert len(set(real.tolist())) == len(real)  # each object once
        assert all(pairs.ious[d, g] >= 0.5 for d, g in enumerate(across) if g >= 0)
        differs += (own != across).sum()
    assert differs
