"""The functions of this package once more, in plain float64 numpy, to test them against; conv.py's is in its test.

Written for clarity: loops where the definition has a "for each". Names, shapes and meanings are those of the MindSpore
functions. ``BoxCoder`` also makes the anchor targets of the data pipeline; nothing else here is used in training.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

LAST_PIXEL = (0, 0, 1, 1)  # what inclusive boxes lack to continuous ones
MAX_LOG_SCALE = math.log(1000 / 16)


@dataclass(frozen=True)
class BoxCoder:
    """Box regression under one convention and one normalisation: the twin of ``box_coder.BoxCoder``."""

    means: tuple[float, float, float, float]
    stds: tuple[float, float, float, float]
    convention: str

    def to_continuous(self, boxes: np.ndarray) -> np.ndarray:
        """Returns boxes [...,4] of this convention as continuous ones, of the same dtype."""
        return boxes + np.array(LAST_PIXEL, boxes.dtype) if self.convention == "inclusive" else boxes

    def from_continuous(self, boxes: np.ndarray) -> np.ndarray:
        """Returns continuous boxes [...,4] in this convention, of the same dtype."""
        return boxes - np.array(LAST_PIXEL, boxes.dtype) if self.convention == "inclusive" else boxes

    def encode(self, boxes: np.ndarray, anchors: np.ndarray) -> np.ndarray:
        """Returns the targets of boxes [...,4] relative to anchors [...,4] (R-CNN, appendix C, equations 6-9)."""
        boxes, anchors = (np.asarray(self.to_continuous(value), np.float64) for value in (boxes, anchors))
        size = np.maximum(boxes[..., 2:] - boxes[..., :2], 1e-6)
        anchor_size = np.maximum(anchors[..., 2:] - anchors[..., :2], 1e-6)
        shift = (boxes[..., :2] + boxes[..., 2:] - anchors[..., :2] - anchors[..., 2:]) / 2 / anchor_size
        targets = np.concatenate([shift, np.log(size / anchor_size)], axis=-1)
        return (targets - np.asarray(self.means)) / np.asarray(self.stds)

    def decode(self, deltas: np.ndarray, anchors: np.ndarray) -> np.ndarray:
        """Returns boxes [...,4] of regression outputs and anchors (R-CNN, equations 1-4).

        Sides grow by 62.5 times at most; inclusive boxes do not shrink by more, either.
        """
        deltas = np.asarray(deltas, np.float64) * np.asarray(self.stds) + np.asarray(self.means)
        anchors = np.asarray(self.to_continuous(anchors), np.float64)
        size, centre = anchors[..., 2:] - anchors[..., :2], (anchors[..., :2] + anchors[..., 2:]) / 2
        least = -MAX_LOG_SCALE if self.convention == "inclusive" else -np.inf
        half = size * np.exp(np.clip(deltas[..., 2:], least, MAX_LOG_SCALE)) / 2
        centre = centre + size * deltas[..., :2]
        return self.from_continuous(np.concatenate([centre - half, centre + half], -1))

    def clip(self, boxes: np.ndarray, height: np.ndarray | float, width: np.ndarray | float) -> np.ndarray:
        """Returns boxes [...,4] cut to [0,width] x [0,height], inclusive ones to one pixel less."""
        boxes, less = np.asarray(boxes, np.float64), 1.0 if self.convention == "inclusive" else 0.0
        x = np.clip(boxes[..., 0::2], 0, np.asarray(width, np.float64)[..., None] - less)
        y = np.clip(boxes[..., 1::2], 0, np.asarray(height, np.float64)[..., None] - less)
        return np.stack([x[..., 0], y[..., 0], x[..., 1], y[..., 1]], -1)

    def large_enough(self, boxes: np.ndarray, min_size: float) -> np.ndarray:
        """Returns bool [...] for boxes [...,4]: whether both sides are longer than ``min_size`` pixels."""
        boxes = self.to_continuous(np.asarray(boxes, np.float64))
        return (boxes[..., 2:] - boxes[..., :2] > min_size).all(-1)


def sides(boxes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns widths and heights of boxes [...,4], at least 1e-6."""
    size = np.maximum(np.asarray(boxes, np.float64)[..., 2:] - np.asarray(boxes, np.float64)[..., :2], 1e-6)
    return size[..., 0], size[..., 1]


