"""Classification and box regression of RoIs: Mask R-CNN, figure 4 right; FPN, section 4.2."""

from __future__ import annotations

from collections.abc import Sequence

import mindspore as ms
from mindspore import Tensor, nn, ops

from maskrcnn.models.layers import dense
from maskrcnn.models.losses import divisor, smooth_l1
from maskrcnn.ops.boxes import clip_boxes, decode_boxes, encode_boxes, large_enough
from maskrcnn.ops.nms import class_aware_nms_mask


class BoxHead(nn.Cell):
    """Fully connected layers, then class scores (background first) and one box regression a class.

    Args:
        in_channels, size: of the RoI features; they enter as [R, size*size, C], so the first layer's columns are
            ordered (y, x, channel).
        channels, num_layers: of the fully connected layers.
        num_classes: with the background.
        means, stds: normalisation of the regression targets.
        beta: where smooth L1 turns linear.
        inclusive: the convention of the boxes, see ``ops/boxes.py``.
    """

    def __init__(
        self,
        in_channels: int,
        size: int,
        channels: int,
        num_layers: int,
        num_classes: int,
        means: Sequence[float] = (0, 0, 0, 0),
        stds: Sequence[float] = (0.1, 0.1, 0.2, 0.2),
        beta: float = 1.0,
        inclusive: bool = False,
    ) -> None:
        super().__init__()
        features = [size * size * in_channels] + [channels] * num_layers
        self.fc = nn.CellList([dense(i, o) for i, o in zip(features, features[1:])])
        self.cls_score = dense(channels, num_classes, std=0.01)
        self.bbox_pred = dense(channels, 4 * num_classes, std=0.001)
        self.num_classes = num_classes
        self.means = tuple(means)
        self.stds = tuple(stds)
        self.beta = beta
        self.inclusive = inclusive

    def construct(self, roi_features: Tensor) -> tuple[Tensor, Tensor]:
        """[R, size*size, C] to class logits [R,K+1] and box deltas [R,K+1,4]."""
        x = roi_features.reshape((roi_features.shape[0], -1))
        for layer in self.fc:
            x = ops.relu(layer(x))
        return self.cls_score(x), self.bbox_pred(x).reshape((-1, self.num_classes, 4))

    def loss(
        self,
        logits: Tensor,
        deltas: Tensor,
        boxes: Tensor,
        labels: Tensor,
        valid: Tensor,
        matched_boxes: Tensor,
        number: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Softmax and smooth L1 losses, both divided by the number of sampled RoIs (Fast R-CNN, equation 1).

        Args:
            logits [R,K+1], deltas [R,K+1,4]; boxes [R,4]; labels int32 [R], 0 is background; valid bool [R];
            matched_boxes [R,4]: the ground truth of the foreground RoIs.
            number: float32 scalar to divide by instead, see ``losses.divisor``.

        Returns:
            two float32 scalars.
        """
        counted = valid.astype(ms.float32)
        number = divisor(counted.sum()) if number is None else number
        own = (labels.expand_dims(-1) == ops.arange(0, self.num_classes, dtype=ms.int32)).astype(ms.float32)
        log_probability = (ops.log_softmax(logits, 1) * own).sum(1)
        classification = -(log_probability * counted).sum() / number

        foreground = ops.logical_and(valid, labels > 0).astype(ms.float32)
        targets = encode_boxes(matched_boxes, boxes, self.means, self.stds, self.inclusive)
        own_deltas = (deltas * own.expand_dims(-1)).sum(1)
        # Slots without ground truth have meaningless targets, which must not spoil the sum even when huge.
        targets = ops.where(foreground.expand_dims(-1) > 0, targets, ops.zeros_like(targets))
        regression = (smooth_l1(own_deltas, targets, self.beta).sum(1) * foreground).sum() / number
        return classification, regression

    def detect(
        self,
        logits: Tensor,
        deltas: Tensor,
        boxes: Tensor,
        valid: Tensor,
        image_shape: Tensor,
        extent: int,
        score_threshold: float,
        nms_threshold: float,
        nms_pre: int,
        max_detections: int,
        min_size: float = 0.0,
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Final boxes of one image: every class's own box, one class-aware suppression, the best few.

        Args:
            logits [R,K+1], deltas [R,K+1,4], boxes [R,4], valid bool [R]: the image's proposals.
            image_shape: float32 [2], height and width without padding; extent: the canvas's larger side.
            nms_pre: the best candidates that enter suppression. The result is that of all candidates whenever
                ``max_detections`` of these survive, or no more candidates pass the threshold.
            min_size: candidates with a side of at most this many pixels are dropped.

        Returns:
            boxes [D,4], scores [D], labels int32 [D] in 1..K, valid bool [D].
        """
        scores = ops.softmax(logits, 1)[:, 1:]
        decoded = decode_boxes(deltas[:, 1:], boxes.expand_dims(1), self.means, self.stds, self.inclusive)
        decoded = clip_boxes(decoded, image_shape[0], image_shape[1], self.inclusive).reshape((-1, 4))
        passed = ops.logical_and(scores > score_threshold, valid.expand_dims(-1))
        candidates = ops.where(passed, scores, -ops.ones_like(scores)).reshape((-1,))
        scores, index = ops.topk(candidates, min(nms_pre, candidates.shape[0]))
        index = index.astype(ms.int32)
        decoded = ops.gather(decoded, index, 0)
        labels = index % (self.num_classes - 1) + 1
        valid = ops.logical_and(scores >= 0, large_enough(decoded, min_size, self.inclusive))
        keep = class_aware_nms_mask(decoded, labels, valid, nms_threshold, extent)
        scores, best = ops.topk(ops.where(keep, scores, -ops.ones_like(scores)), min(max_detections, scores.shape[0]))
        return ops.gather(decoded, best, 0), ops.relu(scores), ops.gather(labels, best, 0), scores >= 0
