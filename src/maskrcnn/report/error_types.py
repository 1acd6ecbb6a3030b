"""The type of every detection error, and what fixing each type would gain, after TIDE.

Bolya et al., "TIDE: A General Toolbox for Identifying Object Detection Errors", ECCV 2020, section 2.
"""

from __future__ import annotations

from enum import IntEnum
from typing import NamedTuple

import numpy as np

from maskrcnn.report.matching import ImagePairs, average_precision

FOREGROUND_IOU = 0.5  # t_f: from here on a detection has found an object
BACKGROUND_IOU = 0.1  # t_b: up to here it has found nothing at all


class Outcome(IntEnum):
    """What became of a detection; the last one is that of an object."""

    CORRECT = 0
    LOCALISATION = 1  # of the right class, t_b <= IoU < t_f
    CLASSIFICATION = 2  # of another class than the object it covers with IoU >= t_f
    BOTH = 3  # of another class, and badly placed
    DUPLICATE = 4  # of an object that a detection with a higher score has found
    BACKGROUND = 5  # IoU <= t_b with every object
    IGNORED = 6  # in a crowd region, neither right nor wrong
    MISSED = 7  # an object that neither a detection found nor a localisation or classification error covers


FALSE = (Outcome.LOCALISATION, Outcome.CLASSIFICATION, Outcome.BOTH, Outcome.DUPLICATE, Outcome.BACKGROUND)


class ImageErrors(NamedTuple):
    """What became of an image's D detections and G objects.

    outcomes: int8 [D], see ``Outcome``. objects: int64 [D], the position of the object that was found, or that the
    error is about; -1 for none. ious: float64 [D], the overlap with it, or the largest with any.
    missed: bool [G]. covered: int64 [G], the best detection with a localisation or classification error about an
    object that nothing found; -1 for none.
    """

    outcomes: np.ndarray
    objects: np.ndarray
    ious: np.ndarray
    missed: np.ndarray
    covered: np.ndarray


def classify_image(pairs: ImagePairs, matches: np.ndarray) -> ImageErrors:
    """Sorts an image's detections and objects into the kinds of TIDE.

    A detection that fits two definitions is a localisation error before a classification error before a duplicate: an
    object of its own class comes first.

    Args:
        pairs: The image.
        matches: int64 [D], the objects that COCO matches at IoU ``FOREGROUND_IOU``, -1 for none.
    """
    count, total = pairs.ious.shape
    outcomes = np.full(count, Outcome.BACKGROUND, np.int8)
    objects, ious = matches.copy(), np.zeros(count)
    found = np.zeros(total, bool)
    found[matches[matches >= 0]] = True
    real = np.where(pairs.crowd, 0.0, pairs.ious)  # crowd regions are no objects to confuse with
    of_class, of_others = np.where(pairs.same_class, real, 0.0), np.where(pairs.same_class, 0.0, real)
    for d in range(count):
        if matches[d] >= 0:
            ious[d] = pairs.ious[d, matches[d]]
            outcomes[d] = Outcome.IGNORED if pairs.crowd[matches[d]] else Outcome.CORRECT
        elif total:
            outcomes[d], objects[d], ious[d] = _false_detection(of_class[d], of_others[d], found)
    covered = np.full(total, -1, np.int64)
    for d in reversed(range(count)):  # the best score last
        if outcomes[d] in (Outcome.LOCALISATION, Outcome.CLASSIFICATION) and not found[objects[d]]:
            covered[objects[d]] = d
    return ImageErrors(outcomes, objects, ious, ~found & ~pairs.crowd & (covered < 0), covered)


