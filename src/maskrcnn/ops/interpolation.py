"""Bilinear interpolation of whole bins: every cell's weight in the mean over a bin's samples.

RoIAlign may take as many samples of a bin as the bin is long (detectron2's and torchvision's ``sampling_ratio`` 0).
Their number is then another for every RoI, which a static graph cannot loop over; but samples are evenly spaced, so
their weights have a closed form. ``reference.roi_align`` loops over the samples.
"""

from __future__ import annotations

import mindspore as ms
from mindspore import Tensor, ops


def mean_weights(start: Tensor, length: Tensor, limit: Tensor, cells: Tensor, spacing: Tensor, size: int) -> Tensor:
    """Computes the weights of cells in bins along one axis; with those of the other axis they make up RoIAlign.

    A bin of the ``size`` equal ones that an interval has gets ceil(length / size) evenly spaced samples. A sample
    between two cells is shared by them. Beyond the first and the last cell of the axis it counts as lying on it, and as
    zero if it is more than one unit outside.

    Args:
        start: float32 [R], where the interval begins, in cells of the axis.
        length: float32 [R], of the interval.
        limit: float32 [R], of the axis: cells lie at 0 .. limit - 1, samples count within -1 .. limit.
        cells: float32 [R,P], positions of the cells that are asked for.
        spacing: float32 [R], distance of neighbours among them: 1, or more where the cells are a thinned-out axis.
        size: Bins of an interval.

    Returns:
        float32 [R,size,P]; a bin's weights sum to 1 if all cells near it are among those asked for.
    """
    r, p = cells.shape
    asked = ops.ceil(length / size)
    number = ops.maximum(asked, Tensor(1.0, ms.float32))
    step = ops.maximum(length / (size * number), Tensor(1e-6, ms.float32)).reshape((r, 1))
    bins = ops.arange(0, size, dtype=ms.float32).reshape((1, size))
    first = start.reshape((r, 1)) + bins * (length / size).reshape((r, 1)) + 0.5 * step
    # Samples are first + k * step; those more than one unit outside are none.
    asked, zero = asked.reshape((r, 1)), Tensor(0.0, ms.float32)
    skipped = ops.minimum(ops.maximum(ops.ceil((-1.0 - first) / step), zero), asked)
    end = ops.minimum(ops.maximum(ops.floor((limit.reshape((r, 1)) - first) / step) + 1.0, zero), asked)
    first, count = first + skipped * step, ops.relu(end - skipped)

    shape = (r, size, p)  # equal shapes, spelled out: see models/layers.py
    low, step, count = (
        first.expand_dims(2).broadcast_to(shape),
        step.expand_dims(2).broadcast_to(shape),
        count.expand_dims(2).broadcast_to(shape),
    )
    at, gap = cells.expand_dims(1).broadcast_to(shape), spacing.reshape((r, 1, 1)).broadcast_to(shape)
    before = _samples_below(at - gap, low, step, count)
    here = _samples_below(at, low, step, count)
    after = _samples_below(at + gap, low, step, count)
    rising = _ramp(before, here, at - gap, low, step, count, gap)
    falling = _ramp(here, after, at, low, step, count, gap)
    last = (limit - 0.5).reshape((r, 1, 1)).broadcast_to(shape)
    rising = ops.where(at - gap < -0.5, count, rising)
    falling = ops.where(at + gap > last, ops.zeros_like(falling), falling)
    return (rising - falling) / number.reshape((r, 1, 1)).broadcast_to(shape)


def _samples_below(position: Tensor, first: Tensor, step: Tensor, count: Tensor) -> Tensor:
    """Counts the samples first, first + step, ... that lie below ``position``."""
    return ops.minimum(ops.relu(ops.ceil((position - first) / step)), count)


def _ramp(
    before: Tensor, after: Tensor, foot: Tensor, first: Tensor, step: Tensor, count: Tensor, gap: Tensor
) -> Tensor:
    """Sums over the samples a ramp that is 0 up to ``foot`` and 1 from ``foot + gap`` on.

    ``before`` and ``after`` of the samples lie below its foot and its top: the ones between are an arithmetic series.
    """
    between = (after - before) * ((first - foot) + step * ((before + after - 1.0) * 0.5)) / gap
    return count - after + between
