"""Region proposal network: Ren et al., "Faster R-CNN", section 3.1, on the levels of a feature pyramid.

Anchors are matched to the ground truth in the data pipeline (``data/batches/targets.py``): here come 256 anchor indices
an image with their labels and box targets. So training needs the head's output densely only to make proposals, which
take no gradient; the loss looks at 256 anchors and evaluates the head once more on the 3x3 patches around them. Value
and gradient are those of the dense loss, without its backward pass through every position of every level.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import mindspore as ms
from mindspore import Tensor, nn, ops

from maskrcnn.models.layers import TENSORS, head_conv
from maskrcnn.models.losses import sigmoid_cross_entropy, smooth_l1
from maskrcnn.ops.anchors import AnchorGrid
from maskrcnn.ops.box_coder import BoxCoder
from maskrcnn.ops.nms import nms_mask

KERNEL = 3


@dataclass(frozen=True)
class ProposalSettings:
    """How many proposals, and how they are thinned out.

    Attributes:
        nms_pre: Best-scored anchors kept on each level before suppression.
        nms_post: Most proposals kept on each level after it.
        max_num: Most proposals kept in an image.
        nms_thr: IoU above which the lesser of two proposals is dropped.
        min_size: Proposals with a side of at most this many pixels are dropped.
    """

    nms_pre: int
    nms_post: int
    max_num: int
    nms_thr: float
    min_size: float


class RPN(nn.Cell):
    """Objectness and box regression at every position of P2..P6, shared by the levels.

    Args:
        in_channels: Of the pyramid.
        channels: Of the 3x3 convolution.
        anchors: The anchors of any canvas, of which the levels' strides and cells are taken.
        coder: Normalisation of the regression, and the convention of the boxes.
        beta: Where smooth L1 turns linear.
        train_proposals: How many proposals in training.
        test_proposals: How many in inference.
    """

    loss_names = ("rpn_cls_loss", "rpn_reg_loss")
    operations = TENSORS

    def __init__(
        self,
        *,
        in_channels: int,
        channels: int,
        anchors: AnchorGrid,
        coder: BoxCoder,
        beta: float,
        train_proposals: ProposalSettings,
        test_proposals: ProposalSettings,
    ) -> None:
        super().__init__()
        self.num_anchors = len(anchors.levels[0].cells)
        self.conv = head_conv(in_channels, channels, KERNEL, "normal", 0.01)
        self.cls_logits = head_conv(channels, self.num_anchors, 1, "normal", 0.01)
        self.bbox_pred = head_conv(channels, 4 * self.num_anchors, 1, "normal", 0.01)
        self.strides = tuple(level.stride for level in anchors.levels)
        self.cell_anchors = [coder.from_continuous(Tensor(level.cells, ms.float32)) for level in anchors.levels]
        self.coder = coder
        self.beta = beta
        self.train_proposals = train_proposals
        self.test_proposals = test_proposals

    def head(self, feature: Tensor) -> tuple[Tensor, Tensor]:
        """Maps P_l to maps of objectness logits, A channels, and deltas, 4A channels, without gradient."""
        f = self.operations
        hidden = f.relu(f.conv_fixed(self.conv, ops.stop_gradient(feature)))
        return f.conv_fixed(self.cls_logits, hidden), f.conv_fixed(self.bbox_pred, hidden)

    def propose(self, features: Sequence[Tensor], image_shape: Tensor) -> tuple[Tensor, Tensor]:
        """Proposes the best boxes of each image, without gradient.

        Per level: the ``nms_pre`` best anchors, decoded, clipped to the image, suppressed; then the best of all levels.

        Args:
            features: P2..P6, float32 [N,C,H_l,W_l].
            image_shape: float32 [N,2], height and width in pixels without the padding.

        Returns:
            boxes float32 [N,R,4] in pixels, best first, and valid bool [N,R]; R is ``max_num``, or the number of all
            candidates on a small canvas.
        """
        settings = self.train_proposals if self.training else self.test_proposals
        level_boxes, level_scores, level_valid = [], [], []
        for i in range(len(features)):
            logits, deltas = self.head(features[i])
            width = self.operations.width(logits)
            logits, deltas = self.operations.to_rows(logits), self.operations.to_rows(deltas)
            n, positions, a = logits.shape
            count = min(settings.nms_pre, positions * a)
            scores, index = ops.topk(logits.reshape((n, -1)), count)
            deltas = deltas.reshape((n, -1, 4))
            anchors = self.anchors_at(index, i, width)
            deltas = ops.gather_elements(deltas, 1, index.astype(ms.int32).expand_dims(-1).broadcast_to((n, count, 4)))
            boxes = self.coder.decode(deltas, anchors)
            boxes = self.coder.clip(boxes, image_shape[:, 0:1], image_shape[:, 1:2])
            valid = self.coder.large_enough(boxes, settings.min_size)
            keep = self.suppress(boxes, valid, settings.nms_thr, settings.nms_post)
            level_boxes.append(boxes)
            level_scores.append(scores)
            level_valid.append(keep)
        boxes = ops.concat(level_boxes, 1)
        scores = ops.sigmoid(ops.concat(level_scores, 1))
        valid = ops.concat(level_valid, 1)
        count = min(settings.max_num, boxes.shape[1])
        ranked, index = ops.topk(ops.where(valid, scores, -ops.ones_like(scores)), count)
        index = index.astype(ms.int32).expand_dims(-1).broadcast_to((boxes.shape[0], count, 4))
        return ops.stop_gradient(ops.gather_elements(boxes, 1, index)), ops.stop_gradient(ranked) >= 0

    def anchors_at(self, index: Tensor, level: int, width: int) -> Tensor:
        """Returns the anchors [...,4] with flat indices ``index`` (y, x, anchor) on a level ``width`` cells wide."""
        index = index.astype(ms.int32)
        cell = index // self.num_anchors
        x = (cell % width).astype(ms.float32) * self.strides[level]
        y = (cell // width).astype(ms.float32) * self.strides[level]
        base = ops.gather(self.cell_anchors[level], index % self.num_anchors, 0)
        return base + ops.stack((x, y, x, y), -1)

    def suppress(self, boxes: Tensor, valid: Tensor, threshold: float, most: int) -> Tensor:
        """Returns the survivors of each image's suppression, at most ``most`` of them: bool [N,R]."""
        keep = []
        for i in range(boxes.shape[0]):
            keep.append(nms_mask(boxes[i], valid[i], threshold))
        keep = ops.stack(keep, 0)
        if most < boxes.shape[1]:
            keep = ops.logical_and(keep, ops.cumsum(keep.astype(ms.float32), 1) <= most)
        return keep

    def losses(
        self,
        pyramid: tuple[Sequence[Tensor], Sequence[tuple[int, int]]],
        anchor_index: Tensor,
        anchor_label: Tensor,
        anchor_target: Tensor,
        normalizer: Tensor,
    ) -> tuple[Tensor, Tensor]:
        """Computes objectness and box losses of the sampled anchors (Faster R-CNN, equation 1).

        Args:
            pyramid: As for ``RoIPool``.
            anchor_index: int32 [N,S].
            anchor_label: int32 [N,S], 1, 0 or -1 (padding).
            anchor_target: float32 [N,S,4], encoded boxes of the positives.
            normalizer: float32 scalar that both are divided by, the number of sampled anchors.

        Returns:
            Two float32 scalars.
        """
        tables, shapes = pyramid
        patches = []
        for i in range(len(tables)):
            patches.append(self.patches(tables[i], shapes, anchor_index[i]))
        # The 3x3 convolution at single positions, as a matrix product.
        weight = self.conv.weight.transpose((2, 3, 1, 0)).reshape((-1, self.conv.weight.shape[0]))
        hidden = ops.relu(ops.matmul(ops.concat(patches, 0), weight) + self.conv.bias)
        logits = ops.matmul(hidden, self.cls_logits.weight.reshape((self.num_anchors, -1)).T)
        logits = logits + self.cls_logits.bias
        deltas = ops.matmul(hidden, self.bbox_pred.weight.reshape((4 * self.num_anchors, -1)).T)
        deltas = (deltas + self.bbox_pred.bias).reshape((-1, self.num_anchors, 4))

        own = (anchor_index.reshape((-1,)) % self.num_anchors).expand_dims(-1)
        own = (own == ops.arange(0, self.num_anchors, dtype=ms.int32)).astype(ms.float32)
        logits = (logits * own).sum(1)
        deltas = (deltas * own.expand_dims(-1)).sum(1)
        label = anchor_label.reshape((-1,)).astype(ms.float32)
        sampled = (label >= 0).astype(ms.float32)
        positive = (label > 0).astype(ms.float32)
        objectness = (sigmoid_cross_entropy(logits, positive) * sampled).sum() / normalizer
        regression = smooth_l1(deltas, anchor_target.reshape((-1, 4)), self.beta).sum(1)
        return objectness, (regression * positive).sum() / normalizer

    def patches(self, table: Tensor, shapes: Sequence[tuple[int, int]], anchor_index: Tensor) -> Tensor:
        """Gathers the 3x3 neighbourhoods of anchors [S] as rows [S, 9*C], zero beyond the border of their level."""
        position = anchor_index // self.num_anchors
        width = ops.zeros_like(position)
        height = ops.zeros_like(position)
        first = ops.zeros_like(position)
        start = 0
        for h, w in shapes:
            here = (position >= start).astype(ms.int32)
            width = width * (1 - here) + w * here
            height = height * (1 - here) + h * here
            first = first * (1 - here) + start * here
            start += h * w
        y = (position - first) // width
        x = (position - first) % width
        step = ops.arange(0, KERNEL, dtype=ms.int32) - KERNEL // 2
        y = (y.reshape((-1, 1, 1)) + step.reshape((1, KERNEL, 1))).broadcast_to((position.shape[0], KERNEL, KERNEL))
        x = (x.reshape((-1, 1, 1)) + step.reshape((1, 1, KERNEL))).broadcast_to((position.shape[0], KERNEL, KERNEL))
        width, height, first = (v.reshape((-1, 1, 1)) for v in (width, height, first))
        inside = ops.logical_and(ops.logical_and(y >= 0, y < height), ops.logical_and(x >= 0, x < width))
        row = ops.where(inside, first + y * width + x, ops.zeros_like(y))
        values = ops.gather(table, row, 0) * inside.astype(ms.float32).expand_dims(-1)
        return values.reshape((position.shape[0], -1))
