"""RoIAlign (Mask R-CNN, section 3) on all pyramid levels at once.

The levels of an image are laid out in one table, a row a position. Each output bin is the mean of bilinear samples, and
each sample a weighted sum of four rows: so a bin is one gather and one small matrix product, whatever level its RoI
belongs to, and the gradient is the product's and the gather's own. With adaptive sampling the bins of a RoI share one
gather, of all cells that it touches. The float64 numpy twin is in ``reference.py``.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import mindspore as ms
from mindspore import Tensor, ops

from maskrcnn.ops.interpolation import mean_weights

CORNERS = 2  # of the bilinear kernel along one axis


@ms.jit_class
@dataclass(frozen=True)
class RoIAlignSettings:
    """How RoIs are pooled.

    Attributes:
        size: Bins along each side of a RoI.
        sampling: Samples along each side of a bin; 0 takes as many as the bin has cells, rounded up (detectron2).
        aligned: Shifts by half a cell, so that a cell's value stands for its centre (detectron2's ROIAlignV2); False is
            torchvision's default, where RoIs are also at least one cell wide.
        strides: Pixels per cell of each level.
        finest_scale: Half the side of the smallest boxes on the second level; 56 in the paper, where RoIs of 224 pixels
            belong to P4.
    """

    size: int
    sampling: int
    aligned: bool
    strides: tuple[int, ...]
    finest_scale: float


def feature_tables(features: Sequence[Tensor]) -> tuple[Tensor, ...]:
    """Lays the levels of each image out in one table, a row a position.

    Args:
        features: float32 [N,C,H_l,W_l] a level.

    Returns:
        N tables float32 [sum(H_l*W_l), C], level by level, each row by row.
    """
    rows = []
    for feature in features:
        n, c, h, w = feature.shape
        rows.append(feature.reshape((n, c, h * w)).transpose((0, 2, 1)))
    return ops.unstack(ops.concat(rows, 1), 0)


def flatten_levels(features: Sequence[Tensor]) -> tuple[tuple[Tensor, ...], list[tuple[int, int]]]:
    """Returns the pyramid as its heads read it: ``feature_tables`` of maps [N,C,H_l,W_l], and (H_l, W_l) a level."""
    return feature_tables(features), [(feature.shape[2], feature.shape[3]) for feature in features]


def level_of(boxes: Tensor, finest_scale: float, num_levels: int) -> Tensor:
    """Finds the pyramid level of each box: FPN, equation 1.

    floor(log2(sqrt(area) / finest_scale)) clamped to the levels, written as comparisons of areas; a box within one
    part in a million of a border goes up, as in torchvision and detectron2.

    Args:
        boxes: float32 [R,4], continuous boxes in pixels.
        finest_scale: Half the side of the smallest boxes on the second level.
        num_levels: Levels there are.

    Returns:
        int32 [R] in 0..num_levels-1.
    """
    box_area = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    level = ops.zeros_like(box_area)
    for step in range(1, num_levels):
        border = finest_scale * 2.0 ** (step - 1e-6)
        level = level + (box_area >= border * border).astype(ms.float32)
    return level.astype(ms.int32)


def _select(values: Sequence[float], level: Tensor) -> Tensor:
    """Returns the value of each RoI's level: float32 [R,1,1]."""
    return ops.gather(Tensor(values, ms.float32), level, 0).reshape((-1, 1, 1))


