"""How large objects are where the network sees them, and the input size and slots that fit a data set."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from maskrcnn.data.batches.transforms import canvas_for, fit_size
from maskrcnn.ops.anchors import AnchorGrid, anchor_grid

SIDE_MULTIPLE = 64
# An object of this many pixels covers half of the smallest anchors, 32 pixels wide; fewer are hardly found.
_SMALL_OBJECT, _USUAL_OBJECT = 20.0, 64.0
_SMALLEST_INPUT, _LARGEST_INPUT = 320, 1344
_MOST_ENLARGED = 2.0
_LEVEL_OF, _CANONICAL = 4, 224.0  # Lin et al. 2017, equation 1
SLOTS_MULTIPLE = 16


class AnchorFit(NamedTuple):
    """How well anchors fit objects.

    Attributes:
        overlap: float [n], the best intersection over union with an anchor.
        level: int [n], index of the pyramid level of that anchor.
    """

    overlap: np.ndarray
    level: np.ndarray


def input_scale(sizes: np.ndarray, img_height: int, img_width: int) -> np.ndarray:
    """Returns by how much each image is resized for the network.

    Args:
        sizes: int [m, 2], height and width of the images.
        img_height: rows of a landscape input.
        img_width: columns of a landscape input.

    Returns:
        float [m, 2], factors of x and y.
    """
    scales = np.empty((len(sizes), 2))
    for index, (height, width) in enumerate(sizes.tolist()):
        fitted = fit_size(height, width, *canvas_for(height, width, img_height, img_width), True)
        scales[index] = fitted[1] / width, fitted[0] / height
    return scales


def fit_anchors(
    boxes: np.ndarray,
    img_height: int,
    img_width: int,
    scales: Sequence[float],
    ratios: Sequence[float],
    strides: Sequence[int],
) -> AnchorFit:
    """Returns the best anchor of each box.

    Args:
        boxes: float [n, 4], x1, y1, x2, y2 in pixels of the input.
        img_height: rows of the input.
        img_width: columns of the input.
        scales: anchor sizes in strides.
        ratios: height / width of anchors.
        strides: of the pyramid levels.
    """
    grid = anchor_grid(img_height, img_width, scales, ratios, strides)
    return _best_anchors(boxes, grid)


def _best_anchors(boxes: np.ndarray, grid: AnchorGrid) -> AnchorFit:
    """Returns the best of the four anchor points around each box's middle, of every level and cell."""
    best, best_level = np.zeros(len(boxes)), np.zeros(len(boxes), np.int64)
    middle = (boxes[:, :2] + boxes[:, 2:]) / 2
    area = (boxes[:, 2:] - boxes[:, :2]).prod(1)
    for index, level in enumerate(grid.levels):
        for right, down in ((0, 0), (0, 1), (1, 0), (1, 1)):
            point = np.floor(middle / level.stride) + np.array([right, down])
            point = point.clip(0, [level.cols - 1, level.rows - 1]) * level.stride
            for cell in level.cells:
                low = np.maximum(boxes[:, :2], point + cell[:2])
                high = np.minimum(boxes[:, 2:], point + cell[2:])
                both = (high - low).clip(0).prod(1)
                overlap = both / np.maximum(area + (cell[2:] - cell[:2]).prod() - both, 1e-12)
                better = overlap > best
                best[better], best_level[better] = overlap[better], index
    return AnchorFit(best, best_level)


def roi_levels(boxes: np.ndarray, lowest: int = 2, highest: int = 5) -> np.ndarray:
    """Returns the pyramid level, 2 to 5, that a box's features come from (Lin et al. 2017, equation 1): int [n]."""
    side = np.sqrt((boxes[:, 2:] - boxes[:, :2]).prod(1).clip(1e-6))
    return np.floor(_LEVEL_OF + np.log2(side / _CANONICAL)).clip(lowest, highest).astype(int)


class SizeAdvice(NamedTuple):
    """A suggested input size; ``tile`` is the side of tiles to cut large images into, 0 where that is not needed."""

    img_height: int
    img_width: int
    tile: int


def suggest_input(sizes: np.ndarray, sides: np.ndarray) -> SizeAdvice:
    """Returns the input size that fits a data set.

    The shape is that of the median image. The scale is the smallest at which nine of ten objects are 20 pixels or
    larger and half of them 64, but images are enlarged no more than twice, and the longer side is 320 to 1344 pixels.

    Args:
        sizes: int [m, 2], height and width of the images.
        sides: float [n], square roots of the objects' areas in pixels of the images.
    """
    long_side, short_side = np.median(sizes.max(1)), np.median(sizes.min(1))
    if len(sides):
        small, usual = np.percentile(sides, [10, 50]).clip(1e-3)
        scale = min(max(_SMALL_OBJECT / small, _USUAL_OBJECT / usual), _MOST_ENLARGED)
    else:
        scale = 1.0
    wanted = long_side * scale
    width = _rounded(np.clip(wanted, _SMALLEST_INPUT, _LARGEST_INPUT))
    height = min(_rounded(width * short_side / long_side), width)
    # what does not fit even so is cut into tiles of a size that is then seen at the scale it needs
    tile = _rounded(_LARGEST_INPUT / 2 / min(scale, 1.0)) if wanted > 1.5 * _LARGEST_INPUT else 0
    return SizeAdvice(height, width, tile)


def suggest_slots(per_image: np.ndarray) -> int:
    """Returns the max_instance_count that every image fits into: a multiple of 16."""
    most = int(per_image.max(initial=1))
    return -(-most // SLOTS_MULTIPLE) * SLOTS_MULTIPLE


def _rounded(side: float) -> int:
    """Returns the next multiple of 64, upwards."""
    return int(-(-side // SIDE_MULTIPLE) * SIDE_MULTIPLE)
