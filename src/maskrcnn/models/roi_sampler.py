"""Which RoIs the heads learn from, and what they are matched with: Fast R-CNN, section 2.3."""

from __future__ import annotations

from dataclasses import dataclass

import mindspore as ms
from mindspore import Tensor, nn, ops

from maskrcnn.ops.box_coder import BoxCoder
from maskrcnn.ops.sampling import match_rois, sample_rois


@dataclass(frozen=True)
class SamplerSettings:
    """How RoIs are drawn from the proposals and the ground truth of an image.

    Attributes:
        positive_iou: Candidates that overlap an object by this IoU or more are positive.
        negative_iou: Candidates that overlap every object by less than this IoU are background.
        crowd_ioa: Candidates with more than this share of their area in a crowd region are not background.
        num_positive: Most positives drawn.
        num_total: RoIs drawn in all.
        num_mask: How many of the positives the mask head learns from.
    """

    positive_iou: float
    negative_iou: float
    crowd_ioa: float
    num_positive: int
    num_total: int
    num_mask: int


class RoISampler(nn.Cell):
    """RoIs and their labels from proposals and ground truth. It has no parameters.

    Args:
        settings: Thresholds and numbers.
        coder: Gives the convention of the boxes.
    """

    def __init__(self, settings: SamplerSettings, coder: BoxCoder) -> None:
        super().__init__()
        self.settings = settings
        self.coder = coder

    def construct(
        self, proposals: Tensor, proposal_valid: Tensor, gt_boxes: Tensor, gt_labels: Tensor, keys: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Draws the RoIs of each image, positives first; the ground truth itself is among the candidates.

        Args:
            proposals: float32 [N,P,4] in pixels.
            proposal_valid: bool [N,P].
            gt_boxes: float32 [N,G,4] in pixels.
            gt_labels: int32 [N,G], class > 0, crowd -1, padding 0.
            keys: float32 [N,P+G] or more, uniform in [0, 1), drawn by the host.

        Returns:
            rois float32 [N,S,4], labels int32 [N,S] (0 background), valid bool [N,S], and matched int32 [N,S], the
            ground truth of each positive; S is ``num_total``, or the number of all candidates on a small canvas. No
            gradient flows through them.
        """
        drawn = []
        for i in range(proposals.shape[0]):
            drawn.append(self.draw(proposals[i], proposal_valid[i], gt_boxes[i], gt_labels[i], keys[i]))
        return tuple(ops.stack([one[k] for one in drawn], 0) for k in range(4))

    def draw(
        self, proposals: Tensor, proposal_valid: Tensor, gt_boxes: Tensor, gt_labels: Tensor, keys: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Draws the RoIs of one image: as ``construct``, without the first axis."""
        chosen = self.settings
        candidates = ops.concat((proposals, gt_boxes), 0)
        number = candidates.shape[0]
        matched, foreground, background = match_rois(
            self.coder.to_continuous(candidates),
            ops.concat((proposal_valid, gt_labels > 0), 0),
            self.coder.to_continuous(gt_boxes),
            gt_labels,
            chosen.positive_iou,
            chosen.negative_iou,
            chosen.crowd_ioa,
        )
        num_positive, num_total = min(chosen.num_positive, number), min(chosen.num_total, number)
        index, positive, valid = sample_rois(foreground, background, keys[:number], num_positive, num_total)
        matched = ops.gather(matched, index, 0)
        label = ops.where(positive, ops.gather(gt_labels, matched, 0), ops.zeros_like(matched))
        return ops.stop_gradient(ops.gather(candidates, index, 0)), label, valid, matched

    def mask_slots(
        self, rois: Tensor, labels: Tensor, matched: Tensor, gt_boxes: Tensor, gt_masks: Tensor, gt_has_mask: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, tuple[Tensor, Tensor]]:
        """Takes the RoIs that the mask head learns from: positives come first, so the first slots are enough.

        Args:
            rois: float32 [N,S,4], and ``labels`` and ``matched`` int32 [N,S], as ``construct`` draws them.
            gt_boxes: float32 [N,G,4].
            gt_masks: uint8 [N,G,P,P], crops of the objects' masks.
            gt_has_mask: float32 [N,G], 1 where there is a mask.

        Returns:
            rois float32 [N,M,4], labels int32 [N,M], counted float32 [N,M] (1 for a positive whose object has a mask),
            and what targets are made of: the objects' crops uint8 [N,M,P,P] and boxes float32 [N,M,4].
        """
        slots = min(self.settings.num_mask, rois.shape[1])
        rois, labels, matched = rois[:, :slots], labels[:, :slots], matched[:, :slots]
        counted = (labels > 0).astype(ms.float32) * gather_objects(gt_has_mask, matched)
        return rois, labels, counted, (gather_objects(gt_masks, matched), gather_objects(gt_boxes, matched))


def gather_objects(values: Tensor, index: Tensor) -> Tensor:
    """Takes rows of each image's ground truth: values [N,G,...] at index int32 [N,S] to [N,S,...]."""
    rows = []
    for i in range(index.shape[0]):
        rows.append(ops.gather(values[i], index[i], 0))
    return ops.stack(rows, 0)
