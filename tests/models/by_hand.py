"""Everything that Mask R-CNN does after its pyramid, in float64 numpy: the five losses, and the detections."""

from __future__ import annotations

import numpy as np
from tests.models import oracle

from maskrcnn.models.mask_rcnn import MaskRCNN
from maskrcnn.ops import reference
from maskrcnn.ops.roi_align import RoIAlignSettings


class ByHand:
    """A network's heads in numpy.

    Args:
        net: gives the settings and the weights of this moment.
        features: P2..P6 [N,C,H,W] of the batch.
        proposals: boxes and valid of ``RPN.propose``.
    """

    def __init__(self, net: MaskRCNN, features, proposals) -> None:
        self.net = net
        self.sampler = net.roi_sampler.settings
        coder = net.box_head.coder
        self.coder = reference.BoxCoder(coder.means, coder.stds, coder.convention)
        self.weights = {p.name: p.asnumpy().astype(np.float64) for p in net.get_parameters()}
        self.features = [feature.astype(np.float64) for feature in features]
        self.boxes, self.valid = proposals

    def layer(self, x: np.ndarray, name: str) -> np.ndarray:
        return x @ self.weights[f"{name}.weight"].T + self.weights[f"{name}.bias"]

    def conv(self, x: np.ndarray, name: str) -> np.ndarray:
        return oracle.conv2d(x, self.weights[f"{name}.weight"], self.weights[f"{name}.bias"])

    def pool(self, image: int, boxes: np.ndarray, chosen: RoIAlignSettings) -> np.ndarray:
        maps = [feature[image] for feature in self.features[:4]]
        levels = reference.level_of(boxes, chosen.finest_scale, 4)
        return reference.roi_align(maps, chosen.strides, boxes, levels, chosen.size, chosen.sampling, chosen.aligned)

    def encode(self, truth: np.ndarray, box: np.ndarray) -> np.ndarray:
        return self.coder.encode(truth, box)

    def decode(self, deltas: np.ndarray, boxes: np.ndarray, image_shape: np.ndarray) -> np.ndarray:
        return self.coder.clip(self.coder.decode(deltas, boxes), *image_shape)

    def match(self, candidates, valid, gt, gt_labels) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        chosen = self.sampler
        thresholds = chosen.positive_iou, chosen.negative_iou, chosen.crowd_ioa
        return reference.match_rois(candidates, valid, gt, gt_labels, *thresholds)

    def box_head(self, image: int, boxes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        x = self.pool(image, boxes, self.net.box_head.pool.settings).reshape(len(boxes), -1)
        for i in range(len(self.net.box_head.fc)):
            x = oracle.relu(self.layer(x, f"box_head.fc.{i}"))
        return self.layer(x, "box_head.cls_score"), self.layer(x, "box_head.bbox_pred").reshape(len(boxes), -1, 4)

    def mask_head(self, image: int, boxes: np.ndarray, labels: np.ndarray) -> np.ndarray:
        """Logits of the own class, [R,28,28]."""
        chosen = self.net.mask_head.pool.settings
        x = self.pool(image, boxes, chosen).transpose(0, 2, 1).reshape(len(boxes), -1, chosen.size, chosen.size)
        for i in range(len(self.net.mask_head.convs)):
            x = oracle.relu(self.conv(x, f"mask_head.convs.{i}"))
        x = oracle.deconv2x2(x, self.weights["mask_head.deconv_weight"], self.weights["mask_head.deconv_bias"])
        weight, bias = self.weights["mask_head.logits_weight"], self.weights["mask_head.logits_bias"]
        logits = oracle.relu(x).transpose(0, 2, 3, 1) @ weight.T + bias
        return logits[np.arange(len(boxes)), :, :, labels]

    def losses(self, batch) -> list[float]:
        """In the order of ``loss_names``, as sums over the batch divided by numbers counted over the batch."""
        return [*self.rpn_losses(batch), *self.rcnn_losses(batch)]

    def rpn_losses(self, batch) -> tuple[float, float]:
        logits, deltas = [], []
        anchors = self.net.rpn.num_anchors
        for feature in self.features:
            n = len(feature)
            hidden = oracle.relu(self.conv(feature, "rpn.conv"))
            logits.append(self.conv(hidden, "rpn.cls_logits").transpose(0, 2, 3, 1).reshape(n, -1))
            delta = self.conv(hidden, "rpn.bbox_pred").transpose(0, 2, 3, 1)
            deltas.append(delta.reshape(n, -1, 4))
        logits, deltas = np.concatenate(logits, 1), np.concatenate(deltas, 1)
        assert logits.shape[1] * 4 == deltas[0].size and logits.shape[1] % anchors == 0
        rows = np.arange(len(logits))[:, None]
        logits, deltas = logits[rows, batch.anchor_index], deltas[rows, batch.anchor_index]
        used, positive = batch.anchor_label >= 0, batch.anchor_label == 1
        number = max(used.sum(), 1)
        entropy = oracle.cross_entropy(oracle.sigmoid(logits), positive)
        distance = oracle.smooth_l1(deltas - batch.anchor_target, self.net.rpn.beta)
        return entropy[used].sum() / number, distance[positive].sum() / number

    def rcnn_losses(self, batch) -> tuple[float, float, float]:
        box, mask = self.net.box_head, []
        entropy = distance = 0.0
        number = 0
        for image in range(len(batch.image)):
            boxes, labels, matched = self.sample(image, batch)
            number += len(boxes)
            if not len(boxes):
                continue
            logits, deltas = self.box_head(image, boxes)
            entropy -= np.log(oracle.softmax(logits)[np.arange(len(boxes)), labels]).sum()
            for r in np.flatnonzero(labels):
                truth = batch.gt_boxes[image, matched[r]]
                target = self.encode(truth, boxes[r])
                distance += oracle.smooth_l1(deltas[r, labels[r]] - target, box.beta).sum()
            # The first positives have a slot in the mask head; those whose object has a mask count.
            slots = [r for r in np.flatnonzero(labels)[: self.sampler.num_mask] if batch.gt_has_mask[image, matched[r]]]
            if slots:
                crops, frames = batch.gt_masks[image, matched[slots]], batch.gt_boxes[image, matched[slots]]
                covered = reference.mask_coverage(crops, frames, boxes[slots], self.net.mask_head.mask_size)
                probability = oracle.sigmoid(self.mask_head(image, boxes[slots], labels[slots]))
                mask += list(oracle.cross_entropy(probability, covered >= 0.5).mean((1, 2)))
        number = max(number, 1)
        return entropy / number, distance / number, float(np.mean(mask)) if mask else 0.0

    def sample(self, image: int, batch) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Boxes, labels and matches of the RoIs drawn from an image."""
        gt, gt_labels = batch.gt_boxes[image], batch.gt_labels[image]
        candidates = np.concatenate([self.boxes[image], gt])
        valid = np.concatenate([self.valid[image], gt_labels > 0])
        chosen = self.sampler
        matched, foreground, background = self.match(candidates, valid, gt, gt_labels)
        keys = batch.roi_key[image][: len(candidates)]
        counts = chosen.num_positive, chosen.num_total
        index, positive, counted = reference.sample_rois(foreground, background, keys, *counts)
        labels = np.where(positive, gt_labels[matched[index]], 0)
        return candidates[index][counted], labels[counted], matched[index][counted]

    def detections(self, image: int, image_shape: np.ndarray):
        """Scores, labels, boxes and masks of one image, best first."""
        settings = self.net.box_head.detection
        boxes = self.boxes[image][self.valid[image]]
        logits, deltas = self.box_head(image, boxes)
        probability = oracle.softmax(logits)
        found = []
        for label in range(1, logits.shape[1]):
            own = self.decode(deltas[:, label], boxes, image_shape)
            order = np.argsort(-probability[:, label], kind="stable")
            keep = reference.nms_mask(own[order], probability[order, label] > settings.score_thr, settings.iou_thr)
            found += [(probability[r, label], label, own[r]) for r in order[keep]]
        found = sorted(found, key=lambda one: -one[0])[: settings.max_per_img]
        scores, labels, final = (np.array(column) for column in zip(*found))
        return scores, labels, final, oracle.sigmoid(self.mask_head(image, final, labels))
