"""RoIAlign (Mask R-CNN, section 3) on all pyramid levels at once.

The levels of an image are laid out in one table, a row a position. Each output bin is the mean of bilinear samples, and
each sample a weighted sum of four rows: so a bin is one gather and one small matrix product, whatever level its RoI
belongs to, and the gradient is the product's and the gather's own. The float64 numpy twin is in ``reference.py``.
"""

from __future__ import annotations

from collections.abc import Sequence

import mindspore as ms
from mindspore import Tensor, ops

CORNERS = 2  # of the bilinear kernel along one axis


def feature_tables(features: Sequence[Tensor]) -> tuple[Tensor, ...]:
    """Rows of all positions, an image each: maps [N,C,H_l,W_l] to N tables [sum(H_l*W_l), C], level by level."""
    rows = []
    for feature in features:
        n, c, h, w = feature.shape
        rows.append(feature.reshape((n, c, h * w)).transpose((0, 2, 1)))
    return ops.unstack(ops.concat(rows, 1), 0)


def level_of(boxes: Tensor, finest_scale: float, num_levels: int) -> Tensor:
    """Pyramid level of each box: FPN, equation 1.

    floor(log2(sqrt(area) / finest_scale)) clamped to the levels, written as comparisons of areas; a box within one
    part in a million of a border goes up, as in torchvision and detectron2.

    Args:
        boxes: float32 [R,4].
        finest_scale: 56 puts boxes below 112 pixels on the first level.

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
    """The value of each RoI's level: float32 [R,1,1]."""
    return ops.gather(Tensor(values, ms.float32), level, 0).reshape((-1, 1, 1))


def _axis_samples(start: Tensor, length: Tensor, limit: Tensor, size: int, sampling: int) -> tuple[Tensor, Tensor]:
    """Positions and weights along one axis: each bin's samples, each with its two neighbours.

    Args:
        start, length: of the RoI in feature coordinates, [R,1,1].
        limit: length of the feature map along the axis, [R,1,1].

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


def roi_align(
    table: Tensor,
    shapes: Sequence[tuple[int, int]],
    strides: Sequence[int],
    boxes: Tensor,
    size: int,
    sampling: int = 2,
    aligned: bool = True,
    finest_scale: float = 56.0,
) -> Tensor:
    """Features of the RoIs of one image.

    Args:
        table: float32 [sum(H_l*W_l), C] as ``feature_tables`` makes it.
        shapes: (H_l, W_l) of each level in the table.
        strides: pixels a cell of each level.
        boxes: float32 [R,4] in pixels; no gradient flows to them.
        size: bins along each side.
        sampling: samples along each side of a bin.
        aligned: shift by half a cell, so that a cell's value stands for its centre (detectron2's ROIAlignV2); False is
            torchvision's default, where RoIs are also at least one cell wide.

    Returns:
        float32 [R, size*size, C], bins row by row.
    """
    boxes = ops.stop_gradient(boxes)
    level = level_of(boxes, finest_scale, len(shapes))
    scale = _select([1.0 / s for s in strides], level)
    width = _select([float(w) for _, w in shapes], level)
    height = _select([float(h) for h, _ in shapes], level)
    first_rows = [0.0]
    for h, w in shapes[:-1]:
        first_rows.append(first_rows[-1] + h * w)
    first_row = _select(first_rows, level)

    corners = boxes.reshape((-1, 4, 1, 1))
    shift = 0.5 if aligned else 0.0
    x1, y1 = corners[:, 0] * scale - shift, corners[:, 1] * scale - shift
    roi_width, roi_height = corners[:, 2] * scale - shift - x1, corners[:, 3] * scale - shift - y1
    if not aligned:
        one = Tensor(1.0, ms.float32)
        roi_width, roi_height = ops.maximum(roi_width, one), ops.maximum(roi_height, one)
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
