"""Mask targets of RoIs, resampled from small per-instance crops. The float64 numpy twins are in ``reference.py``."""

from __future__ import annotations

import mindspore as ms
from mindspore import Tensor, ops

from maskrcnn.ops.interpolation import mean_weights


def _overlap(start: Tensor, length: Tensor, frame_start: Tensor, frame_length: Tensor, size: int, cells: int) -> Tensor:
    """Returns the share of each target bin that each crop cell covers, along one axis: [R, size, cells]."""
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
    """Computes how much of each cell of a grid over the RoI the instance covers, exactly, by area.

    Being separable, the average over an axis-aligned rectangle of a crop is two small matrix products.

    Args:
        crops: float32 [R,P,P], 0 or 1, the matched instance in its own frame.
        frames: float32 [R,4], the box each crop spans, in pixels.
        rois: float32 [R,4], in the same pixels.
        size: Cells along each side of the grid (28 in the paper).

    Returns:
        float32 [R,size,size] in 0..1; what lies outside the frame counts as background. The target of the loss is this
        >= 0.5 (Mask R-CNN, section 3: "the intersection between an RoI and its associated ground-truth mask").
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


def mask_samples(crops: Tensor, boxes: Tensor, rois: Tensor, image_shape: Tensor, size: int) -> Tensor:
    """Computes the mean of the mask over each cell of a grid over the RoI, as torchvision's targets are.

    That is its RoIAlign on the mask as a map of stride 1: without the half-pixel shift, so that pixel k counts as lying
    at k and not at k + 1/2; ceil(side / size) samples along each side of a cell; no threshold.

    Args:
        crops: float32 [R,P,P], 0 or 1, the matched instances as ``data/batches/mask_crops.pixel_crop`` cuts them out.
            Exact where the instance is less than P - 2 pixels long; longer ones were thinned out to P cells.
        boxes: float32 [R,4], of these instances, from which the cut follows.
        rois: float32 [R,4], in the same pixels.
        image_shape: float32 [2], height and width in pixels without the padding.
        size: Cells along each side of the grid.

    Returns:
        float32 [R,size,size] in 0..1.
    """
    weights = []
    for axis in range(2):
        limit = image_shape[1 - axis].broadcast_to((boxes.shape[0],))
        first = ops.relu(ops.floor(boxes[:, axis]) - 1.0)
        end = ops.minimum(ops.ceil(boxes[:, axis + 2]) + 1.0, limit)
        cells = crops.shape[-1]
        spacing = ops.maximum((end - first) / cells, Tensor(1.0, ms.float32))
        centres = (ops.arange(0, cells, dtype=ms.float32) + 0.5).reshape((1, cells)) * spacing.reshape((-1, 1))
        start = rois[:, axis]
        length = ops.maximum(rois[:, axis + 2] - start, Tensor(1.0, ms.float32))
        weights.append(mean_weights(start, length, limit, first.reshape((-1, 1)) + centres - 0.5, spacing, size))
    return ops.bmm(ops.bmm(weights[1], crops), weights[0].swapaxes(1, 2))
