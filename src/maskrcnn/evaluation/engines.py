"""Precision and recall at every threshold, from a compiled library or from pycocotools, the reference.

hotcoco repeats pycocotools' matching and accumulation in Rust and gives the same arrays in a hundredth of the time. It
has no wheel for Python 3.9 and for rarer platforms; ``auto`` then falls back to pycocotools and says so.
"""

from __future__ import annotations

import contextlib
import importlib.util
import io
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import numpy as np

from maskrcnn.errors import EvaluationError

ENGINES = ("auto", "hotcoco", "pycocotools")
_LVIS_LISTS = ("neg_category_ids", "not_exhaustive_category_ids")  # of an image
AREAS = ("all", "small", "medium", "large")  # object sizes, in the order of the arrays' area axis
AREA_RANGES = ((0, 1e10), (0, 32**2), (32**2, 96**2), (96**2, 1e10))  # their areas in square pixels, as in COCO


@dataclass(frozen=True)
class Problem:
    """What is compared with what, as COCO's dictionaries.

    ``annotations`` and ``results`` have integer ids from 1 on, ``area`` and ``iscrowd``; ``kind`` is 'bbox', 'segm' or
    'boundary', which compares masks by their boundary IoU.
    Only ``category_ids`` and ``image_ids`` count; their order is that of the arrays' class axis. ``federated`` applies
    LVIS's rules (Gupta et al. 2019, section 3): a result counts only in images that were searched for its class.
    """

    images: Sequence[dict[str, Any]]
    categories: Sequence[dict[str, Any]]
    annotations: Sequence[dict[str, Any]]
    results: Sequence[dict[str, Any]]
    kind: str
    category_ids: Sequence[int]
    image_ids: Sequence[Any]
    max_detections: tuple[int, ...] = (1, 10, 100)
    federated: bool = False
    area_ranges: tuple[tuple[float, float], ...] = AREA_RANGES


@dataclass(frozen=True)
class Curves:
    """What COCO's accumulation gives; -1 marks what no object could tell.

    precision: float64 [10 IoU thresholds, 101 recalls, K classes, A area ranges, M limits of detections].
    recall: float64 [10, K, A, M], the largest recall reached. scores: float64, the shape of ``precision``, the score
    from which on detections count to reach that recall.
    """

    precision: np.ndarray
    recall: np.ndarray
    scores: np.ndarray


def accumulate(problem: Problem, engine: str = "auto") -> Curves:
    """Match results to annotations and accumulate, as COCO's evaluation does.

    Args:
        problem: Annotations, results and what counts of them.
        engine: One of ``ENGINES``.

    Raises:
        EvaluationError: The engine is not installed, or cannot evaluate by LVIS's rules.
    """
    name = "pycocotools" if problem.kind == "boundary" else resolve_engine(engine)  # hotcoco has no boundary IoU
    if problem.federated and name != "hotcoco":
        raise EvaluationError(
            "metric_protocol lvis needs hotcoco and has no boundary AP: pip install hotcoco (Python 3.10 or later), "
            "or use --metric_protocol coco"
        )
    run = _run_hotcoco if name == "hotcoco" else _run_pycocotools
    numbered = _with_integer_ids(problem)
    columns = {category: position for position, category in enumerate(sorted(numbered.category_ids))}
    chosen = [columns[category] for category in numbered.category_ids]
    arrays = run(numbered)
    precision, recall, scores = (np.asarray(arrays[key], np.float64) for key in ("precision", "recall", "scores"))
    return Curves(precision[:, :, chosen], recall[:, chosen], scores[:, :, chosen])


def resolve_engine(engine: str) -> str:
    """Returns 'hotcoco' or 'pycocotools' for one of ``ENGINES``; the fallback of ``auto`` is announced once.

    Raises:
        EvaluationError: hotcoco is asked for and is not installed.
    """
    if engine not in ENGINES:
        raise ValueError(f"engine is {engine!r}, not one of {ENGINES}")
    if engine == "pycocotools" or (importlib.util.find_spec("hotcoco") and _importable()):
        return "pycocotools" if engine == "pycocotools" else "hotcoco"
    if engine == "hotcoco":
        raise EvaluationError(
            "metric_engine hotcoco is not installed here: pip install hotcoco (Python 3.10 or later), "
            "or use --metric_engine pycocotools"
        )
    _announce_fallback()
    return "pycocotools"


