"""Region proposal network: Ren et al., "Faster R-CNN", section 3.1, on the levels of a feature pyramid.

Anchors are matched to the ground truth in the data pipeline (``data/targets.py``): here come 256 anchor indices an
image with their labels and box targets. So training needs the head's output densely only to make proposals, which take
no gradient; the loss looks at 256 anchors and evaluates the head once more on the 3x3 patches around them. Value and
gradient are those of the dense loss, without its backward pass through every position of every level.
"""

from __future__ import annotations

from collections.abc import Sequence

import mindspore as ms
from mindspore import Tensor, nn, ops

from maskrcnn.models.layers import Conv, head_conv
from maskrcnn.models.losses import divisor, sigmoid_cross_entropy, smooth_l1
from maskrcnn.ops.anchors import anchor_grid
from maskrcnn.ops.boxes import clip_boxes, decode_boxes, large_enough, to_inclusive
from maskrcnn.ops.nms import nms_mask

KERNEL = 3


class ProposalSettings:
    """How many proposals, and how they are thinned out.

    Args:
        nms_pre: best-scored anchors kept on each level before suppression.
        nms_post: most proposals kept on each level after it.
        max_num: most proposals kept in an image.
        nms_thr: IoU above which the lesser of two proposals is dropped.
        min_size: proposals with a side of at most this many pixels are dropped.
    """

    def __init__(self, nms_pre: int, nms_post: int, max_num: int, nms_thr: float, min_size: float) -> None:
        self.nms_pre = nms_pre
        self.nms_post = nms_post
        self.max_num = max_num
        self.nms_thr = nms_thr
        self.min_size = min_size


