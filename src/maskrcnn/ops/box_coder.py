"""Boxes as regression targets, and the two conventions that boxes come in.

``continuous`` boxes, ours: x1, y1, x2, y2 in continuous pixels, width = x2 - x1. ``inclusive`` boxes, those of
MindSpore's model zoo: x2 and y2 belong to the last pixel, width = x2 - x1 + 1; its weights were trained with them.
A network keeps to one convention throughout; what differs between the two is in ``BoxCoder`` and in the anchors.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import mindspore as ms
from mindspore import Tensor, ops

from maskrcnn.ops.boxes import sides

# The largest log-scale step a regressor may ask for: 1000 pixels from a 16 pixel anchor.
MAX_LOG_SCALE = math.log(1000 / 16)


@ms.jit_class
@dataclass(frozen=True)
class BoxCoder:
    """Box regression under one convention and one normalisation.

    The float64 numpy twin is ``reference.BoxCoder``, which the data pipeline uses for anchor targets.

    Attributes:
        means: Subtracted from the regression targets.
        stds: Divides them afterwards.
        convention: "continuous" or "inclusive", of the boxes that go in and come out.
    """

    means: tuple[float, float, float, float]
    stds: tuple[float, float, float, float]
    convention: str

    def to_continuous(self, boxes: Tensor) -> Tensor:
        """Returns boxes [...,4] of this convention as continuous ones, whose width is x2 - x1."""
        if self.convention == "inclusive":
            return boxes + Tensor((0.0, 0.0, 1.0, 1.0), boxes.dtype)
        return boxes

    def from_continuous(self, boxes: Tensor) -> Tensor:
        """Returns continuous boxes [...,4] in this convention."""
        if self.convention == "inclusive":
            return boxes - Tensor((0.0, 0.0, 1.0, 1.0), boxes.dtype)
        return boxes

    def encode(self, boxes: Tensor, anchors: Tensor) -> Tensor:
        """Returns the regression targets of boxes relative to anchors.

        Girshick et al., R-CNN, appendix C, equations 6-9, then (t - mean) / std. Sides are kept above 1e-6 so that
        padded slots give finite numbers.

        Args:
            boxes: float32 [...,4] in pixels.
            anchors: float32 [...,4] in pixels.

        Returns:
            float32 [...,4]: tx, ty, tw, th, normalised.
        """
        boxes, anchors = self.to_continuous(boxes), self.to_continuous(anchors)
        aw, ah = sides(anchors)
        bw, bh = sides(boxes)
        tx = ((boxes[..., 0] + 0.5 * bw) - (anchors[..., 0] + 0.5 * aw)) / aw
        ty = ((boxes[..., 1] + 0.5 * bh) - (anchors[..., 1] + 0.5 * ah)) / ah
        targets = ops.stack((tx, ty, ops.log(bw / aw), ops.log(bh / ah)), -1)
        return (targets - Tensor(self.means, targets.dtype)) / Tensor(self.stds, targets.dtype)

    def decode(self, deltas: Tensor, anchors: Tensor) -> Tensor:
        """Returns the boxes that regression outputs make of anchors (R-CNN, equations 1-4).

        The log-scale steps are at most log(1000/16); for inclusive boxes also at least -log(1000/16), as in MindSpore's
        BoundingBoxDecode.

        Args:
            deltas: float32 [...,4], normalised.
            anchors: float32, broadcasts to the deltas, in pixels.

        Returns:
            float32 [...,4] in pixels.
        """
        anchors = self.to_continuous(anchors)
        deltas = deltas * Tensor(self.stds, deltas.dtype) + Tensor(self.means, deltas.dtype)
        aw = anchors[..., 2] - anchors[..., 0]
        ah = anchors[..., 3] - anchors[..., 1]
        cx = deltas[..., 0] * aw + (anchors[..., 0] + 0.5 * aw)
        cy = deltas[..., 1] * ah + (anchors[..., 1] + 0.5 * ah)
        least = -MAX_LOG_SCALE if self.convention == "inclusive" else None
        w = ops.exp(ops.clamp(deltas[..., 2], least, MAX_LOG_SCALE)) * aw
        h = ops.exp(ops.clamp(deltas[..., 3], least, MAX_LOG_SCALE)) * ah
        return self.from_continuous(ops.stack((cx - 0.5 * w, cy - 0.5 * h, cx + 0.5 * w, cy + 0.5 * h), -1))

    def clip(self, boxes: Tensor, height: Tensor, width: Tensor) -> Tensor:
        """Returns boxes cut to the image: to [0, width] x [0, height], inclusive ones to one pixel less.

        Args:
            boxes: float32 [...,4] in pixels.
            height: Of the image in pixels; a scalar, or a tensor that broadcasts to [...].
            width: As ``height``.
        """
        if self.convention == "inclusive":
            height, width = height - 1.0, width - 1.0
        zero = ops.zeros_like(boxes[..., 0])
        return ops.stack(
            (
                ops.minimum(ops.maximum(boxes[..., 0], zero), width),
                ops.minimum(ops.maximum(boxes[..., 1], zero), height),
                ops.minimum(ops.maximum(boxes[..., 2], zero), width),
                ops.minimum(ops.maximum(boxes[..., 3], zero), height),
            ),
            -1,
        )

    def large_enough(self, boxes: Tensor, min_size: float) -> Tensor:
        """Returns bool [...] for boxes [...,4]: whether both sides are longer than ``min_size`` pixels."""
        boxes = self.to_continuous(boxes)
        return ops.logical_and(boxes[..., 2] - boxes[..., 0] > min_size, boxes[..., 3] - boxes[..., 1] > min_size)
