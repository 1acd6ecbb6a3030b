"""The compiled metric against pycocotools over varied data, LVIS's rules, and what happens without it."""

from __future__ import annotations

import dataclasses
import itertools
import sys

import numpy as np
import pytest
from tests.evaluation.problems import varied

from maskrcnn.errors import EvaluationError
from maskrcnn.evaluation import engines
from maskrcnn.evaluation.engines import accumulate, resolve_engine

needs_hotcoco = pytest.mark.skipif(resolve_engine("auto") != "hotcoco", reason="needs hotcoco")


def assert_equal(ours, expected) -> None:
    for name in ("precision", "recall", "scores"):
        np.testing.assert_allclose(getattr(ours, name), getattr(expected, name), rtol=0, atol=1e-9, err_msg=name)


@needs_hotcoco
@pytest.mark.parametrize(
    "seed,kind,limits",
    [
        *((seed, kind, (1, 10, 100)) for seed, kind in itertools.product(range(4), ("bbox", "segm"))),
        (4, "bbox", (1, 2, 3)),
        (5, "segm", (1, 10, 300)),
    ],
)
def test_hotcoco_gives_the_arrays_of_pycocotools(seed: int, kind: str, limits: tuple[int, ...]) -> None:
    problem = varied(seed, kind, limits)
    expected = accumulate(problem, "pycocotools")
    assert 0.05 < expected.precision[expected.precision > -1].mean() < 0.8
    assert (expected.precision[:, :, -1] == -1).all()  # the class without objects
    assert_equal(accumulate(problem, "hotcoco"), expected)


@needs_hotcoco
def test_selection_and_order_of_classes_and_images() -> None:
    """Part of the classes in another order, part of the images, some of them with nothing in them."""
    problem = varied(6, "bbox")
    part = dataclasses.replace(problem, category_ids=[4, 1, 2], image_ids=problem.image_ids[:17])
    expected = accumulate(part, "pycocotools")
    assert_equal(accumulate(part, "hotcoco"), expected)
    single = accumulate(dataclasses.replace(part, category_ids=[4]), "pycocotools")
    np.testing.assert_array_equal(single.precision[:, :, 0], expected.precision[:, :, 0])


@pytest.mark.parametrize("engine", ["hotcoco", "pycocotools"])
def test_extremes(engine: str) -> None:
    """No results at all, only crowds, and image ids that are text."""
    if engine == "hotcoco" and resolve_engine("auto") != engine:
        pytest.skip("needs hotcoco")
    problem = varied(7, "bbox")
    nothing = accumulate(dataclasses.replace(problem, results=[]), engine)
    assert (nothing.precision[:, :, 0, 0] == 0).all() and (nothing.recall[:, 0, 0] == 0).all()
    crowds = [{**a, "iscrowd": 1} for a in problem.annotations]
    assert (accumulate(dataclasses.replace(problem, annotations=crowds), engine).precision == -1).all()
    named = {
        key: [{**entry, of: f"{entry[of]:04d}"} for entry in getattr(problem, key)]
        for key, of in (("images", "id"), ("annotations", "image_id"), ("results", "image_id"))
    }
    text = dataclasses.replace(problem, **named, image_ids=[f"{number:04d}" for number in problem.image_ids])
    assert_equal(accumulate(text, engine), accumulate(problem, engine))


@needs_hotcoco
@pytest.mark.parametrize("seed", range(3))
def test_lvis_rules_against_their_definition(seed: int) -> None:
    """The same by pycocotools, told in its own terms what LVIS leaves out.

    A result of a class that an image was not searched for does not count: it is dropped. Where a class is not labelled
    exhaustively, a result without an object is no mistake: a crowd region over the whole image takes it.
    """
    rng = np.random.default_rng(seed)
    problem = varied(seed, "bbox", (300,))
    annotations = [{**a, "iscrowd": 0} for a in problem.annotations]
    labelled = {(a["image_id"], a["category_id"]) for a in annotations}
    images = []
    for image in problem.images:
        present = {c for c in problem.category_ids if (image["id"], c) in labelled}
        absent = [c for c in problem.category_ids if c not in present]
        searched = [c for c in absent if rng.random() < 0.4]
        partly = [c for c in present if rng.random() < 0.4]
        images.append({**image, "neg_category_ids": searched, "not_exhaustive_category_ids": partly})
    lvis = dataclasses.replace(problem, images=images, annotations=annotations, federated=True)

    searched = {(image["id"], c) for image in images for c in image["neg_category_ids"]}
    kept = [r for r in problem.results if (r["image_id"], r["category_id"]) in labelled | searched]
    everywhere = {"bbox": [-1e4, -1e4, 2e4, 2e4], "area": 4e8, "iscrowd": 1}
    partly = [(image["id"], c) for image in images for c in image["not_exhaustive_category_ids"]]
    crowds = [
        {**everywhere, "id": 10_000 + n, "image_id": image, "category_id": c} for n, (image, c) in enumerate(partly)
    ]
    told = dataclasses.replace(problem, annotations=annotations + crowds, results=kept)
    ours = accumulate(lvis, "hotcoco")
    assert_equal(ours, accumulate(told, "pycocotools"))
    assert np.abs(ours.precision - accumulate(problem, "hotcoco").precision).max() > 0.1  # and the rules matter


def test_without_hotcoco_auto_falls_back_and_says_so(monkeypatch, capsys) -> None:
    problem = varied(8, "bbox")
    expected = accumulate(problem, "pycocotools")
    monkeypatch.setitem(sys.modules, "hotcoco", None)  # import hotcoco then raises ImportError
    monkeypatch.setattr(engines.importlib.util, "find_spec", lambda name: None)
    engines._announce_fallback.cache_clear()
    assert_equal(accumulate(problem, "auto"), expected)
    accumulate(problem, "auto")
    assert capsys.readouterr().err.splitlines() == [
        "note: hotcoco is not installed: pycocotools computes the same metrics, only more slowly"
    ]
    with pytest.raises(EvaluationError, match="metric_engine hotcoco is not installed here: pip install hotcoco"):
        accumulate(problem, "hotcoco")
    with pytest.raises(EvaluationError, match="metric_protocol lvis needs hotcoco"):
        accumulate(dataclasses.replace(problem, federated=True), "auto")
