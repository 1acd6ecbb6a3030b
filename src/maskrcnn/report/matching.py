"""Which detection found which object, by COCO's rules, image by image."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from pycocotools import mask as coco_mask

from maskrcnn.evaluation.engines import Problem

IOU_THRESHOLDS = np.linspace(0.5, 0.95, 10)  # COCO's


class ImagePairs(NamedTuple):
    """The D detections of an image, best first, its G objects, and how much they overlap.

    image: position in the problem's image_ids. detections: int64 [D], positions in its results. objects: int64 [G],
    positions in its annotations. scores: float64 [D]. detection_classes: int64 [D] and object_classes: int64 [G],
    positions in its category_ids. crowd: bool [G]. ious: float64 [D, G], of boxes or masks; with a crowd region, the
    share of the detection inside it.
    """

    image: int
    detections: np.ndarray
    objects: np.ndarray
    scores: np.ndarray
    detection_classes: np.ndarray
    object_classes: np.ndarray
    crowd: np.ndarray
    ious: np.ndarray

    @property
    def same_class(self) -> np.ndarray:
        """bool [D, G]: whether a detection and an object are of one class."""
        return self.detection_classes[:, None] == self.object_classes[None, :]


def pair_images(problem: Problem) -> list[ImagePairs]:
    """Returns the pairs of every image of the problem, in the order of their ids, which decides ties of scores in COCO.

    Of a class, an image's best ``max(problem.max_detections)`` detections count, as in COCO.
    """
    classes = {category: position for position, category in enumerate(problem.category_ids)}
    found, expected = _by_image(problem.results, classes), _by_image(problem.annotations, classes)
    pairs = []
    for number, image in sorted(enumerate(problem.image_ids), key=lambda item: (isinstance(item[1], str), item[1])):
        detections, objects = np.array(found[image], np.int64), np.array(expected[image], np.int64)
        scores = np.array([problem.results[d]["score"] for d in detections], np.float64)
        order = np.argsort(-scores, kind="mergesort")
        detections, scores = detections[order], scores[order]
        detection_classes = np.array([classes[problem.results[d]["category_id"]] for d in detections], np.int64)
        kept = _rank_in_class(detection_classes) < max(problem.max_detections)
        detections, scores, detection_classes = detections[kept], scores[kept], detection_classes[kept]
        object_classes = np.array([classes[problem.annotations[g]["category_id"]] for g in objects], np.int64)
        crowd = np.array([bool(problem.annotations[g]["iscrowd"]) for g in objects], bool)
        ious = _overlaps(
            [problem.results[d] for d in detections], [problem.annotations[g] for g in objects], crowd, problem.kind
        )
        pairs.append(ImagePairs(number, detections, objects, scores, detection_classes, object_classes, crowd, ious))
    return pairs


def match(pairs: ImagePairs, thresholds: np.ndarray = IOU_THRESHOLDS, across_classes: bool = False) -> np.ndarray:
    """Matches detections to objects as COCO does.

    Detections choose in the order of their scores, each the object with the largest IoU of those that are still free
    and reach the threshold; only if there is none, a crowd region, which any number may choose.

    Args:
        pairs: An image.
        thresholds: float64 [T], the least IoU of a match.
        across_classes: Whether a detection may choose an object of another class.

    Returns:
        int64 [T, D], positions in the image's objects, -1 for none.
    """
    count, total = pairs.ious.shape
    least = np.minimum(thresholds, 1 - 1e-10)[:, None]
    matches = np.full((len(thresholds), count), -1, np.int64)
    free = np.ones((len(thresholds), total), bool)
    rows = np.arange(len(thresholds))
    ious = pairs.ious if across_classes else np.where(pairs.same_class, pairs.ious, -1.0)
    for d in np.flatnonzero(ious.max(axis=1, initial=-1.0) >= least.min()):
        reached = (ious[d] >= least) & free
        chosen = np.full(len(thresholds), -1, np.int64)
        for group in (pairs.crowd, ~pairs.crowd):  # an object outdoes a crowd region
            values = np.where(reached & group, ious[d], -1.0)
            last = total - 1 - values[:, ::-1].argmax(axis=1)  # of equal ones the last
            chosen = np.where(values[rows, last] >= 0, last, chosen)
        matches[:, d] = chosen
        taken = (chosen >= 0) & ~pairs.crowd[chosen]
        free[rows[taken], chosen[taken]] = False
    return matches


def average_precision(scores: np.ndarray, correct: np.ndarray, objects: float, total: float | None = None) -> float:
    """Computes AP as COCO does: precision made monotonic, and averaged at 101 recalls.

    With ``total``, precision is normalised as in Hoiem et al. 2012 (section 3.2): the correct detections, a share of
    ``objects``, count as if there were ``total`` objects, so that rare kinds of object compare with frequent ones.

    Args:
        scores: float64 [N], of detections that count.
        correct: bool [N].
        objects: How many there are to find.
        total: How many objects precision is computed for; None for ``objects``.

    Returns:
        AP from 0 to 1, or -1 if there are no objects.
    """
    if objects <= 0:
        return -1.0
    correct = correct[np.argsort(-scores, kind="mergesort")]
    recall = np.cumsum(correct) / objects
    true = recall * (objects if total is None else total)
    precision = true / np.maximum(true + np.cumsum(~correct), np.finfo(np.float64).tiny)
    precision = np.maximum.accumulate(precision[::-1])[::-1]
    at = np.searchsorted(recall, np.linspace(0, 1, 101), side="left")
    return float(np.where(at < len(precision), np.append(precision, 0.0)[np.minimum(at, len(precision))], 0.0).mean())


def _by_image(entries: Sequence[dict[str, Any]], classes: dict[int, int]) -> dict[Any, list[int]]:
    """Positions of the entries of the classes that count, by image id."""
    positions: dict[Any, list[int]] = defaultdict(list)
    for position, entry in enumerate(entries):
        if entry["category_id"] in classes:
            positions[entry["image_id"]].append(position)
    return positions


def _rank_in_class(classes: np.ndarray) -> np.ndarray:
    """int64 [D]: how many earlier entries are of the same class."""
    ranks = np.zeros(len(classes), np.int64)
    for category in np.unique(classes):
        of_class = classes == category
        ranks[of_class] = np.arange(of_class.sum())
    return ranks


def _overlaps(
    detections: list[dict[str, Any]], objects: list[dict[str, Any]], crowd: np.ndarray, kind: str
) -> np.ndarray:
    """float64 [D, G] by pycocotools."""
    if not detections or not objects:
        return np.zeros((len(detections), len(objects)))
    if kind == "bbox":
        shapes = ([d["bbox"] for d in detections], [g["bbox"] for g in objects])
        shapes = tuple(np.array(boxes, np.float64) for boxes in shapes)
    else:
        shapes = ([d["segmentation"] for d in detections], [g["segmentation"] for g in objects])
    return np.asarray(coco_mask.iou(*shapes, crowd.astype(np.uint8)), np.float64)