def _axis_samples(start: Tensor, length: Tensor, limit: Tensor, size: int, sampling: int) -> tuple[Tensor, Tensor]:
    """Computes positions and weights along one axis: each bin's samples, each with its two neighbours.

    Args:
        start: [R,1,1], of the RoI in feature coordinates.
        length: [R,1,1], of the RoI.
        limit: [R,1,1], length of the feature map along the axis.
        size: Bins of a RoI.
        sampling: Samples of a bin.

    Returns:
        positions int32-valued float32 [R, size, sampling*2] and weights [R, size, sampling*2] that sum to 1 for a bin
        whose samples all lie on the map (a sample more than one pixel outside counts as zero).
    """
    bins = ops.arange(0, size, dtype=ms.float32).reshape((1, size, 1))
    offsets = (ops.arange(0, sampling, dtype=ms.float32).reshape((1, 1, sampling)) + 0.5) / sampling
    at = start + (bins + offsets) * (length / size)  # [R, size, sampling]
    inside = ops.logical_and(at >= -1.0, at <= limit).astype(ms.float32) / sampling
    at = ops.minimum(ops.relu(at), limit - 1.0)
    low = ops.floor(at)
    high = ops.minimum(low + 1.0, limit - 1.0)
    fraction = at - low
    positions = ops.stack((low, high), -1).reshape((-1, size, sampling * CORNERS))
    weights = ops.stack(((1.0 - fraction) * inside, fraction * inside), -1)
    return positions, weights.reshape((-1, size, sampling * CORNERS))


@ops.constexpr
def window_cells(shapes: Sequence[tuple[int, int]], strides: Sequence[int], finest_scale: float) -> int:
    """Returns the most cells of its level that samples of a RoI can touch.

    An interval of length h touches ceil(h) + 2 cells at most. On all levels but the last a RoI's area is limited, since
    larger ones belong to the next level; so the worst is a long and thin one.
    """
    most = 0
    for level, ((height, width), stride) in enumerate(zip(shapes, strides)):
        area = (finest_scale * 2 ** (level + 1) / stride) ** 2 if level < len(shapes) - 1 else math.inf
        for rows in range(1, height + 1):
            columns = width if rows <= 3 else min(width, math.ceil(min(area / (rows - 3), width)) + 2)
            most = max(most, rows * columns)
    return most


