"""TIDE's error types by their definitions on constructed cases, and its gains against hotcoco's."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from tests.evaluation.problems import varied

from maskrcnn.evaluation.engines import Problem, resolve_engine
from maskrcnn.report.error_types import Outcome, ap_gains
from maskrcnn.report.matching import average_precision
from maskrcnn.report.outcomes import Outcomes, collect_outcomes

SIDE = 100  # of the only object, whose lower left corner is the origin


def problem(results: list[tuple[float, int, float]], objects: list[tuple[float, int, int]] = ((0, 1, 0),)) -> Problem:
    """Squares of side 100 in one image.

    ``results``: left edge, class, score. ``objects``: left edge, class, crowd. Two squares that are d apart have the
    IoU (100 - d) / (100 + d).
    """

    def square(n: int, left: float, category: int, **extra) -> dict:
        box = [float(left), 0.0, float(SIDE), float(SIDE)]
        return {"id": n + 1, "image_id": 7, "category_id": category, "bbox": box, "area": float(SIDE**2), **extra}

    return Problem(
        [{"id": 7, "height": SIDE, "width": 2000}],
        [{"id": 1, "name": "cat"}, {"id": 2, "name": "dog"}],
        [square(n, left, category, iscrowd=crowd) for n, (left, category, crowd) in enumerate(objects)],
        [square(n, left, category, iscrowd=0, score=score) for n, (left, category, score) in enumerate(results)],
        "bbox",
        [1, 2],
        [7],
    )


def shift(iou: float) -> float:
    """How far apart squares with this IoU are."""
    return SIDE * (1 - iou) / (1 + iou)


@pytest.mark.parametrize(
    "category, iou, outcome",
    [
        (1, 1.0, Outcome.CORRECT),
        (1, 0.51, Outcome.CORRECT),
        (1, 0.49, Outcome.LOCALISATION),
        (1, 0.11, Outcome.LOCALISATION),
        (1, 0.09, Outcome.BACKGROUND),
        (1, 0.0, Outcome.BACKGROUND),
        (2, 1.0, Outcome.CLASSIFICATION),
        (2, 0.51, Outcome.CLASSIFICATION),
        (2, 0.49, Outcome.BOTH),
        (2, 0.11, Outcome.BOTH),
        (2, 0.09, Outcome.BACKGROUND),
    ],
)
def test_definitions(category: int, iou: float, outcome: Outcome) -> None:
    """One object of class 1 and one detection, by its class and IoU."""
    outcomes = collect_outcomes(problem([(shift(iou), category, 0.9)]))
    assert outcomes.outcome.tolist() == [outcome]
    assert outcomes.iou[0] == pytest.approx(iou)
    covered = outcome in (Outcome.CORRECT, Outcome.LOCALISATION, Outcome.CLASSIFICATION)
    assert outcomes.missed.tolist() == [not covered]
    assert outcomes.object.tolist() == [-1 if outcome == Outcome.BACKGROUND else 0]
    assert outcomes.found_by.tolist() == [0 if covered else -1]


def test_duplicate_needs_a_better_detection_of_the_object() -> None:
    outcomes = collect_outcomes(problem([(shift(0.6), 1, 0.8), (0, 1, 0.9), (shift(0.7), 1, 0.7)]))
    assert outcomes.record.tolist() == [1, 0, 2]
    assert outcomes.outcome.tolist() == [Outcome.CORRECT, Outcome.DUPLICATE, Outcome.DUPLICATE]
    assert not outcomes.missed.any()


def test_crowd_regions_take_detections_and_are_not_missed() -> None:
    outcomes = collect_outcomes(problem([(500, 1, 0.9), (800, 1, 0.8)], [(0, 1, 0), (500, 1, 1), (900, 2, 1)]))
    assert outcomes.outcome.tolist() == [Outcome.IGNORED, Outcome.BACKGROUND]
    assert outcomes.missed.tolist() == [True, False, False]


def test_what_fits_two_definitions_is_about_its_own_class() -> None:
    """IoU 0.3 with an object of its class, 1.0 with one of another."""
    outcomes = collect_outcomes(problem([(shift(0.3), 1, 0.9)], [(0, 1, 0), (shift(0.3), 2, 0)]))
    assert outcomes.outcome.tolist() == [Outcome.LOCALISATION]
    assert outcomes.object.tolist() == [0] and outcomes.missed.tolist() == [False, True]


def gains(*arguments) -> dict[str, float]:
    return ap_gains(collect_outcomes(problem(*arguments)).table())


def test_gains_of_single_errors_in_closed_form() -> None:
    """A correct detection of one of two objects, below a false one: AP is 1/2 up to recall 1/2, that is 51/202."""
    objects = [(0, 1, 0), (1000, 1, 0)]
    base = 51 / 101 / 2
    # Removing the false one leaves precision 1 up to recall 1/2.
    removed = gains([(500, 1, 0.9), (0, 1, 0.8)], objects)
    assert removed["ap"] == pytest.approx(base)
    assert removed["background"] == pytest.approx(51 / 101 - base) == removed["false"]
    assert removed["localisation"] == removed["classification"] == removed["duplicate"] == 0
    assert removed["missed"] == pytest.approx(1 / 2 - base) == removed["missing"]  # one object, found after a false one
    # A detection that lies badly on the second object becomes correct.
    moved = gains([(1000 + shift(0.3), 1, 0.9), (0, 1, 0.8)], objects)
    assert moved["localisation"] == pytest.approx(1 - base) and moved["background"] == moved["missed"] == 0
    # One of another class becomes one of class 1; class 2 has no objects and does not count.
    renamed = gains([(1000, 2, 0.9), (0, 1, 0.8)], objects)
    assert renamed["ap"] == pytest.approx(51 / 101)
    assert renamed["classification"] == pytest.approx(1 - 51 / 101) and renamed["missed"] == 0
    # Near an object of another class: removed only, which class 1 does not notice, and the object stays missed.
    both = gains([(1000 + shift(0.3), 2, 0.9), (0, 1, 0.8)], objects)
    assert both["both"] == 0 and both["missed"] == pytest.approx(1 - 51 / 101)
    # Two wrong ones about one object: only the better can become correct, the other is removed.
    two = gains([(1000 + shift(0.3), 1, 0.9), (1000 - shift(0.3), 1, 0.85), (0, 1, 0.8)], objects)
    assert two["ap"] == pytest.approx(51 / 101 / 3) and two["localisation"] == pytest.approx(1 - 51 / 101 / 3)
    # About an object that has been found: removed.
    again = gains([(shift(0.3), 1, 0.9), (0, 1, 0.8)], objects)
    assert again["localisation"] == pytest.approx(51 / 101 - base)


@pytest.mark.skipif(resolve_engine("auto") != "hotcoco", reason="needs hotcoco")
@pytest.mark.parametrize("kind", ["bbox", "segm"])
@pytest.mark.parametrize("seed", range(4))
def test_counts_and_gains_are_those_of_hotcoco(seed: int, kind: str) -> None:
    """Without crowd regions, which hotcoco takes for objects here and TIDE's authors do not."""
    import hotcoco

    made = varied(seed, kind, ties=False)
    made = dataclasses.replace(made, annotations=[{**a, "iscrowd": 0} for a in made.annotations])
    parts = {"images": made.images, "categories": made.categories}
    evaluation = hotcoco.COCOeval(
        hotcoco.COCO({**parts, "annotations": made.annotations}),
        hotcoco.COCO({**parts, "annotations": made.results}),
        kind,
    )
    evaluation.evaluate()
    expected = evaluation.tide_errors()
    outcomes: Outcomes = collect_outcomes(made)
    found = ap_gains(outcomes.table())
    assert found["ap"] == pytest.approx(expected["ap_base"])
    names = {
        "localisation": "Loc", "classification": "Cls", "both": "Both", "duplicate": "Dupe", "background": "Bkg",
        "missed": "Miss", "false": "FP", "missing": "FN",
    }  # fmt: skip
    for ours, theirs in names.items():
        assert found[ours] == pytest.approx(expected["delta_ap"][theirs], abs=1e-9), ours
    for outcome in Outcome:
        if outcome.name.lower() in names and outcome != Outcome.MISSED:
            assert (outcomes.outcome == outcome).sum() == expected["counts"][names[outcome.name.lower()]]
    assert outcomes.missed.sum() == expected["counts"]["Miss"]
    assert average_precision(np.zeros(0), np.zeros(0, bool), 3) == 0
