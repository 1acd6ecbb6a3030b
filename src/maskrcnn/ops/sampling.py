"""Matching proposals to ground truth and drawing a fixed number of them, with fixed shapes.

Faster R-CNN, section 3.2 and Fast R-CNN, section 2.3. The numpy twin is in ``reference.py``.
"""

from __future__ import annotations

import mindspore as ms
from mindspore import Tensor, ops

from maskrcnn.ops.boxes import pairwise_ioa, pairwise_iou

IGNORE = -1  # label of a crowd region


def match_rois(
    boxes: Tensor,
    valid: Tensor,
    gt_boxes: Tensor,
    gt_labels: Tensor,
    positive_iou: float,
    negative_iou: float,
    crowd_ioa: float,
) -> tuple[Tensor, Tensor, Tensor]:
    """Finds the best ground truth of each candidate, and whether it makes it foreground or background.

    Args:
        boxes: float32 [R,4], continuous boxes of the candidates.
        valid: bool [R], which candidates count.
        gt_boxes: float32 [G,4], continuous boxes.
        gt_labels: int32 [G], class > 0, crowd -1, padding 0.
        positive_iou: Candidates that overlap an object by this IoU or more are foreground.
        negative_iou: Candidates that overlap every object by less than this IoU are background.
        crowd_ioa: A candidate with more than this share of its own area in a crowd region is not background.

    Returns:
        matched int32 [R] (0 where there is no ground truth), foreground bool [R], background bool [R].
    """
    iou = pairwise_iou(boxes, gt_boxes)
    iou = ops.where((gt_labels > 0)[None, :], iou, -ops.ones_like(iou))
    matched, best = ops.ArgMaxWithValue(1)(iou)
    foreground = ops.logical_and(best >= positive_iou, valid)
    in_crowd = pairwise_ioa(boxes, gt_boxes) * (gt_labels == IGNORE).astype(ms.float32)[None, :]
    crowded = in_crowd.max(1) > crowd_ioa
    background = ops.logical_and(ops.logical_and(best < negative_iou, valid), ops.logical_not(crowded))
    background = ops.logical_and(background, ops.logical_not(foreground))
    return matched.astype(ms.int32), foreground, background


def sample_rois(
    foreground: Tensor, background: Tensor, keys: Tensor, num_positive: int, num_total: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Draws at most ``num_positive`` foreground candidates and fills up with background.

    The candidates with the largest keys are taken: with uniform random keys that is sampling without replacement.

    Args:
        foreground: bool [R], R >= num_total.
        background: bool [R].
        keys: float32 [R] in [0, 1).
        num_positive: Most foreground candidates drawn.
        num_total: Slots in all.

    Returns:
        index int32 [num_total] (positives first), positive bool [num_total], valid bool [num_total].
    """
    chosen_fg, fg = ops.topk(ops.where(foreground, keys, -ops.ones_like(keys)), num_positive)
    chosen_bg, bg = ops.topk(ops.where(background, keys, -ops.ones_like(keys)), num_total)
    num_fg = (chosen_fg >= 0).astype(ms.int32).sum()
    num_bg = (chosen_bg >= 0).astype(ms.int32).sum()
    slot = ops.arange(0, num_total, dtype=ms.int32)
    positive = slot < num_fg
    from_fg = ops.gather(fg, ops.clamp(slot, max=num_positive - 1), 0)
    from_bg = ops.gather(bg, ops.clamp(slot - num_fg, min=0), 0)
    index = ops.where(positive, from_fg.astype(ms.int32), from_bg.astype(ms.int32))
    valid = slot < num_fg + num_bg
    return ops.where(valid, index, ops.zeros_like(index)), positive, valid
