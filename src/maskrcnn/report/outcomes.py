"""What became of every detection and object of a data set, in flat arrays."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from maskrcnn.evaluation.engines import Problem
from maskrcnn.report.error_types import DetectionTable, Outcome, classify_image
from maskrcnn.report.matching import match, pair_images


@dataclass(frozen=True)
class Outcomes:
    """N detections, best first within an image, and all G objects of a problem, crowd regions included.

    Of detections:
    record: int64 [N], position in the problem's results. image: int64 [N], position in its image_ids.
    score: float64 [N]. category: int64 [N], position in its category_ids. outcome: int8 [N], see ``Outcome``.
    object: int64 [N], position in its annotations of the object found or confused, -1 for none. iou: float64 [N].
    partner: int64 [N], the object matched at IoU 0.5 whatever its class, -1 for none, for the confusion matrix.
    matches: int64 [10, N], the object or crowd region that COCO matches at each IoU threshold, -1 for none.

    Of objects:
    object_image, object_category: int64 [G]. crowd, missed: bool [G]. found_by: int64 [G], the detection that found it,
    or failing that the best with a localisation or classification error about it; -1 for none.
    """

    record: np.ndarray
    image: np.ndarray
    score: np.ndarray
    category: np.ndarray
    outcome: np.ndarray
    object: np.ndarray
    iou: np.ndarray
    partner: np.ndarray
    matches: np.ndarray
    object_image: np.ndarray
    object_category: np.ndarray
    crowd: np.ndarray
    missed: np.ndarray
    found_by: np.ndarray
    classes: int

    @property
    def counts(self) -> np.ndarray:
        """int64 [K]: objects of each class, crowd regions left out."""
        return np.bincount(self.object_category[~self.crowd], minlength=self.classes)

    def correct(self, threshold: int = 0) -> np.ndarray:
        """bool [N]: whether COCO counts a detection as correct at IoU threshold number ``threshold``."""
        return (self.matches[threshold] >= 0) & ~self.ignored(threshold)

    def ignored(self, threshold: int = 0) -> np.ndarray:
        """bool [N]: whether a detection lies in a crowd region, and counts neither as correct nor as false."""
        return np.append(self.crowd, False)[self.matches[threshold]]

    def table(self) -> DetectionTable:
        """Returns the part that ``ap_gains`` takes."""
        has_object = self.object >= 0
        found = np.zeros(len(self.crowd), bool)
        found[self.object[self.outcome == Outcome.CORRECT]] = True
        return DetectionTable(
            self.score,
            self.category,
            self.outcome,
            self.object,
            np.where(has_object, _at(self.object_category, self.object), -1),
            has_object & _at(found, self.object),
            self.counts,
            np.bincount(self.object_category[self.missed], minlength=self.classes),
        )


def collect_outcomes(problem: Problem) -> Outcomes:
    """Matches every image of a problem and classifies what is left over."""
    of_detections: list[tuple[np.ndarray, ...]] = []
    total = len(problem.annotations)
    image, category = np.full(total, -1, np.int64), np.full(total, -1, np.int64)
    crowd, missed, found_by = np.zeros(total, bool), np.zeros(total, bool), np.full(total, -1, np.int64)
    before = 0
    for pairs in pair_images(problem):
        matches = match(pairs)
        errors = classify_image(pairs, matches[0])
        partner = match(pairs, np.array([0.5]), across_classes=True)[0]
        of_detections.append(
            (
                pairs.detections, np.full(len(pairs.detections), pairs.image), pairs.scores, pairs.detection_classes,
                errors.outcomes, _named(pairs.objects, errors.objects), errors.ious,
                _named(pairs.objects, partner), _named(pairs.objects, matches),
            )
        )  # fmt: skip
        image[pairs.objects], category[pairs.objects] = pairs.image, pairs.object_classes
        crowd[pairs.objects], missed[pairs.objects] = pairs.crowd, errors.missed
        of_object = errors.covered.copy()
        correct = np.flatnonzero(errors.outcomes == Outcome.CORRECT)
        of_object[matches[0][correct]] = correct
        found_by[pairs.objects] = np.where(of_object >= 0, of_object + before, -1)
        before += len(pairs.detections)
    joined = [np.concatenate(arrays, axis=-1) for arrays in zip(*of_detections)]
    counted = image >= 0
    if not counted.all():
        raise ValueError("the problem has annotations of images or classes that do not count")
    return Outcomes(*joined, image, category, crowd, missed, found_by, len(problem.category_ids))


def _at(values: np.ndarray, positions: np.ndarray) -> np.ndarray:
    """``values[positions]``, with whatever for -1, also where there are no values."""
    return np.append(values, values[:1] if len(values) else np.zeros(1, values.dtype))[positions]


def _named(objects: np.ndarray, positions: np.ndarray) -> np.ndarray:
    """Positions in an image's objects as positions in the problem's annotations; -1 stays."""
    return np.where(positions >= 0, _at(objects, positions), -1)
