"""Mask R-CNN: He et al., section 3, with a ResNet-FPN backbone, as one static graph.

Every shape is fixed: ground truth, proposals and detections fill slots, and masks say which slots count. An image
without objects, an image of only crowd regions and a result without detections are therefore ordinary.
"""

from __future__ import annotations

from collections.abc import Sequence

import mindspore as ms
from mindspore import Tensor, nn, ops

from maskrcnn.models.box_head import BoxHead
from maskrcnn.models.fpn import FPN
from maskrcnn.models.losses import divisor
from maskrcnn.models.mask_head import MaskHead
from maskrcnn.models.resnet import ResNet
from maskrcnn.models.rpn import RPN, ProposalSettings
from maskrcnn.models.settings import DetectionSettings, RoISettings
from maskrcnn.ops.masks import mask_coverage, mask_samples
from maskrcnn.ops.roi_align import feature_tables, roi_align
from maskrcnn.ops.sampling import match_rois, sample_rois

LOSS_NAMES = ("rpn_cls_loss", "rpn_reg_loss", "rcnn_cls_loss", "rcnn_reg_loss", "rcnn_mask_loss")


class MaskRCNN(nn.Cell):
    """Backbone, FPN, RPN, box head and mask head.

    In training mode (``set_train()``) it maps a batch to its losses, see ``losses``; otherwise to detections, see
    ``detect``. All sizes follow from the arguments, one compiled graph for each canvas.

    Args:
        backbone, fpn, rpn, box_head, mask_head: the parts.
        roi, detection: settings of what lies between them.
        pixel_mean, pixel_std: of the RGB channels, 0..255.
        loss_weights: factors of the five losses, in the order of ``LOSS_NAMES``.
        ranks: processes that train together; their losses are divided by the numbers in the batches of all.
        padding_counts: padding is part of the image: black pixels before the normalisation, where boxes may lie.
    """

    def __init__(
        self,
        backbone: ResNet,
        fpn: FPN,
        rpn: RPN,
        box_head: BoxHead,
        mask_head: MaskHead,
        roi: RoISettings,
        detection: DetectionSettings,
        pixel_mean: Sequence[float] = (123.675, 116.28, 103.53),
        pixel_std: Sequence[float] = (58.395, 57.12, 57.375),
        loss_weights: Sequence[float] = (1.0, 1.0, 1.0, 1.0, 1.0),
        ranks: int = 1,
        padding_counts: bool = False,
    ) -> None:
        super().__init__()
        self.backbone = backbone
        self.fpn = fpn
        self.rpn = rpn
        self.box_head = box_head
        self.mask_head = mask_head
        self.roi = roi
        self.detection = detection
        self.mean = tuple(pixel_mean)
        self.std = tuple(pixel_std)
        self.loss_weights = tuple(loss_weights)
        self.ranks = ranks
        self.padding_counts = padding_counts
        if ranks > 1:
            self.sum_over_ranks = ops.AllReduce()

    @classmethod
    def from_config(cls, cfg, num_classes: int, ranks: int = 1) -> MaskRCNN:
        """Build the network of a configuration.

        Args:
            cfg: a ``maskrcnn.config.schema.Config``.
            num_classes: with the background.
            ranks: processes that train it together.
        """
        backbone = ResNet(
            cfg.backbone, cfg.norm, cfg.freeze_at, cfg.stride_in_1x1, cfg.backbone_width, cfg.max_pool_pads_end
        )
        channels = cfg.fpn_out_channels
        rpn = RPN(
            channels,
            cfg.rpn_feat_channels,
            cfg.anchor_scales,
            cfg.anchor_ratios,
            cfg.anchor_strides,
            ProposalSettings(
                cfg.rpn_proposal_nms_pre,
                cfg.rpn_proposal_nms_post,
                cfg.rpn_proposal_max_num,
                cfg.rpn_proposal_nms_thr,
                cfg.rpn_proposal_min_bbox_size,
            ),
            ProposalSettings(
                cfg.rpn_nms_pre, cfg.rpn_nms_post, cfg.rpn_max_num, cfg.rpn_nms_thr, cfg.rpn_min_bbox_min_size
            ),
            cfg.rpn_target_means,
            cfg.rpn_target_stds,
            cfg.rpn_smooth_l1_beta,
            cfg.anchor_rounding,
            cfg.inclusive_boxes,
        )
        box_head = BoxHead(
            channels,
            cfg.roi_layer["out_size"],
            cfg.rcnn_fc_out_channels,
            cfg.rcnn_num_layers,
            num_classes,
            cfg.rcnn_target_means,
            cfg.rcnn_target_stds,
            cfg.rcnn_smooth_l1_beta,
            cfg.inclusive_boxes,
        )
        mask_head = MaskHead(channels, cfg.rcnn_mask_out_channels, cfg.rcnn_mask_num_layers, num_classes)
        roi = RoISettings(
            cfg.roi_layer["out_size"],
            cfg.roi_layer["mask_out_size"],
            cfg.roi_layer["sample_num"],
            cfg.roi_aligned,
            cfg.roi_align_featmap_strides,
            cfg.roi_align_finest_scale,
            cfg.pos_iou_thr_stage2,
            cfg.neg_iou_thr_stage2,
            cfg.crowd_iou_thr,
            cfg.num_expected_pos_stage2,
            cfg.num_expected_total_stage2,
            cfg.mask_roi_num,
            cfg.mask_shape[0],
            cfg.mask_targets == "torchvision",
            cfg.inclusive_boxes,
        )
        detection = DetectionSettings(
            cfg.test_score_thr, cfg.test_iou_thr, cfg.test_nms_pre, cfg.test_max_per_img, cfg.test_min_bbox_size
        )
        weights = (
            cfg.rpn_loss_cls_weight,
            cfg.rpn_loss_reg_weight,
            cfg.rcnn_loss_cls_weight,
            cfg.rcnn_loss_reg_weight,
            cfg.rcnn_loss_mask_fb_weight,
        )
        fpn = FPN(backbone.out_channels, channels, cfg.fpn_upsampling == "bilinear")
        return cls(
            backbone,
            fpn,
            rpn,
            box_head,
            mask_head,
            roi,
            detection,
            cfg.pixel_mean,
            cfg.pixel_std,
            weights,
            ranks,
            cfg.padding_counts,
        )

    def construct(self, image: Tensor, image_shape: Tensor, *ground_truth: Tensor) -> tuple[Tensor, ...]:
        """Images alone to detections, images with ground truth to losses."""
        if self.padding_counts:
            image_shape = ops.zeros_like(image_shape) + Tensor(image.shape[1:3], ms.float32)
        if self.training:
            return self.losses(image, image_shape, *ground_truth)
        return self.detect(image, image_shape)

    def features(self, image: Tensor, image_shape: Tensor) -> tuple[Tensor, ...]:
        """P2..P6 of uint8 RGB images [N,H,W,3]; the padding is zero after the normalisation, as elsewhere."""
        n, height, width, _ = image.shape
        row = ops.arange(0, height, dtype=ms.float32).reshape((1, height, 1))
        column = ops.arange(0, width, dtype=ms.float32).reshape((1, 1, width))
        limit = image_shape.reshape((n, 2, 1, 1))
        inside = ops.logical_and(row < limit[:, 0], column < limit[:, 1]).astype(ms.float32)  # [N,H,W]
        channels = []
        colours = ops.unstack(image, -1)  # image[..., k] is ten times slower on a CPU
        for k in range(3):
            channels.append((colours[k].astype(ms.float32) - self.mean[k]) / self.std[k] * inside)
        return self.fpn(*self.backbone(ops.stack(channels, 1)))

    def losses(
        self,
        image: Tensor,
        image_shape: Tensor,
        gt_boxes: Tensor,
        gt_labels: Tensor,
        gt_masks: Tensor,
        gt_has_mask: Tensor,
        anchor_index: Tensor,
        anchor_label: Tensor,
        anchor_target: Tensor,
        roi_key: Tensor,
    ) -> tuple[Tensor, ...]:
        """L = L_cls + L_box + L_mask and the RPN's two (section 3), weighted, in the order of ``LOSS_NAMES``.

        Args:
            image: uint8 [N,H,W,3]; image_shape: float32 [N,2]; the rest is ``data/loader.Batch``.

        Returns:
            five float32 scalars.
        """
        features = self.features(image, image_shape)
        shapes = [(f.shape[2], f.shape[3]) for f in features]
        tables = feature_tables(features)

        proposals, _, proposal_valid = self.rpn.propose(features, image_shape)
        rois, labels, valid, matched_boxes = [], [], [], []
        box_features, mask_features, mask_labels, mask_targets, mask_counted = [], [], [], [], []
        for i in range(image.shape[0]):
            sample = self.sample(proposals[i], proposal_valid[i], gt_boxes[i], gt_labels[i], roi_key[i])
            boxes, label, counted, matched = sample
            rois.append(boxes)
            labels.append(label)
            valid.append(counted)
            frames = ops.gather(gt_boxes[i], matched, 0)
            matched_boxes.append(frames)
            box_features.append(self.pool(tables[i], shapes, boxes, self.roi.box_size))

            # Positives come first, so the first slots are all that the mask head needs.
            slots = min(self.roi.num_mask, boxes.shape[0])
            boxes, label, matched, frames = boxes[:slots], label[:slots], matched[:slots], frames[:slots]
            mask_labels.append(label)
            mask_features.append(self.pool(tables[i], shapes, boxes, self.roi.mask_size))
            crops = ops.gather(gt_masks[i], matched, 0).astype(ms.float32)
            mask_targets.append(self.mask_target(crops, frames, boxes, image_shape[i]))
            has_mask = ops.gather(gt_has_mask[i], matched, 0)
            mask_counted.append((label > 0).astype(ms.float32) * has_mask)

        label, mask_label = ops.concat(labels, 0), ops.concat(mask_labels, 0)
        counted, mask_counted = ops.concat(valid, 0), ops.concat(mask_counted, 0)
        anchors, sampled, masks = self.numbers(anchor_label >= 0, counted, mask_counted)
        rpn_cls, rpn_reg = self.rpn.loss(tables, shapes, anchor_index, anchor_label, anchor_target, anchors)
        logits, deltas = self.box_head(ops.concat(box_features, 0))
        rcnn_cls, rcnn_reg = self.box_head.loss(
            logits,
            deltas,
            ops.concat(rois, 0),
            label,
            counted,
            ops.concat(matched_boxes, 0),
            sampled,
        )
        mask_logits = self.mask_head(ops.concat(mask_features, 0), mask_label)
        targets = ops.stop_gradient(ops.concat(mask_targets, 0))
        rcnn_mask = self.mask_head.loss(mask_logits, targets, mask_counted, masks)
        w = self.loss_weights
        return rpn_cls * w[0], rpn_reg * w[1], rcnn_cls * w[2], rcnn_reg * w[3], rcnn_mask * w[4]

    def numbers(self, *counted: Tensor) -> tuple[Tensor, ...]:
        """What the losses are divided by: how many anchors, RoIs and masks count, over all ranks if there are several.

        One small message a step, so that many ranks with small batches learn exactly what one with a large batch does.
        """
        totals = ops.stack([one.astype(ms.float32).sum() for one in counted])
        if self.ranks > 1:
            totals = self.sum_over_ranks(totals)
        totals = ops.stop_gradient(divisor(totals, self.ranks))
        return totals[0], totals[1], totals[2]

    def sample(
        self, proposals: Tensor, proposal_valid: Tensor, gt_boxes: Tensor, gt_labels: Tensor, keys: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Draw an image's RoIs from its proposals and ground truth, positives first.

        Returns:
            boxes float32 [S,4], labels int32 [S] (0 background), valid bool [S], matched ground truth int32 [S]; S is
            ``num_total``, or the number of all candidates on a small canvas.
        """
        candidates = ops.concat((proposals, gt_boxes), 0)
        candidate_valid = ops.concat((proposal_valid, gt_labels > 0), 0)
        matched, foreground, background = match_rois(
            candidates,
            candidate_valid,
            gt_boxes,
            gt_labels,
            self.roi.positive_iou,
            self.roi.negative_iou,
            self.roi.crowd_ioa,
            self.roi.inclusive,
        )
        number = candidates.shape[0]
        index, positive, valid = sample_rois(
            foreground, background, keys[:number], min(self.roi.num_positive, number), min(self.roi.num_total, number)
        )
        matched = ops.gather(matched, index, 0)
        label = ops.where(positive, ops.gather(gt_labels, matched, 0), ops.zeros_like(matched))
        return ops.stop_gradient(ops.gather(candidates, index, 0)), label, valid, matched

    def mask_target(self, crops: Tensor, gt_boxes: Tensor, boxes: Tensor, image_shape: Tensor) -> Tensor:
        """What the masks of RoIs [R,4] should be: [R,m,m], from the crops [R,P,P] of their objects."""
        size = self.roi.mask_target_size
        if self.roi.soft_masks:
            return mask_samples(crops, gt_boxes, boxes, image_shape, size)
        return (mask_coverage(crops, gt_boxes, boxes, size) >= 0.5).astype(ms.float32)

    def pool(self, table: Tensor, shapes: Sequence[tuple[int, int]], boxes: Tensor, size: int) -> Tensor:
        """RoIAlign of one image's boxes [R,4] on P2..P5: [R, size*size, C]."""
        levels = len(self.roi.strides)
        return roi_align(
            table,
            shapes[:levels],
            self.roi.strides,
            boxes,
            size,
            self.roi.sampling,
            self.roi.aligned,
            self.roi.finest_scale,
            self.roi.inclusive,
        )

    def detect(self, image: Tensor, image_shape: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        """Boxes first, masks for the detected boxes only (section 3.1, Inference).

        Args:
            image: uint8 [N,H,W,3]; image_shape: float32 [N,2].

        Returns:
            boxes float32 [N,D,4] in pixels of the canvas, scores float32 [N,D], labels int32 [N,D], valid bool [N,D],
            masks float32 [N,D,28,28], probabilities of the own class.
        """
        features = self.features(image, image_shape)
        shapes = [(f.shape[2], f.shape[3]) for f in features]
        proposals, _, proposal_valid = self.rpn.propose(features, image_shape)
        extent = max(image.shape[1], image.shape[2])
        tables = feature_tables(features[: len(self.roi.strides)])
        found = []
        for i in range(image.shape[0]):
            logits, deltas = self.box_head(self.pool(tables[i], shapes, proposals[i], self.roi.box_size))
            boxes, scores, labels, valid = self.box_head.detect(
                logits,
                deltas,
                proposals[i],
                proposal_valid[i],
                image_shape[i],
                extent,
                self.detection.score_thr,
                self.detection.iou_thr,
                self.detection.nms_pre,
                self.detection.max_per_img,
                self.detection.min_size,
            )
            masks = self.mask_head(self.pool(tables[i], shapes, boxes, self.roi.mask_size), labels)
            found.append((boxes, scores, labels, valid, ops.sigmoid(masks)))
        return tuple(ops.stack([one[k] for one in found], 0) for k in range(5))