def area(boxes: np.ndarray) -> np.ndarray:
    """Returns the areas [...] of boxes [...,4]; zero where a box is empty or inside out."""
    boxes = np.asarray(boxes, np.float64)
    return np.maximum(boxes[..., 2] - boxes[..., 0], 0) * np.maximum(boxes[..., 3] - boxes[..., 1], 0)


def intersection(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Returns the area that every pair of boxes [N,4] and [M,4] has in common: [N,M]."""
    a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
    low = np.maximum(a[:, None, :2], b[None, :, :2])
    high = np.minimum(a[:, None, 2:], b[None, :, 2:])
    return np.maximum(high - low, 0).prod(-1)


def pairwise_iou(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Returns the intersection over union of every pair of boxes [N,4] and [M,4]: [N,M]; 0 where both are empty."""
    overlap = intersection(a, b)
    union = area(a)[:, None] + area(b)[None, :] - overlap
    return np.divide(overlap, union, out=np.zeros_like(overlap), where=union > 0)


def pairwise_ioa(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Returns the share of each box of ``a`` [N,4] that lies inside each box of ``b`` [M,4]: [N,M]; 0 if empty."""
    overlap = intersection(a, b)
    own = np.broadcast_to(area(a)[:, None], overlap.shape)
    return np.divide(overlap, own, out=np.zeros_like(overlap), where=own > 0)


def nms_mask(boxes: np.ndarray, valid: np.ndarray, iou_threshold: float) -> np.ndarray:
    """Suppresses boxes [N,4], best first, greedily among the valid ones; returns the survivors, bool [N]."""
    return _greedy(pairwise_iou(boxes, boxes) > iou_threshold, valid)


def class_aware_nms_mask(boxes: np.ndarray, labels: np.ndarray, valid: np.ndarray, iou_threshold: float) -> np.ndarray:
    """Suppresses as ``nms_mask`` does, but only boxes of the same class; returns the survivors, bool [N]."""
    same = np.asarray(labels)[:, None] == np.asarray(labels)[None, :]
    return _greedy((pairwise_iou(boxes, boxes) > iou_threshold) & same, valid)


def _greedy(conflict: np.ndarray, valid: np.ndarray) -> np.ndarray:
    """Takes every valid item that conflicts with none taken before it: bool [N,N] and [N] to [N]."""
    taken = np.zeros(len(conflict), bool)
    for i in range(len(conflict)):
        taken[i] = valid[i] and not (conflict[i] & taken).any()
    return taken


def level_of(boxes: np.ndarray, finest_scale: float, num_levels: int) -> np.ndarray:
    """Returns the level of each box [R,4], int32 [R]: FPN, equation 1, a millionth of a level up."""
    boxes = np.asarray(boxes, np.float64)
    side = np.sqrt(np.maximum((boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1]), 0))
    with np.errstate(divide="ignore"):
        level = np.floor(np.log2(side / finest_scale) + 1e-6)
    return np.clip(level, 0, num_levels - 1).astype(np.int32)


def roi_align(
    features: Sequence[np.ndarray],
    strides: Sequence[int],
    boxes: np.ndarray,
    levels: np.ndarray,
    size: int,
    sampling: int,
    aligned: bool,
) -> np.ndarray:
    """Pools the RoIs of one image (Mask R-CNN, section 3): each bin the mean of bilinear samples of its level.

    Args:
        features: A map [C,H_l,W_l] a level.
        strides: Pixels per cell of each.
        boxes: [R,4] in pixels.
        levels: int [R], the level of each box.
        size: Bins along each side.
        sampling: Samples along each side of a bin; 0 takes as many as the bin has cells, rounded up.
        aligned: Shifts by half a cell.

    Returns:
        float64 [R, size*size, C], bins row by row.
    """
    boxes = np.asarray(boxes, np.float64)
    features = [np.asarray(feature, np.float64) for feature in features]
    pooled = np.zeros((len(boxes), size, size, features[0].shape[0]))
    for r, (box, level) in enumerate(zip(boxes, levels)):
        x1, y1, x2, y2 = box / strides[level] - (0.5 if aligned else 0.0)
        w, h = (x2 - x1, y2 - y1) if aligned else (max(x2 - x1, 1.0), max(y2 - y1, 1.0))
        rows, columns = (sampling or max(math.ceil(side / size), 0) for side in (h, w))
        for row in range(size * rows):
            for column in range(size * columns):
                y = y1 + (row + 0.5) * h / (size * rows)
                x = x1 + (column + 0.5) * w / (size * columns)
                pooled[r, row // rows, column // columns] += bilinear(features[level], y, x) / (rows * columns)
    return pooled.reshape(len(boxes), size * size, -1)


def bilinear(feature: np.ndarray, y: float, x: float) -> np.ndarray:
    """Returns the value [C] of a map [C,H,W] between its cells; border cells go on for one cell, then it is zero."""
    _, height, width = feature.shape
    if y < -1 or y > height or x < -1 or x > width:
        return np.zeros(feature.shape[0])
    y, x = min(max(y, 0.0), height - 1.0), min(max(x, 0.0), width - 1.0)
    top, left = int(y), int(x)
    bottom, right = min(top + 1, height - 1), min(left + 1, width - 1)
    upper = feature[:, top, left] * (left + 1 - x) + feature[:, top, right] * (x - left)
    lower = feature[:, bottom, left] * (left + 1 - x) + feature[:, bottom, right] * (x - left)
    return upper * (top + 1 - y) + lower * (y - top)


def mean_weights(
    start: np.ndarray, length: np.ndarray, limit: np.ndarray, cells: np.ndarray, spacing: np.ndarray, size: int
) -> np.ndarray:
    """Returns the weights of cells in the mean over each bin's ceil(length / size) samples, along one axis.

    Args:
        start: [R], where the interval begins.
        length: [R], of the interval.
        limit: [R]; the axis has cells from 0 to limit - 1.
        cells: [R,P], positions of those that are asked for.
        spacing: [R], their distance.
        size: Bins of an interval.

    Returns:
        float64 [R,size,P].
    """
    weights = np.zeros((len(start), size, np.shape(cells)[1]))
    for r in range(len(start)):
        samples = math.ceil(length[r] / size)
        for k in range(size * samples):
            at = start[r] + (k + 0.5) * length[r] / (size * samples)
            if -1 <= at <= limit[r]:
                weights[r, k // samples] += [_share(at, cell, spacing[r], limit[r]) for cell in cells[r]]
        weights[r] /= max(samples, 1)
    return weights


def _share(at: float, cell: float, spacing: float, limit: float) -> float:
    """Returns a cell's weight in the value at a position: 1 on it, 0 on its neighbours; outermost ones go on."""
    first, last = cell - spacing < -0.5, cell + spacing > limit - 0.5
    if (at < cell and first) or (at >= cell and last):
        return 1.0
    return max(1 - abs(at - cell) / spacing, 0.0)


def mask_samples(
    crops: np.ndarray, boxes: np.ndarray, rois: np.ndarray, image_shape: np.ndarray, size: int
) -> np.ndarray:
    """Returns the mean of the mask over each cell of a grid over each RoI, as torchvision's targets are.

    Args:
        crops: [R,P,P] in 0..1, each from a pixel before its instance's box to one behind, within the image, a pixel a
            cell, or more if that is longer than P.
        boxes: [R,4], of the instances.
        rois: [R,4].
        image_shape: Height and width.
        size: Cells along each side of the grid.

    Returns:
        float64 [R,size,size].
    """
    boxes, rois = np.asarray(boxes, np.float64), np.asarray(rois, np.float64)
    weights = []
    for axis, limit in ((1, image_shape[0]), (0, image_shape[1])):
        first = np.maximum(np.floor(boxes[:, axis]) - 1, 0)
        end = np.minimum(np.ceil(boxes[:, axis + 2]) + 1, limit)
        spacing = np.maximum((end - first) / np.shape(crops)[2], 1)
        cells = first[:, None] + (np.arange(np.shape(crops)[2]) + 0.5) * spacing[:, None] - 0.5
        length = np.maximum(rois[:, axis + 2] - rois[:, axis], 1)
        weights.append(mean_weights(rois[:, axis], length, np.full(len(rois), limit), cells, spacing, size))
    return np.einsum("rap,rpq,rbq->rab", weights[0], np.asarray(crops, np.float64), weights[1])


def mask_coverage(crops: np.ndarray, frames: np.ndarray, rois: np.ndarray, size: int) -> np.ndarray:
    """Returns the covered share of each cell of a grid over each RoI: areas of overlapping rectangles, summed.

    Args:
        crops: [R,P,P] in 0..1.
        frames: [R,4] in pixels, the box that each crop spans.
        rois: [R,4] in pixels.
        size: Cells along each side of the grid.

    Returns:
        float64 [R,size,size].
    """
    covered = np.zeros((len(rois), size, size))
    for r, (crop, frame, roi) in enumerate(zip(crops, frames, rois)):
        pixels, cells = _grid(frame, crop.shape[0]), _grid(roi, size)
        share = intersection(cells, pixels) / area(cells)[:, None]
        covered[r] = (share @ np.asarray(crop, np.float64).reshape(-1)).reshape(size, size)
    return covered


def _grid(box: np.ndarray, size: int) -> np.ndarray:
    """Returns the equal rectangles that make up a box, row by row: [size*size,4]; sides of at least 1e-6."""
    x1, y1, x2, y2 = np.asarray(box, np.float64)
    x = x1 + max(x2 - x1, 1e-6) * np.arange(size + 1) / size
    y = y1 + max(y2 - y1, 1e-6) * np.arange(size + 1) / size
    return np.array([[x[j], y[i], x[j + 1], y[i + 1]] for i in range(size) for j in range(size)])


def match_rois(
    boxes: np.ndarray,
    valid: np.ndarray,
    gt_boxes: np.ndarray,
    gt_labels: np.ndarray,
    positive_iou: float,
    negative_iou: float,
    crowd_ioa: float,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Finds each candidate's best ground truth (int32, 0 if there is none), and whether it is fore- or background."""
    matched = np.zeros(len(boxes), np.int32)
    foreground, background = np.zeros(len(boxes), bool), np.zeros(len(boxes), bool)
    iou, ioa = pairwise_iou(boxes, gt_boxes), pairwise_ioa(boxes, gt_boxes)
    for r in range(len(boxes)):
        best, in_crowd = -1.0, 0.0
        for g, label in enumerate(gt_labels):
            if label > 0 and iou[r, g] > best:
                best, matched[r] = iou[r, g], g
            if label == -1:
                in_crowd = max(in_crowd, ioa[r, g])
        if valid[r]:
            foreground[r] = best >= positive_iou
            background[r] = best < min(negative_iou, positive_iou) and in_crowd <= crowd_ioa
    return matched, foreground, background


def sample_rois(
    foreground: np.ndarray, background: np.ndarray, keys: np.ndarray, num_positive: int, num_total: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Draws the candidates with the largest keys, foreground first: index int32, positive and valid [num_total]."""
    by_key = sorted(range(len(keys)), key=lambda i: -keys[i])
    positives = [i for i in by_key if foreground[i]][:num_positive]
    negatives = [i for i in by_key if background[i]][: num_total - len(positives)]
    empty = num_total - len(positives) - len(negatives)
    index = np.array(positives + negatives + [0] * empty, np.int32)
    slot = np.arange(num_total)
    return index, slot < len(positives), slot < len(positives) + len(negatives)
