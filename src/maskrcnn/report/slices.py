"""AP of parts of the data: by the size of objects, by how many an image holds, by how much others cover them."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from maskrcnn.evaluation.engines import Problem, accumulate
from maskrcnn.report.matching import IOU_THRESHOLDS, average_precision
from maskrcnn.report.outcomes import Outcomes

SIZES = (0, 16, 32, 64, 96, 192, 384)  # square roots of areas, in pixels, where the ranges begin
OBJECTS = (1, 2, 4, 8, 16)  # in an image
COVERED = (0.0, 0.01, 0.25, 0.5)  # share of an object's box that another object's box covers
_LARGEST_AREA = 1e10  # COCO's own upper limit


class Slice(NamedTuple):
    """A part of the data: its label, how many objects it holds, AP and AP50, -1 if it holds none."""

    label: str
    objects: int
    ap: float
    ap50: float


def by_size(problem: Problem, engine: str) -> list[Slice]:
    """AP by size, as COCO does it: objects and unmatched detections of other sizes do not count."""
    limits = [float(side**2) for side in SIZES] + [_LARGEST_AREA]
    ranges = tuple(zip(limits, limits[1:]))
    curves = accumulate(replace(problem, area_ranges=ranges, max_detections=problem.max_detections[-1:]), engine)
    areas = np.array([a["area"] for a in problem.annotations if not a["iscrowd"]])
    slices = []
    for number, (low, high) in enumerate(ranges):
        precision = curves.precision[:, :, :, number, 0]
        upper = f"to {SIZES[number + 1]}" if number + 1 < len(SIZES) else "and more"
        objects = int(((areas >= low) & (areas <= high)).sum())
        slices.append(Slice(f"{SIZES[number]} {upper} px", objects, _mean(precision), _mean(precision[:1])))
    return slices


def by_crowding(problem: Problem, engine: str) -> list[Slice]:
    """AP of the images that hold so many objects."""
    counts: dict[int, int] = defaultdict(int)
    for annotation in problem.annotations:
        counts[annotation["image_id"]] += not annotation["iscrowd"]
    slices = []
    for number, least in enumerate(OBJECTS):
        most = OBJECTS[number + 1] - 1 if number + 1 < len(OBJECTS) else None
        images = [i for i in problem.image_ids if counts[i] >= least and (most is None or counts[i] <= most)]
        label = f"{least} or more" if most is None else str(least) if most == least else f"{least} to {most}"
        objects = sum(counts[i] for i in images)
        if not objects:
            slices.append(Slice(label, 0, -1.0, -1.0))
            continue
        part = replace(problem, image_ids=images, max_detections=problem.max_detections[-1:])
        precision = accumulate(part, engine).precision[..., 0, 0]
        slices.append(Slice(label, objects, _mean(precision), _mean(precision[:1])))
    return slices


def by_occlusion(problem: Problem, outcomes: Outcomes) -> list[Slice]:
    """Normalised AP by the share of an object's box that the box of another object covers.

    A false detection belongs to no share, so all of them count in every part, and the correct ones of a part count as
    if the class's objects were all of that kind (Hoiem et al. 2012; see ``average_precision``). Detections of the
    other parts' objects do not count.
    """
    shares = covered_shares(problem)
    part_of = np.searchsorted(COVERED, shares, side="right") - 1
    slices = []
    for part, least in enumerate(COVERED):
        label = "free" if part == 0 else f"{100 * max(least, 0.0):.0f} % " + (
            f"to {100 * COVERED[part + 1]:.0f} %" if part + 1 < len(COVERED) else "and more"
        )  # fmt: skip
        inside = (part_of == part) & ~outcomes.crowd
        aps = np.array([_normalised_aps(outcomes, inside, category) for category in range(outcomes.classes)])
        slices.append(Slice(label, int(inside.sum()), _mean(aps), _mean(aps[:, :1])))
    return slices


def covered_shares(problem: Problem) -> np.ndarray:
    """Returns float64 [G]: the largest share of each object's box that the box of one other object covers."""
    by_image = defaultdict(list)
    for position, annotation in enumerate(problem.annotations):
        if not annotation["iscrowd"]:
            by_image[annotation["image_id"]].append(position)
    shares = np.zeros(len(problem.annotations))
    for positions in by_image.values():
        boxes = np.array([problem.annotations[p]["bbox"] for p in positions], np.float64)
        low, high = boxes[:, :2], boxes[:, :2] + boxes[:, 2:]
        sides = np.minimum(high[:, None], high[None]) - np.maximum(low[:, None], low[None])
        common = sides.clip(0).prod(axis=2)
        np.fill_diagonal(common, 0)
        shares[positions] = common.max(axis=1) / np.maximum(boxes[:, 2:].prod(axis=1), 1e-9)
    return shares


def _normalised_aps(outcomes: Outcomes, inside: np.ndarray, category: int) -> list[float]:
    """AP of one class at each IoU threshold for the objects ``inside``; -1 without any."""
    objects = int((inside & (outcomes.object_category == category)).sum())
    total = int(outcomes.counts[category])
    of_class = outcomes.category == category
    aps = []
    for number in range(len(IOU_THRESHOLDS)):
        correct = outcomes.correct(number) & of_class
        own = np.append(inside, False)[outcomes.matches[number]]
        counted = of_class & ~outcomes.ignored(number) & (~correct | own)
        aps.append(average_precision(outcomes.score[counted], correct[counted], objects, total))
    return aps


def _mean(values: np.ndarray) -> float:
    known = values[values > -1]
    return float(known.mean()) if len(known) else -1.0
