"""Which images make which batch of an epoch, and the random streams that everything drawn for them comes from."""

from __future__ import annotations

import math
from collections.abc import Sequence
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


def repeat_factors(labels: Sequence[Sequence[int]], threshold: float) -> np.ndarray:
    """Returns how often each image is to be shown in an epoch, on average, so that rare classes are seen more often.

    ``r(c) = max(1, sqrt(t / f(c)))`` for a class in the share f of the images, and the largest of its classes for an
    image (LVIS: Gupta et al. 2019, appendix B.2; after Mahajan et al. 2018).

    Args:
        labels: the classes of each image, each once.
        threshold: t, the share of the images from which a class is common enough.

    Returns:
        float64 [n], at least 1.
    """
    counts = np.bincount(np.concatenate([np.asarray(one, np.int64) for one in labels]), minlength=1)
    share = np.maximum(counts, 1) / len(labels)
    of_class = np.maximum(1.0, np.sqrt(threshold / share))
    return np.array([max((of_class[label] for label in one), default=1.0) for one in labels])


def steps_per_epoch(upright: np.ndarray, global_batch: int, factors: np.ndarray | None = None) -> int:
    """Returns the number of batches that show every image at least once; see ``plan_epoch``."""
    return sum(-(-_shown(upright == orientation, factors) // global_batch) for orientation in (False, True))


def _shown(chosen: np.ndarray, factors: np.ndarray | None) -> int:
    """Returns how many images an epoch shows of those that are chosen, bool [n], repetitions included."""
    return int(np.count_nonzero(chosen)) if factors is None else math.ceil(factors[chosen].sum())


def plan_epoch(
    upright: np.ndarray, global_batch: int, seed: int, epoch: int, factors: np.ndarray | None = None
) -> np.ndarray:
    """Returns the images of every step, int64 [steps, global_batch], as indices into ``upright``.

    A step holds one orientation, so that its images share a canvas. The images of an orientation are shuffled; its last
    batch is filled up with the first of them again; then the batches of both orientations are mixed.

    Args:
        upright: bool [n], whether the image is higher than wide.
        global_batch: images a step, of all ranks.
        seed: of the run.
        epoch: from 0.
        factors: float64 [n], how often to show each image, on average over the epochs; None: once.
    """
    rng = keyed_rng(seed, epoch, 0, Purpose.ORDER)
    batches = []
    for orientation in (False, True):
        order = rng.permutation(np.flatnonzero(upright == orientation))
        steps = -(-_shown(upright == orientation, factors) // global_batch)
        if factors is not None and steps:
            order = rng.permutation(_repeated(order, factors[order], steps * global_batch, rng.random()))
        batches.append(np.resize(order, (steps, global_batch)))
    return rng.permutation(np.concatenate(batches))


def _repeated(images: np.ndarray, factors: np.ndarray, count: int, start: float) -> np.ndarray:
    """Returns ``count`` of the images, each as often as its factor says, rounded up or down.

    Systematic sampling: at equal distances, from a random ``start`` in [0, 1), along intervals as long as the factors.
    The number of images, and so of steps, is the same in every epoch, as it would not be if each factor were rounded at
    random by itself.
    """
    ends = np.cumsum(factors) * (count / factors.sum())
    return images[np.searchsorted(ends[:-1], start + np.arange(count), side="right")]


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
