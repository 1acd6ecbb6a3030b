"""Classification and box regression of RoIs: Mask R-CNN, figure 4 right; FPN, section 4.2."""

from __future__ import annotations

from dataclasses import dataclass

import mindspore as ms
from mindspore import Tensor, nn, ops

from maskrcnn.models.layers import dense
from maskrcnn.models.losses import smooth_l1
from maskrcnn.models.roi_pool import RoIPool
from maskrcnn.ops.box_coder import BoxCoder
from maskrcnn.ops.nms import class_aware_nms_mask


@dataclass(frozen=True)
class DetectionSettings:
    """What becomes a detection.

    Attributes:
        score_thr: Candidates must score higher than this.
        iou_thr: IoU above which the lesser of two detections of a class is dropped.
        nms_pre: The best candidates of all classes that enter suppression. The result is that of all candidates
            whenever ``max_per_img`` of these survive, or no more candidates pass the threshold.
        max_per_img: Detections of an image.
        min_size: Candidates with a side of at most this many pixels are dropped.
    """

    score_thr: float
    iou_thr: float
    nms_pre: int
    max_per_img: int
    min_size: float


class BoxHead(nn.Cell):
    """Fully connected layers, then class scores (background first) and one box regression a class.

    Args:
        pool: Gives the RoI features, [R, size*size, C]; so the first layer's columns are ordered (y, x, channel).
        in_channels: Of the RoI features.
        channels: Of the fully connected layers.
        num_layers: How many there are.
        num_classes: With the background.
        coder: Normalisation of the regression, and the convention of the boxes.
        beta: Where smooth L1 turns linear.
        detection: What becomes a detection.
    """

    loss_names = ("rcnn_cls_loss", "rcnn_reg_loss")

    def __init__(
        self,
        pool: RoIPool,
        *,
        in_channels: int,
        channels: int,
        num_layers: int,
        num_classes: int,
        coder: BoxCoder,
        beta: float,
        detection: DetectionSettings,
    ) -> None:
        super().__init__()
        self.pool = pool
        size = pool.settings.size
        features = [size * size * in_channels] + [channels] * num_layers
        self.fc = nn.CellList([dense(i, o) for i, o in zip(features, features[1:])])
        self.cls_score = dense(channels, num_classes, std=0.01)
        self.bbox_pred = dense(channels, 4 * num_classes, std=0.001)
        self.num_classes = num_classes
        self.coder = coder
        self.beta = beta
        self.detection = detection

    def construct(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Maps RoI features [R, size*size, C] to class logits [R,K+1] and box deltas [R,K+1,4]."""
        x = features.reshape((features.shape[0], -1))
        for layer in self.fc:
            x = ops.relu(layer(x))
        return self.cls_score(x), self.bbox_pred(x).reshape((-1, self.num_classes, 4))

    def losses(
        self,
        logits: Tensor,
        deltas: Tensor,
        boxes: Tensor,
        labels: Tensor,
        valid: Tensor,
        matched_boxes: Tensor,
        normalizer: Tensor,
    ) -> tuple[Tensor, Tensor]:
        """Computes the softmax and smooth L1 losses (Fast R-CNN, equation 1).

        Args:
            logits: float32 [R,K+1].
            deltas: float32 [R,K+1,4].
            boxes: float32 [N,S,4] in pixels, R = N*S RoIs.
            labels: int32 [N,S], 0 is background.
            valid: bool [N,S], which RoIs count.
            matched_boxes: float32 [N,S,4], the ground truth of the foreground RoIs.
            normalizer: float32 scalar that both are divided by, the number of sampled RoIs.

        Returns:
            Two float32 scalars.
        """
        boxes, matched_boxes = boxes.reshape((-1, 4)), matched_boxes.reshape((-1, 4))
        labels, valid = labels.reshape((-1,)), valid.reshape((-1,))
        counted = valid.astype(ms.float32)
        own = (labels.expand_dims(-1) == ops.arange(0, self.num_classes, dtype=ms.int32)).astype(ms.float32)
        log_probability = (ops.log_softmax(logits, 1) * own).sum(1)
        classification = -(log_probability * counted).sum() / normalizer

        foreground = ops.logical_and(valid, labels > 0).astype(ms.float32)
        targets = self.coder.encode(matched_boxes, boxes)
        own_deltas = (deltas * own.expand_dims(-1)).sum(1)
        # Slots without ground truth have meaningless targets, which must not spoil the sum even when huge.
        targets = ops.where(foreground.expand_dims(-1) > 0, targets, ops.zeros_like(targets))
        regression = (smooth_l1(own_deltas, targets, self.beta).sum(1) * foreground).sum() / normalizer
        return classification, regression

    def detect(
        self, logits: Tensor, deltas: Tensor, boxes: Tensor, valid: Tensor, image_shape: Tensor, extent: int
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Chooses each image's detections: every class's own box, one class-aware suppression, the best few.

        Args:
            logits: float32 [N*R,K+1].
            deltas: float32 [N*R,K+1,4].
            boxes: float32 [N,R,4], the images' proposals in pixels.
            valid: bool [N,R].
            image_shape: float32 [N,2], height and width in pixels without the padding.
            extent: The canvas's larger side in pixels.

        Returns:
            boxes float32 [N,D,4], scores float32 [N,D], labels int32 [N,D] in 1..K, valid bool [N,D].
        """
        n, r, _ = boxes.shape
        logits, deltas = logits.reshape((n, r, -1)), deltas.reshape((n, r, -1, 4))
        found = []
        for i in range(n):
            found.append(self.detect_in_image(logits[i], deltas[i], boxes[i], valid[i], image_shape[i], extent))
        return tuple(ops.stack([one[k] for one in found], 0) for k in range(4))

    def detect_in_image(
        self, logits: Tensor, deltas: Tensor, boxes: Tensor, valid: Tensor, image_shape: Tensor, extent: int
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Chooses the detections of one image: as ``detect``, without the first axis."""
        chosen = self.detection
        scores = ops.softmax(logits, 1)[:, 1:]
        decoded = self.coder.decode(deltas[:, 1:], boxes.expand_dims(1))
        decoded = self.coder.clip(decoded, image_shape[0], image_shape[1]).reshape((-1, 4))
        passed = ops.logical_and(scores > chosen.score_thr, valid.expand_dims(-1))
        candidates = ops.where(passed, scores, -ops.ones_like(scores)).reshape((-1,))
        scores, index = ops.topk(candidates, min(chosen.nms_pre, candidates.shape[0]))
        index = index.astype(ms.int32)
        decoded = ops.gather(decoded, index, 0)
        labels = index % (self.num_classes - 1) + 1
        valid = ops.logical_and(scores >= 0, self.coder.large_enough(decoded, chosen.min_size))
        keep = class_aware_nms_mask(decoded, labels, valid, chosen.iou_thr, extent)
        count = min(chosen.max_per_img, scores.shape[0])
        scores, best = ops.topk(ops.where(keep, scores, -ops.ones_like(scores)), count)
        return ops.gather(decoded, best, 0), ops.relu(scores), ops.gather(labels, best, 0), scores >= 0