@cache
def _importable() -> bool:
    """Whether hotcoco's compiled part loads: a wheel for another C library is found but does not."""
    try:
        import hotcoco  # noqa: F401
    except ImportError:
        return False
    return True


@cache
def _announce_fallback() -> None:
    print(
        "note: hotcoco is not installed: pycocotools computes the same metrics, only more slowly",
        file=sys.stderr,
        flush=True,
    )


def _with_integer_ids(problem: Problem) -> Problem:
    """The problem with images and categories numbered from 1 on in the order of their ids.

    The order of images decides ties of scores, and that of categories is the one of the arrays.
    """
    images = _numbers(image["id"] for image in problem.images)
    categories = _numbers([*(entry["id"] for entry in problem.categories), *problem.category_ids])

    def renumbered(entries: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
        return [
            {**entry, "image_id": images[entry["image_id"]], "category_id": categories[entry["category_id"]]}
            for entry in entries
        ]

    def listed(image: dict[str, Any]) -> dict[str, Any]:
        return {key: [categories[own] for own in image[key]] for key in _LVIS_LISTS if key in image}

    return replace(
        problem,
        images=[{**image, **listed(image), "id": images[image["id"]]} for image in problem.images],
        categories=[{**entry, "id": categories[entry["id"]]} for entry in problem.categories],
        annotations=renumbered(problem.annotations),
        results=renumbered(problem.results),
        category_ids=[categories[own] for own in problem.category_ids],
        image_ids=[images[own] for own in problem.image_ids],
    )


def _numbers(ids: Iterable[Any]) -> dict[Any, int]:
    """A number from 1 on for every id, numbers before texts."""
    ordered = sorted(set(ids), key=lambda own: (isinstance(own, str), own))
    return {own: number for number, own in enumerate(ordered, 1)}


def _dataset(problem: Problem, annotations: Sequence[dict[str, Any]]) -> dict[str, Any]:
    return {"images": problem.images, "categories": problem.categories, "annotations": annotations}


def _run_pycocotools(problem: Problem) -> dict[str, Any]:
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    from maskrcnn.evaluation.boundary import BoundaryEval

    def indexed(annotations: Sequence[dict[str, Any]]) -> COCO:
        coco = COCO()
        coco.dataset = _dataset(problem, annotations)
        coco.createIndex()
        return coco

    with contextlib.redirect_stdout(io.StringIO()):
        truth, found = indexed(problem.annotations), indexed(problem.results)
        if problem.kind == "boundary":
            return _finished(BoundaryEval(truth, found, "segm"), problem)
        return _finished(COCOeval(truth, found, problem.kind), problem)


def _run_hotcoco(problem: Problem) -> dict[str, Any]:
    import hotcoco

    truth = hotcoco.COCO(_dataset(problem, problem.annotations))
    found = hotcoco.COCO(_dataset(problem, problem.results))
    if problem.federated:
        found = found.cap_detections_per_image(max(problem.max_detections))  # of all classes together, as LVIS does
    return _finished(hotcoco.COCOeval(truth, found, problem.kind, lvis_style=problem.federated), problem)


def _finished(evaluation: Any, problem: Problem) -> dict[str, Any]:
    """Arrays of an evaluator of either library; they have the same attributes."""
    evaluation.params.imgIds = problem.image_ids
    evaluation.params.catIds = sorted(problem.category_ids)  # pycocotools sorts them in any case
    evaluation.params.areaRng = [list(limits) for limits in problem.area_ranges]
    evaluation.params.areaRngLbl = [str(number) for number in range(len(problem.area_ranges))]
    evaluation.params.maxDets = list(problem.max_detections)
    evaluation.evaluate()
    evaluation.accumulate()
    return evaluation.eval
