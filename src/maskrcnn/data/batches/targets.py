"""Training targets that depend on the ground truth alone: which anchors to learn from.

The rules are those of Ren et al. 2015, section 3.1.2. Anchors form a grid, so each object is compared only with the
anchors around it, not with all 245,520 of a 768 x 1280 canvas.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from maskrcnn.ops.anchors import AnchorGrid, AnchorLevel
from maskrcnn.ops.reference import BoxCoder

if TYPE_CHECKING:
    from maskrcnn.config import Config

# Anchors whose IoU with an object is within this of the object's best count as equally good; such ties are exact in
# real arithmetic, where an object lies inside several anchors.
TIE = 1e-9


@dataclass(frozen=True)
class AssignSettings:
    """How anchors are labelled and sampled.

    Attributes:
        pos_iou_thr: at least this IoU with an object makes an anchor positive.
        neg_iou_thr: less than this IoU with all objects makes it negative; between the two it is not used.
        min_pos_iou: an object's best anchors are positive too if their IoU is at least this (and not 0).
        num_pos: most positives in the sample.
        num_total: anchors in the sample; negatives fill what the positives leave.
        crowd_iou_thr: a negative anchor with more than this fraction of its area inside a crowd box is not used.
        coder: normalisation of the box targets, and the convention of the objects' boxes.
    """

    pos_iou_thr: float
    neg_iou_thr: float
    min_pos_iou: float
    num_pos: int
    num_total: int
    crowd_iou_thr: float
    coder: BoxCoder

    @classmethod
    def from_config(cls, cfg: Config) -> AssignSettings:
        """Returns the settings of a run."""
        return cls(
            pos_iou_thr=cfg.pos_iou_thr,
            neg_iou_thr=cfg.neg_iou_thr,
            min_pos_iou=cfg.min_pos_iou,
            num_pos=cfg.num_expected_pos,
            num_total=cfg.num_expected_neg,
            crowd_iou_thr=cfg.crowd_iou_thr,
            coder=BoxCoder(cfg.rpn_target_means, cfg.rpn_target_stds, cfg.box_convention),
        )


class AnchorSample(NamedTuple):
    """The anchors to learn from: positives, then negatives, then padding.

    Attributes:
        index: int32 [num_total] into the anchors; 0 in the padding.
        label: int32 [num_total], 1 positive, 0 negative, -1 padding.
        target: float32 [num_total, 4], normalised box deltas of the positives; 0 elsewhere.
    """

    index: np.ndarray
    label: np.ndarray
    target: np.ndarray


def assign_anchors(
    grid: AnchorGrid,
    gt_boxes: np.ndarray,
    crowd: np.ndarray,
    settings: AssignSettings,
    rng: np.random.Generator | None,
) -> AnchorSample:
    """Labels the anchors of one image and draws the sample that the RPN learns from.

    Args:
        grid: the anchors of the canvas.
        gt_boxes: float [n, 4] in canvas pixels.
        crowd: bool [n], which of them are regions to ignore.
        settings: the thresholds and numbers.
        rng: draws the sample; None takes the lowest indices.
    """
    coder = settings.coder
    labels, matched = label_anchors(grid, coder.to_continuous(gt_boxes), crowd, settings)
    positive = _draw(np.flatnonzero(labels == 1), settings.num_pos, rng)
    negative = _draw(np.flatnonzero(labels == 0), settings.num_total - len(positive), rng)

    index = np.zeros(settings.num_total, np.int32)
    label = np.full(settings.num_total, -1, np.int32)
    target = np.zeros((settings.num_total, 4), np.float32)
    used = len(positive) + len(negative)
    index[: len(positive)] = positive
    index[len(positive) : used] = negative
    label[: len(positive)] = 1
    label[len(positive) : used] = 0
    anchors = coder.from_continuous(_boxes_at(grid, positive))
    target[: len(positive)] = coder.encode(gt_boxes[matched[positive]], anchors)
    return AnchorSample(index, label, target)


def label_anchors(
    grid: AnchorGrid, gt_boxes: np.ndarray, crowd: np.ndarray, settings: AssignSettings
) -> tuple[np.ndarray, np.ndarray]:
    """Matches every anchor with the objects of an image.

    Args:
        grid: the anchors of the canvas.
        gt_boxes: float [n, 4], continuous boxes in canvas pixels.
        crowd: bool [n], which of them are regions to ignore.
        settings: the thresholds.

    Returns:
        labels: int8 [A], 1 positive, 0 negative, -1 not used.
        matched: int32 [A], where the label is 1 the row of ``gt_boxes`` with the highest IoU, the first of equals.
    """
    best = np.zeros(grid.size)
    matched = np.zeros(grid.size, np.int32)
    objects = np.flatnonzero(~np.asarray(crowd, bool))
    boxes = np.asarray(gt_boxes, np.float64)
    low_quality = [np.zeros(0, np.int64)]
    for row in objects:
        low_quality.append(_match_object(grid, boxes[row], row, best, matched, settings))

    labels = np.where(best < settings.neg_iou_thr, 0, -1).astype(np.int8)
    for box in boxes[np.asarray(crowd, bool)]:
        _ignore_crowd(grid, box, labels, settings.crowd_iou_thr)
    labels[best >= settings.pos_iou_thr] = 1
    chosen = np.unique(np.concatenate(low_quality))
    labels[chosen] = 1
    # Below neg_iou_thr `best` has only seen the objects near in size, so these few anchors ask all of them.
    unsure = chosen[best[chosen] < settings.neg_iou_thr]
    if len(unsure):
        matched[unsure] = objects[_first_best(_boxes_at(grid, unsure), boxes[objects])]
    return labels, matched


def _match_object(
    grid: AnchorGrid,
    box: np.ndarray,
    row: int,
    best: np.ndarray,
    matched: np.ndarray,
    settings: AssignSettings,
) -> np.ndarray:
    """Enters one object into ``best`` and ``matched``; returns the indices of its low-quality matches.

    Levels whose anchors differ too much in size to reach either neg_iou_thr or the object's best IoU are passed over:
    the IoU of two boxes is at most that of their sizes laid on the same centre.
    """
    bounds = [_largest_iou(level, box) for level in grid.levels]
    highest, windows = 0.0, []
    for number in np.argsort(bounds)[::-1]:
        if bounds[number] < min(settings.neg_iou_thr, highest - TIE):
            break
        level = grid.levels[number]
        top, left, iou = _window_iou(level, box)
        if iou.size == 0:
            continue
        windows.append((level, top, left, iou))
        highest = max(highest, float(iou.max()))
        place = (slice(top, top + iou.shape[0]), slice(left, left + iou.shape[1]))
        level_best, level_matched = _of_level(best, level)[place], _of_level(matched, level)[place]
        better = iou > level_best
        level_best[better] = iou[better]
        level_matched[better] = row

    if highest <= 0 or highest < settings.min_pos_iou:
        return np.zeros(0, np.int64)
    found = []
    for level, top, left, iou in windows:
        y, x, cell = np.nonzero(iou >= highest - TIE)
        found.append(level.first + ((y + top) * level.cols + x + left) * len(level.cells) + cell)
    return np.concatenate(found)


def _of_level(values: np.ndarray, level: AnchorLevel) -> np.ndarray:
    """Returns the view [rows, cols, k] of one level on an array over all anchors."""
    return values[level.first : level.first + level.size].reshape(level.rows, level.cols, len(level.cells))


def _largest_iou(level: AnchorLevel, box: np.ndarray) -> float:
    """Returns the highest IoU that ``box`` could have with an anchor of the level, wherever it lay."""
    size, cell_size = box[2:] - box[:2], level.cells[:, 2:] - level.cells[:, :2]
    common = np.minimum(size, cell_size).prod(axis=1)
    return float((common / (size.prod() + cell_size.prod(axis=1) - common)).max())


def _overlaps(level: AnchorLevel, box: np.ndarray, axis: int) -> tuple[int, np.ndarray]:
    """Returns the first grid line near ``box`` on an axis (0 x, 1 y), and the overlaps in pixels, float64 [m, k]."""
    low, high = level.cells[:, axis], level.cells[:, axis + 2]
    count = level.rows if axis else level.cols
    start = max(int((box[axis] - high.max()) // level.stride), 0)
    stop = min(int((box[axis + 2] - low.min()) // level.stride) + 1, count)
    point = np.arange(start, stop)[:, None] * level.stride
    return start, np.maximum(np.minimum(point + high, box[axis + 2]) - np.maximum(point + low, box[axis]), 0.0)


def _window_iou(level: AnchorLevel, box: np.ndarray) -> tuple[int, int, np.ndarray]:
    """Returns the first row and column of the window that ``box`` touches, and its IoU, float64 [m, n, k]."""
    left, overlap_x = _overlaps(level, box, 0)
    top, overlap_y = _overlaps(level, box, 1)
    area = (level.cells[:, 2:] - level.cells[:, :2]).prod(axis=1) + (box[2:] - box[:2]).prod()
    common = overlap_y[:, None] * overlap_x[None]
    return top, left, common / (area - common)


def _ignore_crowd(grid: AnchorGrid, box: np.ndarray, labels: np.ndarray, threshold: float) -> None:
    """Labels -1 the anchors with more than ``threshold`` of their area inside a crowd box."""
    for level in grid.levels:
        left, overlap_x = _overlaps(level, box, 0)
        top, overlap_y = _overlaps(level, box, 1)
        size = level.cells[:, 2:] - level.cells[:, :2]
        inside = (overlap_y / size[:, 1])[:, None] * (overlap_x / size[:, 0])[None]
        window = _of_level(labels, level)[top : top + inside.shape[0], left : left + inside.shape[1]]
        window[inside > threshold] = -1


def _boxes_at(grid: AnchorGrid, index: np.ndarray) -> np.ndarray:
    """Returns the anchors at ``index``, float64 [n, 4]."""
    boxes = np.empty((len(index), 4))
    for level in grid.levels:
        here = (index >= level.first) & (index < level.first + level.size)
        point, cell = np.divmod(index[here] - level.first, len(level.cells))
        y, x = np.divmod(point, level.cols)
        boxes[here] = np.stack([x, y, x, y], axis=1) * level.stride + level.cells[cell]
    return boxes


def _first_best(anchors: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    """Returns for each of ``anchors`` [n, 4] the number of the box with the highest IoU, the first of equals."""
    area = (anchors[:, 2:] - anchors[:, :2]).prod(axis=1)
    highest, first = np.full(len(anchors), -1.0), np.zeros(len(anchors), np.intp)
    for number, box in enumerate(boxes):
        side = np.minimum(anchors[:, 2:], box[2:]) - np.maximum(anchors[:, :2], box[:2])
        common = np.maximum(side, 0).prod(axis=1)
        iou = common / (area + (box[2:] - box[:2]).prod() - common)
        better = iou > highest
        highest[better], first[better] = iou[better], number
    return first


def _draw(candidates: np.ndarray, count: int, rng: np.random.Generator | None) -> np.ndarray:
    """Takes ``count`` of the ascending ``candidates``, or all if there are fewer; ascending."""
    if len(candidates) <= count:
        return candidates
    if rng is None:
        return candidates[:count]
    return np.sort(rng.choice(candidates, count, replace=False, shuffle=False))
