"""Which images make which batch of an epoch, and the random streams that everything drawn for them comes from."""

from __future__ import annotations

from enum import IntEnum

import numpy as np


class Purpose(IntEnum):
    """What a random stream is for, so that changing one choice leaves the others as they were."""

    ORDER = 1
    VIEW = 2
    ANCHORS = 3
    OBJECTS = 4
    ROIS = 5
    GEOMETRY = 6
    PARTNER = 7
    PASTE = 8


def keyed_rng(seed: int, epoch: int, position: int, purpose: Purpose) -> np.random.Generator:
    """Returns the random stream of one sample of an epoch for one purpose.

    Args:
        seed: of the run.
        epoch: from 0.
        position: of the sample among those of all ranks, in the order of the plan, so that the stream depends neither
            on workers nor on where a run was resumed.
        purpose: what is drawn.
    """
    return np.random.default_rng([seed, epoch, position, purpose])


def steps_per_epoch(upright: np.ndarray, global_batch: int) -> int:
    """Returns the number of batches that show every image, bool [n] (height > width), at least once."""
    count = int(np.count_nonzero(upright))
    return -(-count // global_batch) + -(-(len(upright) - count) // global_batch)


def plan_epoch(upright: np.ndarray, global_batch: int, seed: int, epoch: int) -> np.ndarray:
    """Returns the images of every step, int64 [steps, global_batch], as indices into ``upright``.

    A step holds one orientation, so that its images share a canvas. The images of an orientation are shuffled; its last
    batch is filled up with the first of them again; then the batches of both orientations are mixed.

    Args:
        upright: bool [n], whether the image is higher than wide.
        global_batch: images a step, of all ranks.
        seed: of the run.
        epoch: from 0.
    """
    rng = keyed_rng(seed, epoch, 0, Purpose.ORDER)
    batches = []
    for orientation in (False, True):
        order = rng.permutation(np.flatnonzero(upright == orientation))
        steps = -(-len(order) // global_batch)
        batches.append(np.resize(order, (steps, global_batch)))
    return rng.permutation(np.concatenate(batches))


def plan_partners(steps: int, global_batch: int, images: int, ratio: float, seed: int, epoch: int) -> np.ndarray:
    """Returns for every image of ``plan_epoch`` the image whose objects are pasted into it, -1 for none.

    Args:
        steps: of the epoch.
        global_batch: images a step, of all ranks.
        images: number of images to choose from.
        ratio: probability of an image to have a partner.
        seed: of the run.
        epoch: from 0.

    Returns:
        int64 [steps, global_batch].
    """
    chance, choice = keyed_rng(seed, epoch, 0, Purpose.PARTNER).random((2, steps, global_batch))
    return np.where(chance < ratio, (choice * images).astype(np.int64), -1)
