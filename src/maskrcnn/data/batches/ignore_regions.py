"""Images with more objects than the fixed arrays have room for: which are learnt, and what becomes of the others.

An object that is left out would be background to the box head. So a part of the slots holds regions to ignore, as
COCO's crowd regions are, that cover what is left out; another random choice of the objects is learnt in each epoch.
"""

from __future__ import annotations

import numpy as np

_SHARE = 4  # one slot of so many is for regions to ignore where objects are left out


def choose_objects(
    usable: np.ndarray, boxes: np.ndarray, crowd: np.ndarray, most: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Chooses what of an image's objects fills its ``most`` slots.

    Args:
        usable: int [m], the objects to choose from.
        boxes: float32 [n, 4] of all objects.
        crowd: bool [n], which of them are crowd regions.
        most: number of slots, at least 2.
        rng: draws the choice.

    Returns:
        kept: int [k], ascending, the objects with a slot of their own; all of ``usable`` where there is room.
        ignored: float32 [r, 4], boxes of regions to ignore that cover the others, k + r <= most.
    """
    if len(usable) <= most:
        return usable, np.zeros((0, 4), np.float32)
    objects = usable[~crowd[usable]]
    room = most - max(most // _SHARE, 1)
    kept = np.sort(rng.permutation(objects)[:room]) if len(objects) > room else objects
    others = np.setdiff1d(usable, kept)
    return kept, cover(boxes[others], most - len(kept))


def cover(boxes: np.ndarray, count: int) -> np.ndarray:
    """Covers boxes with at most ``count`` boxes, by halving the group that wastes most area again and again.

    Args:
        boxes: float32 [n, 4], n >= 1.
        count: at least 1.

    Returns:
        float32 [min(n, count), 4]; every one of ``boxes`` lies in one of them.
    """
    groups = [(_wasted(boxes), boxes)]
    while len(groups) < min(count, len(boxes)):
        largest = max((g for g in range(len(groups)) if len(groups[g][1]) > 1), key=lambda g: groups[g][0])
        _, members = groups.pop(largest)
        centres = members[:, :2] + members[:, 2:]
        axis = int(np.ptp(centres[:, 1]) > np.ptp(centres[:, 0]))
        order = np.argsort(centres[:, axis], kind="stable")
        groups += [(_wasted(half), half) for half in np.split(members[order], [len(order) // 2])]
    return np.stack([_around(members) for _, members in groups])


def _around(boxes: np.ndarray) -> np.ndarray:
    """The box around boxes [n, 4]."""
    return np.concatenate([boxes[:, :2].min(axis=0), boxes[:, 2:].max(axis=0)])


def _wasted(boxes: np.ndarray) -> float:
    """How much larger the box around boxes is than these together, at least 0."""
    size = _around(boxes)[2:] - _around(boxes)[:2]
    return max(float(size.prod() - (boxes[:, 2:] - boxes[:, :2]).prod(axis=1).sum()), 0.0)
