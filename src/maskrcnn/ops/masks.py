"""Mask targets of RoIs, resampled from small per-instance crops. The float64 numpy twin is in ``reference.py``."""

from __future__ import annotations

import mindspore as ms
from mindspore import Tensor, ops


def _overlap(start: Tensor, length: Tensor, frame_start: Tensor, frame_length: Tensor, size: int, cells: int) -> Tensor:
    """Share of each target bin that each crop cell covers, along one axis: [R, size, cells]."""
    bin_length = length / size
    low = start + ops.arange(0, size, dtype=ms.float32).reshape((1, size)) * bin_length
    high = low + bin_length
    # In units of crop cells.
    low = ((low - frame_start) * (cells / frame_length)).expand_dims(-1)
    high = ((high - frame_start) * (cells / frame_length)).expand_dims(-1)
    cell = ops.arange(0, cells, dtype=ms.float32).reshape((1, 1, cells))
    covered = ops.relu(ops.minimum(high, cell + 1.0) - ops.maximum(low, cell))
    return covered / (high - low)


def mask_coverage(crops: Tensor, frames: Tensor, rois: Tensor, size: int) -> Tensor:
    """How much of each cell of a size x size grid over the RoI the instance covers, exactly, by area.

    Being separable, the average over an axis-aligned rectangle of a crop is two small matrix products.

    Args:
        crops: float32 [R,P,P], 0 or 1, the matched instance in its own frame.
        frames: float32 [R,4], the box each crop spans, in pixels.
        rois: float32 [R,4], in the same pixels.
        size: cells along each side (28 in the paper).

    Returns:
        float32 [R,size,size] in 0..1; what lies outside the frame counts as background. The target of the loss
        is this >= 0.5 (section 3: "the intersection between an RoI and its associated ground-truth mask").
    """
    cells = crops.shape[-1]
    tiny = Tensor(1e-6, ms.float32)
    x = _overlap(
        rois[:, 0:1],
        ops.maximum(rois[:, 2:3] - rois[:, 0:1], tiny),
        frames[:, 0:1],
        ops.maximum(frames[:, 2:3] - frames[:, 0:1], tiny),
        size,
        cells,
    )
    y = _overlap(
        rois[:, 1:2],
        ops.maximum(rois[:, 3:4] - rois[:, 1:2], tiny),
        frames[:, 1:2],
        ops.maximum(frames[:, 3:4] - frames[:, 1:2], tiny),
        size,
        cells,
    )
    return ops.bmm(ops.bmm(y, crops), x.swapaxes(1, 2))