class RPN(nn.Cell):
    """Objectness and box regression at every position of P2..P6, shared by the levels.

    Args:
        in_channels, channels: of the pyramid and of the 3x3 convolution.
        scales, ratios, strides, rounding: the anchors, see ``data/anchors.py``.
        train_proposals, test_proposals: how many proposals.
        means, stds: normalisation of the regression targets.
        beta: where smooth L1 turns linear.
        inclusive: the convention of the boxes, see ``ops/boxes.py``.
    """

    def __init__(
        self,
        in_channels: int,
        channels: int,
        scales: Sequence[float],
        ratios: Sequence[float],
        strides: Sequence[int],
        train_proposals: ProposalSettings,
        test_proposals: ProposalSettings,
        means: Sequence[float] = (0, 0, 0, 0),
        stds: Sequence[float] = (1, 1, 1, 1),
        beta: float = 1 / 9,
        rounding: bool = False,
        inclusive: bool = False,
    ) -> None:
        super().__init__()
        self.num_anchors = len(scales) * len(ratios)
        self.conv = head_conv(in_channels, channels, KERNEL, "normal", 0.01)
        self.cls_logits = head_conv(channels, self.num_anchors, 1, "normal", 0.01)
        self.bbox_pred = head_conv(channels, 4 * self.num_anchors, 1, "normal", 0.01)
        self.strides = tuple(strides)
        grid = anchor_grid(strides[-1], strides[-1], scales, ratios, strides, rounding, inclusive)
        cells = [Tensor(level.cells, ms.float32) for level in grid.levels]
        self.cell_anchors = [to_inclusive(cell) for cell in cells] if inclusive else cells
        self.inclusive = inclusive
        self.train_proposals = train_proposals
        self.test_proposals = test_proposals
        self.means = tuple(means)
        self.stds = tuple(stds)
        self.beta = beta

    def head(self, feature: Tensor) -> tuple[Tensor, Tensor]:
        """P_l [N,C,H,W] to objectness logits [N,A,H,W] and deltas [N,4A,H,W], without gradient."""
        hidden = ops.relu(self.without_gradient(self.conv, ops.stop_gradient(feature)))
        return self.without_gradient(self.cls_logits, hidden), self.without_gradient(self.bbox_pred, hidden)

    def without_gradient(self, layer: Conv, x: Tensor) -> Tensor:
        """The convolution with its parameters fixed: stopping only the result would leave a backward pass of zeros."""
        return ops.bias_add(layer.conv2d(x, ops.stop_gradient(layer.weight)), ops.stop_gradient(layer.bias))

    def propose(self, features: Sequence[Tensor], image_shape: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The best boxes of each image, without gradient.

        Per level: the ``nms_pre`` best anchors, decoded, clipped to the image, suppressed; then the best of all levels.

        Args:
            features: P2..P6.
            image_shape: float32 [N,2], height and width without padding.

        Returns:
            boxes float32 [N,R,4], scores float32 [N,R] (probabilities, best first), valid bool [N,R]; R is
            ``max_num``, or the number of all candidates on a small canvas.
        """
        settings = self.train_proposals if self.training else self.test_proposals
        level_boxes, level_scores, level_valid = [], [], []
        for i in range(len(features)):
            logits, deltas = self.head(features[i])
            n, a, h, w = logits.shape
            count = min(settings.nms_pre, a * h * w)
            scores, index = ops.topk(logits.transpose((0, 2, 3, 1)).reshape((n, -1)), count)
            deltas = deltas.reshape((n, a, 4, h * w)).transpose((0, 3, 1, 2)).reshape((n, -1, 4))
            anchors = self.anchors_at(index, i, w)
            deltas = ops.gather_elements(deltas, 1, index.astype(ms.int32).expand_dims(-1).broadcast_to((n, count, 4)))
            boxes = decode_boxes(deltas, anchors, self.means, self.stds, self.inclusive)
            boxes = clip_boxes(boxes, image_shape[:, 0:1], image_shape[:, 1:2], self.inclusive)
            valid = large_enough(boxes, settings.min_size, self.inclusive)
            keep = self.suppress(boxes, valid, settings.nms_thr, settings.nms_post)
            level_boxes.append(boxes)
            level_scores.append(scores)
            level_valid.append(keep)
        boxes = ops.concat(level_boxes, 1)
        scores = ops.sigmoid(ops.concat(level_scores, 1))
        valid = ops.concat(level_valid, 1)
        total = boxes.shape[1]
        count = min(settings.max_num, total)
        ranked, index = ops.topk(ops.where(valid, scores, -ops.ones_like(scores)), count)
        index = index.astype(ms.int32).expand_dims(-1).broadcast_to((boxes.shape[0], count, 4))
        boxes = ops.gather_elements(boxes, 1, index)
        return ops.stop_gradient(boxes), ops.stop_gradient(ranked), ranked >= 0

    def anchors_at(self, index: Tensor, level: int, width: int) -> Tensor:
        """The anchors [...,4] with flat indices ``index`` (y, x, anchor) on a level ``width`` cells wide."""
        index = index.astype(ms.int32)
        cell = index // self.num_anchors
        x = (cell % width).astype(ms.float32) * self.strides[level]
        y = (cell // width).astype(ms.float32) * self.strides[level]
        base = ops.gather(self.cell_anchors[level], index % self.num_anchors, 0)
        return base + ops.stack((x, y, x, y), -1)

    def suppress(self, boxes: Tensor, valid: Tensor, threshold: float, most: int) -> Tensor:
        """Survivors of each image's suppression, at most ``most`` of them: bool [N,R]."""
        keep = []
        for i in range(boxes.shape[0]):
            keep.append(nms_mask(boxes[i], valid[i], threshold))
        keep = ops.stack(keep, 0)
        if most < boxes.shape[1]:
            keep = ops.logical_and(keep, ops.cumsum(keep.astype(ms.float32), 1) <= most)
        return keep

    def loss(
        self,
        tables: Sequence[Tensor],
        shapes: Sequence[tuple[int, int]],
        anchor_index: Tensor,
        anchor_label: Tensor,
        anchor_target: Tensor,
        number: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Objectness and box losses of the sampled anchors (Faster R-CNN, equation 1, both divided by their number).

        Args:
            tables: an image's feature rows [sum(H_l*W_l), C], see ``ops/roi_align.py``; shapes: (H_l, W_l).
            anchor_index: int32 [N,S]; anchor_label: int32 [N,S], 1, 0 or -1 (padding);
            anchor_target: float32 [N,S,4].
            number: float32 scalar to divide by instead, see ``losses.divisor``.

        Returns:
            two float32 scalars.
        """
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
        number = divisor(sampled.sum()) if number is None else number
        objectness = (sigmoid_cross_entropy(logits, positive) * sampled).sum() / number
        regression = smooth_l1(deltas, anchor_target.reshape((-1, 4)), self.beta).sum(1)
        return objectness, (regression * positive).sum() / number

    def patches(self, table: Tensor, shapes: Sequence[tuple[int, int]], anchor_index: Tensor) -> Tensor:
        """The 3x3 neighbourhoods of anchors [S] as rows [S, 9*C], zero beyond the border of their level."""
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
