"""Settings of what lies between the parts of ``mask_rcnn.py``: regions of interest and detections."""

from __future__ import annotations

from collections.abc import Sequence


class RoISettings:
    """How RoIs are pooled, and how they are drawn in training.

    Args:
        box_size, mask_size, sampling, aligned, strides, finest_scale: see ``ops/roi_align.py``.
        positive_iou, negative_iou, crowd_ioa: see ``ops/sampling.py``.
        num_positive, num_total: RoIs drawn from an image; num_mask: how many of its positives reach the mask head.
        mask_target_size: cells along each side of a mask target; soft_masks: see ``ops/masks.mask_samples``.
        inclusive: the convention of the boxes, see ``ops/boxes.py``.
    """

    def __init__(
        self,
        box_size: int = 7,
        mask_size: int = 14,
        sampling: int = 2,
        aligned: bool = True,
        strides: Sequence[int] = (4, 8, 16, 32),
        finest_scale: float = 56.0,
        positive_iou: float = 0.5,
        negative_iou: float = 0.5,
        crowd_ioa: float = 0.7,
        num_positive: int = 128,
        num_total: int = 512,
        num_mask: int = 64,
        mask_target_size: int = 28,
        soft_masks: bool = False,
        inclusive: bool = False,
    ) -> None:
        self.box_size = box_size
        self.mask_size = mask_size
        self.sampling = sampling
        self.aligned = aligned
        self.strides = tuple(strides)
        self.finest_scale = finest_scale
        self.positive_iou = positive_iou
        self.negative_iou = negative_iou
        self.crowd_ioa = crowd_ioa
        self.num_positive = num_positive
        self.num_total = num_total
        self.num_mask = min(num_mask, num_positive)
        self.mask_target_size = mask_target_size
        self.soft_masks = soft_masks
        self.inclusive = inclusive


class DetectionSettings:
    """What becomes a detection: see ``BoxHead.detect``."""

    def __init__(
        self,
        score_thr: float = 0.05,
        iou_thr: float = 0.5,
        nms_pre: int = 2000,
        max_per_img: int = 100,
        min_size: float = 0.0,
    ) -> None:
        self.score_thr = score_thr
        self.iou_thr = iou_thr
        self.nms_pre = nms_pre
        self.max_per_img = max_per_img
        self.min_size = min_size
