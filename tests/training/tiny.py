"""A network with the training signature of Mask R-CNN, small enough for unit tests, and batches for it."""

from __future__ import annotations

from typing import NamedTuple

import mindspore as ms
import numpy as np
from mindspore import nn, ops


class Batch(NamedTuple):
    """The arrays of ``maskrcnn.data.batches.loader.Batch``."""

    image: np.ndarray
    image_shape: np.ndarray
    gt_boxes: np.ndarray
    gt_labels: np.ndarray
    gt_masks: np.ndarray
    gt_has_mask: np.ndarray
    anchor_index: np.ndarray
    anchor_label: np.ndarray
    anchor_target: np.ndarray
    roi_key: np.ndarray
    image_id: np.ndarray


class TinyNet(nn.Cell):
    """Two convolutions with a norm, and five losses that depend on every input."""

    loss_names = ("rpn_cls_loss", "rpn_reg_loss", "rcnn_cls_loss", "rcnn_reg_loss", "rcnn_mask_loss")

    def __init__(self, classes: int = 3) -> None:
        super().__init__()
        self.backbone = nn.SequentialCell(nn.Conv2d(3, 4, 3, has_bias=True), nn.BatchNorm2d(4), nn.ReLU())
        self.head = nn.Conv2d(4, classes, 3, has_bias=True)
        self.gain = ms.Parameter(ms.Tensor(1.0, ms.float32), name="gain")

    def construct(
        self,
        image,
        image_shape,
        gt_boxes,
        gt_labels,
        gt_masks,
        gt_has_mask,
        anchor_index,
        anchor_label,
        anchor_target,
        roi_key,
    ):
        x = (image.astype(ms.float32) / 255.0 - 0.5).transpose(0, 3, 1, 2)
        y = self.head(self.backbone(x)) * self.gain
        rpn_cls = ops.square(y - anchor_label.astype(ms.float32).mean()).mean()
        rpn_reg = ops.abs(y.mean() - anchor_target.mean())
        rcnn_cls = ops.square(y.mean((2, 3)) - roi_key.mean()).mean()
        rcnn_reg = 0.01 * ops.square(y.mean() * image_shape.mean() / 100.0 - gt_boxes.mean() / 100.0)
        extra = gt_masks.astype(ms.float32).mean() + gt_has_mask.mean() + gt_labels.astype(ms.float32).mean()
        rcnn_mask = ops.square(y.max() - extra + 0.0 * anchor_index.astype(ms.float32).mean())
        return rpn_cls, rpn_reg, rcnn_cls, rcnn_reg, rcnn_mask


def make_batch(key: list[int], n: int = 2, height: int = 16, width: int = 24) -> Batch:
    """Random arrays of the right shapes and dtypes that depend on ``key`` alone."""
    rng = np.random.default_rng(key)
    g, a = 4, 8
    return Batch(
        rng.integers(0, 256, (n, height, width, 3), dtype=np.uint8),
        np.tile(np.float32([[height, width]]), (n, 1)),
        rng.random((n, g, 4), dtype=np.float32) * 10,
        rng.integers(0, 3, (n, g)).astype(np.int32),
        rng.integers(0, 2, (n, g, 6, 6)).astype(np.uint8),
        np.ones((n, g), np.float32),
        rng.integers(0, 100, (n, a)).astype(np.int32),
        rng.integers(-1, 2, (n, a)).astype(np.int32),
        rng.normal(size=(n, a, 4)).astype(np.float32),
        rng.random((n, 12), dtype=np.float32),
        rng.integers(1, 10**6, n),
    )


class TinyLoader:
    """Batches keyed by (seed, epoch, step), of two orientations, with the interface of TrainLoader."""

    def __init__(self, seed: int = 1, steps_per_epoch: int = 5) -> None:
        self.seed = seed
        self.steps_per_epoch = steps_per_epoch
        self.objects_left_out = 0

    def epoch(self, epoch: int, start_step: int = 0):
        for step in range(start_step, self.steps_per_epoch):
            height, width = (16, 24) if (epoch + step) % 2 == 0 else (24, 16)
            yield make_batch([self.seed, epoch, step], height=height, width=width)
