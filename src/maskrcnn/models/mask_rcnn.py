"""Mask R-CNN: He et al., section 3, with a feature pyramid, as one static graph.

Every shape is fixed: ground truth, proposals and detections fill slots, and masks say which slots count. An image
without objects, an image of only crowd regions and a result without detections are therefore ordinary.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import mindspore as ms
from mindspore import Tensor, nn, ops

from maskrcnn.models.box_head import BoxHead
from maskrcnn.models.fpn import FPN
from maskrcnn.models.layers import TENSORS, FeatureCell
from maskrcnn.models.losses import normalizer
from maskrcnn.models.mask_head import MaskHead
from maskrcnn.models.roi_sampler import RoISampler, gather_objects
from maskrcnn.models.rpn import RPN


class MaskRCNN(nn.Cell):
    """Backbone, FPN, RPN, box head and mask head; ``build.py`` makes them from a configuration.

    In training mode (``set_train()``) it maps a batch to its losses, see ``losses``; otherwise to detections, see
    ``detect``. All sizes follow from the arguments, one compiled graph for each canvas.

    Args:
        backbone: Normalised images to C2..C5.
        fpn: C2..C5 to P2..P6.
        rpn: Proposals from P2..P6.
        roi_sampler: Draws the RoIs that the heads learn from.
        box_head: Classes and boxes of RoIs.
        mask_head: Masks of RoIs: a ``MaskHead`` or another one with its interface.
        pixel_mean: Of the RGB channels, 0..255.
        pixel_std: Of the RGB channels, 0..255.
        padding_counts: Padding is part of the image: black pixels before the normalisation, where boxes may lie.
        loss_weights: A factor for each of ``loss_names``.
        world_size: Processes that train together; the losses are divided by the numbers in the batches of all.

    Attributes:
        loss_names: Of the values of ``losses``, in their order.
    """

    operations = TENSORS

    def __init__(
        self,
        *,
        backbone: FeatureCell,
        fpn: FPN,
        rpn: RPN,
        roi_sampler: RoISampler,
        box_head: BoxHead,
        mask_head: MaskHead,
        pixel_mean: Sequence[float],
        pixel_std: Sequence[float],
        padding_counts: bool,
        loss_weights: Mapping[str, float],
        world_size: int = 1,
    ) -> None:
        super().__init__()
        self.backbone = backbone
        self.fpn = fpn
        self.rpn = rpn
        self.roi_sampler = roi_sampler
        self.box_head = box_head
        self.mask_head = mask_head
        self.mean = tuple(pixel_mean)
        self.std = tuple(pixel_std)
        self.padding_counts = padding_counts
        self.loss_names = (*rpn.loss_names, *box_head.loss_names, *mask_head.loss_names)
        self.loss_weights = tuple(loss_weights[name] for name in self.loss_names)
        self.world_size = world_size
        if world_size > 1:
            self.sum_over_ranks = ops.AllReduce()

    def construct(self, image: Tensor, image_shape: Tensor, *ground_truth: Tensor) -> tuple[Tensor, ...]:
        """Maps images alone to detections, images with ground truth to losses."""
        image_shape = self.extent(image, image_shape)
        if self.training:
            losses, _ = self.losses(image, image_shape, *ground_truth)
            return losses
        return self.detect(image, image_shape)

    def counts(self, image: Tensor, image_shape: Tensor, *ground_truth: Tensor) -> Tensor:
        """Returns how many samples each loss of a batch is a sum over, float32 [losses], over all ranks.

        What only the losses need is not computed. With the counts, batches that do not fit into the memory can be
        trained on in parts.
        """
        _, totals = self.losses(image, self.extent(image, image_shape), *ground_truth)
        anchors, regions, masks = ops.unstack(totals)
        counts = ()
        for total, names in (
            (anchors, self.rpn.loss_names),
            (regions, self.box_head.loss_names),
            (masks, self.mask_head.loss_names),
        ):
            counts += (total,) * len(names)
        return ops.stack(counts)

    def extent(self, image: Tensor, image_shape: Tensor) -> Tensor:
        """Returns the shapes of the images, float32 [N,2], with the padding where that is part of them."""
        if self.padding_counts:
            return ops.zeros_like(image_shape) + Tensor(image.shape[1:3], ms.float32)
        return image_shape

    def features(self, image: Tensor, image_shape: Tensor) -> tuple[Tensor, ...]:
        """Maps uint8 RGB images [N,H,W,3] to P2..P6; the padding is zero after the normalisation, as elsewhere."""
        n, height, width, _ = image.shape
        row = ops.arange(0, height, dtype=ms.float32).reshape((1, height, 1))
        column = ops.arange(0, width, dtype=ms.float32).reshape((1, 1, width))
        limit = image_shape.reshape((n, 2, 1, 1))
        inside = ops.logical_and(row < limit[:, 0], column < limit[:, 1]).astype(ms.float32)  # [N,H,W]
        channels = []
        colours = ops.unstack(image, -1)  # image[..., k] is ten times slower on a CPU
        for k in range(3):
            channels.append((colours[k].astype(ms.float32) - self.mean[k]) / self.std[k] * inside)
        return self.fpn(*self.backbone(self.operations.from_planes(channels)))

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
        *mask_keys: Tensor,
    ) -> tuple[tuple[Tensor, ...], Tensor]:
        """L = L_cls + L_box + L_mask and the RPN's two (section 3), weighted, in the order of ``loss_names``.

        Args:
            image: uint8 [N,H,W,3]; all arguments are described in ``data/batches/batch.Batch``.
            mask_keys: Further random numbers, for a mask head that draws.

        Returns:
            float32 scalars, and how many anchors, RoIs and masks count, float32 [3].
        """
        features = self.features(image, image_shape)
        pyramid = self.operations.pyramid(features)

        proposals, proposal_valid = self.rpn.propose(features, image_shape)
        rois, labels, valid, matched = self.roi_sampler(proposals, proposal_valid, gt_boxes, gt_labels, roi_key)
        matched_boxes = gather_objects(gt_boxes, matched)
        slots = self.roi_sampler.mask_slots(rois, labels, matched, gt_boxes, gt_masks, gt_has_mask)
        mask_rois, mask_labels, has_mask, objects = slots
        totals = self.totals(anchor_label >= 0, valid, has_mask)
        anchors, regions, masks = ops.unstack(normalizer(totals, self.world_size))

        rpn_losses = self.rpn.losses(pyramid, anchor_index, anchor_label, anchor_target, anchors)
        logits, deltas = self.box_head(self.box_head.pool(pyramid, rois))
        box_losses = self.box_head.losses(logits, deltas, rois, labels, valid, matched_boxes, regions)
        mask_features = self.mask_head.pool(pyramid, mask_rois)
        mask_losses = self.mask_head.losses(
            mask_features, mask_rois, mask_labels, objects, image_shape, has_mask, masks, pyramid, *mask_keys
        )
        return self.weighted(rpn_losses + box_losses + mask_losses), totals

    def totals(self, *counted: Tensor) -> Tensor:
        """Returns how many anchors, RoIs and masks count, over all ranks: what the losses are divided by.

        One small message a step, so that many ranks with small batches learn exactly what one with a large batch does.
        """
        totals = ops.stack([one.astype(ms.float32).sum() for one in counted])
        if self.world_size > 1:
            totals = self.sum_over_ranks(totals)
        return ops.stop_gradient(totals)

    def weighted(self, losses: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """Multiplies each loss by its weight."""
        result = ()
        for i in range(len(losses)):
            result += (losses[i] * self.loss_weights[i],)
        return result

    def detect(self, image: Tensor, image_shape: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        """Finds boxes first, then masks for the detected boxes only (section 3.1, Inference).

        Args:
            image: uint8 [N,H,W,3], RGB, padded on the right and below.
            image_shape: float32 [N,2], height and width in pixels without the padding.

        Returns:
            boxes float32 [N,D,4] in pixels of the canvas, scores float32 [N,D], labels int32 [N,D], valid bool [N,D],
            masks float32 [N,D,m,m], probabilities of the own class in the frame of the box; m is the mask head's.
        """
        features = self.features(image, image_shape)
        pyramid = self.operations.pyramid(features)
        proposals, proposal_valid = self.rpn.propose(features, image_shape)
        logits, deltas = self.box_head(self.box_head.pool(pyramid, proposals))
        extent = max(image.shape[1], image.shape[2])
        found = self.box_head.detect(logits, deltas, proposals, proposal_valid, image_shape, extent)
        boxes, scores, labels, valid = found
        masks = self.mask_head.detect(self.mask_head.pool(pyramid, boxes), boxes, labels, pyramid)
        return boxes, scores, labels, valid, masks