def _window(start: Tensor, length: Tensor, limit: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """Returns the first cell along an axis that adaptive samples touch, and how many they do: both [R]."""
    length = ops.relu(length)
    margin = 0.5 * length / (size * ops.maximum(ops.ceil(length / size), Tensor(1.0, ms.float32)))
    low = ops.minimum(ops.relu(ops.floor(start + margin)), limit - 1.0)
    high = ops.minimum(ops.relu(ops.floor(start + length - margin) + 1.0), limit - 1.0)
    return low, high - low + 1.0


def _pool_windows(
    table: Tensor,
    x_axis: tuple[Tensor, Tensor, Tensor],
    y_axis: tuple[Tensor, Tensor, Tensor],
    first_row: Tensor,
    shapes: Sequence[tuple[int, int]],
    size: int,
    cells: int,
) -> Tensor:
    """Pools with ceil(bin length) samples along each side of a bin.

    The cells of a RoI's window are gathered once, row by row, into ``cells`` slots; each bin is a weighted sum of them,
    whose weights are those along the two axes multiplied.

    Args:
        table: As for ``roi_align``.
        x_axis: Start and length of the RoI in cells, and the length of its map: three of [R,1,1].
        y_axis: The same along the other axis.
        first_row: [R,1,1], of its map in the table.
        shapes: As for ``roi_align``.
        size: Bins along each side.
        cells: Slots, see ``window_cells``.

    Returns:
        float32 [R, size*size, C].
    """
    r = first_row.shape[0]
    slot = ops.arange(0, cells, dtype=ms.int32).reshape((1, cells)).broadcast_to((r, cells))
    x_start, x_length, width = x_axis[0].reshape((r,)), x_axis[1].reshape((r,)), x_axis[2].reshape((r,))
    y_start, y_length, height = y_axis[0].reshape((r,)), y_axis[1].reshape((r,)), y_axis[2].reshape((r,))
    left, columns = _window(x_start, x_length, width, size)
    top, rows = _window(y_start, y_length, height, size)
    across = columns.astype(ms.int32).reshape((r, 1)).broadcast_to((r, cells))
    down = rows.astype(ms.int32).reshape((r, 1)).broadcast_to((r, cells))
    row, column = slot // across, slot % across
    used = (row < down).astype(ms.float32)
    row = ops.minimum(row, down - 1)

    weights = []
    axes = ((y_start, y_length, height, top, row, 0), (x_start, x_length, width, left, column, 1))
    for start, length, limit, first, index, axis in axes:
        longest = max([shape[axis] for shape in shapes])
        at = first.reshape((r, 1)) + ops.arange(0, longest, dtype=ms.float32).reshape((1, longest))
        along = mean_weights(start, length, limit, at, ops.ones_like(start), size)  # [R, size, longest]
        weights.append(ops.gather_elements(along, 2, index.reshape((r, 1, cells)).broadcast_to((r, size, cells))))
    y_weight = (weights[0] * used.reshape((r, 1, cells)).broadcast_to((r, size, cells))).reshape((r, size, 1, cells))
    x_weight = weights[1].reshape((r, 1, size, cells))
    shape = (r, size, size, cells)
    weight = (y_weight.broadcast_to(shape) * x_weight.broadcast_to(shape)).reshape((r, size * size, cells))

    place = (top.reshape((r, 1)) + row) * width.reshape((r, 1)) + (left.reshape((r, 1)) + column)
    place = ops.stop_gradient((first_row.reshape((r, 1)) + place).astype(ms.int32))
    return ops.bmm(ops.stop_gradient(weight), ops.gather(table, place, 0))


def roi_align(
    table: Tensor, shapes: Sequence[tuple[int, int]], boxes: Tensor, levels: Tensor, settings: RoIAlignSettings
) -> Tensor:
    """Pools the features of the RoIs of one image.

    Args:
        table: float32 [sum(H_l*W_l), C] as ``feature_tables`` makes it.
        shapes: (H_l, W_l) of each level to pool from, the table's first ones.
        boxes: float32 [R,4] in pixels; no gradient flows to them.
        levels: int32 [R], the level of each box, see ``level_of``.
        settings: Size, sampling and levels.

    Returns:
        float32 [R, size*size, C], bins row by row.
    """
    size, sampling, aligned = settings.size, settings.sampling, settings.aligned
    boxes = ops.stop_gradient(boxes)
    scale = _select([1.0 / s for s in settings.strides], levels)
    width = _select([float(w) for _, w in shapes], levels)
    height = _select([float(h) for h, _ in shapes], levels)
    first_rows = [0.0]
    for h, w in shapes[:-1]:
        first_rows.append(first_rows[-1] + h * w)
    first_row = _select(first_rows, levels)

    corners = boxes.reshape((-1, 4, 1, 1))
    shift = 0.5 if aligned else 0.0
    x1, y1 = corners[:, 0] * scale - shift, corners[:, 1] * scale - shift
    roi_width, roi_height = corners[:, 2] * scale - shift - x1, corners[:, 3] * scale - shift - y1
    if not aligned:
        one = Tensor(1.0, ms.float32)
        roi_width, roi_height = ops.maximum(roi_width, one), ops.maximum(roi_height, one)
    if sampling == 0:
        most = window_cells(shapes, settings.strides, settings.finest_scale)
        return _pool_windows(table, (x1, roi_width, width), (y1, roi_height, height), first_row, shapes, size, most)
    x, x_weight = _axis_samples(x1, roi_width, width, size, sampling)
    y, y_weight = _axis_samples(y1, roi_height, height, size, sampling)

    taps = sampling * CORNERS
    bins = boxes.shape[0] * size * size
    # float32 counts positions exactly up to 2^24: a 16 megapixel table.
    row = (first_row + y * width).reshape((-1, size, 1, taps, 1)) + x.reshape((-1, 1, size, 1, taps))
    weight = y_weight.reshape((-1, size, 1, taps, 1)) * x_weight.reshape((-1, 1, size, 1, taps))
    row = ops.stop_gradient(row.reshape((bins, taps * taps)).astype(ms.int32))
    weight = ops.stop_gradient(weight.reshape((bins, 1, taps * taps)))
    return ops.bmm(weight, ops.gather(table, row, 0)).reshape((-1, size * size, table.shape[1]))
