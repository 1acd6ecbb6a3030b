"""What MindSpore's model zoo computes where it differs from the papers, in float64 numpy: width = x2 - x1 + 1."""

from __future__ import annotations

import math

import numpy as np
from tests.models.by_hand import ByHand

from maskrcnn.ops import reference
from maskrcnn.ops.roi_align import RoIAlignSettings


def anchors(stride: int, scale: float, ratios) -> np.ndarray:
    """The anchors [k,4] of the first cell of a level: x1, y1, x2, y2 of their first and last pixels."""
    middle = 0.5 * (stride - 1)
    boxes = []
    for ratio in ratios:
        w, h = stride * scale / math.sqrt(ratio), stride * scale * math.sqrt(ratio)
        first, last = (middle - 0.5 * (w - 1), middle - 0.5 * (h - 1)), (middle + 0.5 * (w - 1), middle + 0.5 * (h - 1))
        boxes.append([round(value) for value in (*first, *last)])
    return np.array(boxes, np.float64)


def encode(boxes: np.ndarray, anchors: np.ndarray, stds=(1, 1, 1, 1)) -> np.ndarray:
    boxes, anchors = np.asarray(boxes, np.float64), np.asarray(anchors, np.float64)
    size, anchor_size = boxes[..., 2:] - boxes[..., :2] + 1, anchors[..., 2:] - anchors[..., :2] + 1
    centre, anchor_centre = (boxes[..., :2] + boxes[..., 2:]) / 2, (anchors[..., :2] + anchors[..., 2:]) / 2
    return np.concatenate([(centre - anchor_centre) / anchor_size, np.log(size / anchor_size)], -1) / stds


def decode(deltas: np.ndarray, anchors: np.ndarray, height: float, width: float, stds=(1, 1, 1, 1)) -> np.ndarray:
    """With the sides changed by 62.5 times at most, and clipped to the last pixel."""
    deltas, anchors = np.asarray(deltas, np.float64) * stds, np.asarray(anchors, np.float64)
    size, centre = anchors[..., 2:] - anchors[..., :2] + 1, (anchors[..., :2] + anchors[..., 2:]) / 2
    limit = math.log(1000 / 16)
    half = np.exp(np.clip(deltas[..., 2:], -limit, limit)) * size / 2
    centre = centre + deltas[..., :2] * size
    boxes = np.concatenate([centre - half + 0.5, centre + half - 0.5], -1)
    return np.clip(boxes, 0, [width - 1, height - 1, width - 1, height - 1])


def iou(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """[N,4] and [M,4] to [N,M], areas counted in pixels."""
    a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
    sides = np.minimum(a[:, None, 2:], b[None, :, 2:]) - np.maximum(a[:, None, :2], b[None, :, :2]) + 1
    common = np.maximum(sides, 0).prod(-1)
    areas = [(boxes[:, 2:] - boxes[:, :2] + 1).prod(-1) for boxes in (a, b)]
    return common / (areas[0][:, None] + areas[1][None, :] - common)


def level_of(boxes: np.ndarray, finest_scale: float, levels: int) -> np.ndarray:
    boxes = np.asarray(boxes, np.float64)
    scale = np.sqrt((boxes[:, 2] - boxes[:, 0] + 1) * (boxes[:, 3] - boxes[:, 1] + 1))
    return np.clip(np.floor(np.log2(scale / finest_scale + 1e-6)), 0, levels - 1).astype(int)


def max_pool(x: np.ndarray) -> np.ndarray:
    """Kernel 3, stride 2, of an even side: padded by one below and on the right."""
    x = np.pad(x, ((0, 0), (0, 0), (0, 1), (0, 1)), constant_values=-np.inf)
    rows, columns = x.shape[2] // 2, x.shape[3] // 2
    taps = [x[:, :, dy : dy + 2 * rows : 2, dx : dx + 2 * columns : 2] for dy in range(3) for dx in range(3)]
    return np.max(taps, 0)


def upsample(x: np.ndarray) -> np.ndarray:
    """[N,C,H,W] to [N,C,2H,2W]: position i of the result lies at i / 2."""
    for axis in (2, 3):
        n = x.shape[axis]
        at = np.arange(2 * n) / 2
        low = at.astype(int)
        high, fraction = np.minimum(low + 1, n - 1), at - low
        fraction = fraction.reshape([-1 if i == axis else 1 for i in range(4)])
        x = x.take(low, axis) * (1 - fraction) + x.take(high, axis) * fraction
    return x


class ZooByHand(ByHand):
    """The heads with inclusive boxes."""

    def pool(self, image: int, boxes: np.ndarray, chosen: RoIAlignSettings) -> np.ndarray:
        """Each RoI by a RoIAlign of its level alone."""
        pooled = np.zeros((len(boxes), chosen.size**2, self.features[0].shape[1]))
        levels = level_of(boxes, chosen.finest_scale, 4)
        for level in set(levels):
            own = levels == level
            args = [self.features[level][image]], [chosen.strides[level]], boxes[own], np.zeros(own.sum(), int)
            pooled[own] = reference.roi_align(*args, chosen.size, chosen.sampling, chosen.aligned)
        return pooled

    def encode(self, truth: np.ndarray, box: np.ndarray) -> np.ndarray:
        return encode(truth, box, self.coder.stds)

    def decode(self, deltas: np.ndarray, boxes: np.ndarray, image_shape: np.ndarray) -> np.ndarray:
        return decode(deltas, boxes, *image_shape, self.coder.stds)

    def match(self, candidates, valid, gt, gt_labels):
        """No crowds here."""
        overlap = np.where(gt_labels > 0, iou(candidates, gt), -1)
        best = overlap.max(1)
        return overlap.argmax(1), valid & (best >= 0.5), valid & (best < 0.5)

    def proposals(self, image: int, image_shape: np.ndarray) -> np.ndarray:
        """Boxes of an image, best first, from the RPN's convolutions."""
        rpn, settings = self.net.rpn, self.net.rpn.test_proposals
        found = []
        for feature, stride in zip(self.features, rpn.strides):
            hidden = np.maximum(self.conv(feature[image : image + 1], "rpn.conv"), 0)
            logits = self.conv(hidden, "rpn.cls_logits")[0].transpose(1, 2, 0)
            rows, columns, count = logits.shape
            deltas = self.conv(hidden, "rpn.bbox_pred")[0].transpose(1, 2, 0).reshape(-1, 4)
            y, x = np.mgrid[:rows, :columns] * stride
            cells = anchors(stride, 4, (0.5, 1.0, 2.0))
            boxes = (np.stack([x, y, x, y], -1)[:, :, None] + cells).reshape(-1, 4)
            assert count == len(cells)
            best = np.argsort(-logits.reshape(-1), kind="stable")[: settings.nms_pre]
            boxes = decode(deltas[best], boxes[best], *image_shape)
            keep = reference.nms_mask(boxes, np.ones(len(boxes), bool), settings.nms_thr)
            scores = 1 / (1 + np.exp(-logits.reshape(-1)[best]))
            found += list(zip(scores[keep][: settings.nms_post], boxes[keep]))
        found = sorted(found, key=lambda one: -one[0])[: settings.max_num]
        return np.array([box for _, box in found])
