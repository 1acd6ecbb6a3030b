"""Greedy non-maximum suppression with fixed shapes: a mask says which boxes survive.

Float64 numpy twins are in ``reference.py``.
"""

from __future__ import annotations

import mindspore as ms
from mindspore import Tensor, ops

# Classes are shifted apart on a square grid instead of a line: the shift, and with it the float32 rounding of the
# shifted coordinates, stays ten times smaller.
CLASS_GRID = 10


def nms_mask(boxes: Tensor, valid: Tensor, iou_threshold: float) -> Tensor:
    """Suppresses greedily.

    Args:
        boxes: float32 [N,4], best first (at most 2864 on Ascend).
        valid: bool [N]; the others neither survive nor suppress.
        iou_threshold: A box is removed if its IoU with a better survivor is larger.

    Returns:
        bool [N], the survivors.
    """
    n = boxes.shape[0]
    # An empty box at the origin overlaps nothing, so it cannot suppress.
    boxes = ops.stop_gradient(ops.where(valid[:, None], boxes, ops.zeros_like(boxes)))
    # The operator sorts by score: strictly falling ones keep our order, whatever ties the real ones have.
    rank = ops.arange(n, 0, -1, dtype=ms.float32)
    # Its sorted boxes and their indices are not unpacked: the compiler takes unpacked values that nobody uses for lost
    # side effects ("eliminated by mistake"). The operator has none, so nothing was lost, but users would be warned.
    keep = ops.NMSWithMask(iou_threshold)(ops.concat((boxes, rank[:, None]), 1))[2]
    return ops.logical_and(ops.stop_gradient(keep), valid)


def class_aware_nms_mask(boxes: Tensor, labels: Tensor, valid: Tensor, iou_threshold: float, extent: int) -> Tensor:
    """Suppresses greedily among boxes of the same class only.

    Args:
        boxes: float32 [N,4], best first, inside [0, extent].
        labels: int32 [N], classes.
        valid: bool [N]; the others neither survive nor suppress.
        iou_threshold: As for ``nms_mask``.
        extent: The larger side of the canvas in pixels.

    Returns:
        bool [N], the survivors.
    """
    step = float(extent + 1)
    column = (labels % CLASS_GRID).astype(ms.float32) * step
    row = (labels // CLASS_GRID).astype(ms.float32) * step
    return nms_mask(boxes + ops.stack((column, row, column, row), -1), valid, iou_threshold)