def _false_detection(of_class: np.ndarray, of_others: np.ndarray, found: np.ndarray) -> tuple[Outcome, int, float]:
    """Returns the type of a detection that matched nothing, its object and their IoU."""
    own, other = int(of_class.argmax()), int(of_others.argmax())
    taken = np.where(found, of_class, 0.0)
    if BACKGROUND_IOU <= of_class[own] < FOREGROUND_IOU:
        return Outcome.LOCALISATION, own, of_class[own]
    if of_others[other] >= FOREGROUND_IOU:
        return Outcome.CLASSIFICATION, other, of_others[other]
    if taken.max() >= FOREGROUND_IOU:
        return Outcome.DUPLICATE, int(taken.argmax()), taken.max()
    if of_others[other] > BACKGROUND_IOU:
        return Outcome.BOTH, other, of_others[other]
    return Outcome.BACKGROUND, -1, max(of_class[own], of_others[other])


class DetectionTable(NamedTuple):
    """The detections of all images, N of them, and the number of objects of each of K classes.

    scores: float64 [N]. classes: int64 [N]. outcomes: int8 [N]. objects: int64 [N], a number that is unique to an
    object over all images, -1 for none. object_classes: int64 [N], the class of that object, -1 for none. found: bool
    [N], whether a detection has found that object. counts: int64 [K]. missed: int64 [K].
    """

    scores: np.ndarray
    classes: np.ndarray
    outcomes: np.ndarray
    objects: np.ndarray
    object_classes: np.ndarray
    found: np.ndarray
    counts: np.ndarray
    missed: np.ndarray


def ap_gains(table: DetectionTable) -> dict[str, float]:
    """Computes how much AP at IoU 0.5 would gain if the errors of one type were fixed (section 2.3).

    Localisation and classification errors become correct detections of their objects. As in the authors' program an
    object takes one detection only, the best of its localisation and classification errors together, and none if it
    has been found; the others are removed. Errors of the other types are removed. Missed objects no longer count.

    Returns:
        The gain by the name of the type in lower case; under 'false' what removing every false detection would gain,
        under 'missing' what not counting any object without a correct detection would; AP itself under 'ap'.
    """
    correct = table.outcomes == Outcome.CORRECT
    counted = table.outcomes != Outcome.IGNORED
    base = _mean_ap(table, correct, counted, table.classes, table.counts)
    gains = {"ap": base}
    placed = np.isin(table.outcomes, (Outcome.LOCALISATION, Outcome.CLASSIFICATION)) & ~table.found
    best = _best_of_each_object(table, placed)
    for outcome in FALSE:
        wrong = table.outcomes == outcome
        fixed = np.zeros_like(wrong)
        classes = table.classes.copy()
        if outcome in (Outcome.LOCALISATION, Outcome.CLASSIFICATION):
            fixed = wrong & best
            classes[fixed] = table.object_classes[fixed]
        ap = _mean_ap(table, correct | fixed, counted & (~wrong | fixed), classes, table.counts)
        gains[outcome.name.lower()] = ap - base
    found = np.bincount(table.classes[correct], minlength=len(table.counts))
    gains["missed"] = _mean_ap(table, correct, counted, table.classes, table.counts - table.missed) - base
    gains["false"] = _mean_ap(table, correct, correct, table.classes, table.counts) - base
    gains["missing"] = _mean_ap(table, correct, counted, table.classes, found) - base
    return gains


def _best_of_each_object(table: DetectionTable, chosen: np.ndarray) -> np.ndarray:
    """bool [N]: of the chosen detections the one with the highest score for each object."""
    positions = np.flatnonzero(chosen)
    positions = positions[np.argsort(-table.scores[positions], kind="mergesort")]
    _, first = np.unique(table.objects[positions], return_index=True)
    best = np.zeros_like(chosen)
    best[positions[first]] = True
    return best


def _mean_ap(
    table: DetectionTable, correct: np.ndarray, counted: np.ndarray, classes: np.ndarray, counts: np.ndarray
) -> float:
    """The mean over the classes that have objects."""
    values = []
    for category in np.flatnonzero(table.counts > 0):
        of_class = counted & (classes == category)
        if counts[category] > 0:
            values.append(average_precision(table.scores[of_class], correct[of_class], counts[category]))
    return float(np.mean(values)) if values else 0.0
