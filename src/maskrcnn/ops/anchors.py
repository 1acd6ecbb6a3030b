"""Anchor boxes of the feature pyramid (Lin et al. 2017, section 4.1; Ren et al. 2015, section 3.1.1)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class AnchorLevel:
    """The anchors of one pyramid level: its cells repeated every ``stride`` pixels on ``rows`` x ``cols`` points.

    Attributes:
        stride: Pixels between neighbouring points.
        rows: Points along the canvas's height.
        cols: Points along its width.
        cells: float64 [k, 4], continuous boxes x1, y1, x2, y2 around the origin.
        first: The index of the level's first anchor among those of all levels.
    """

    stride: int
    rows: int
    cols: int
    cells: np.ndarray
    first: int

    @property
    def size(self) -> int:
        """Number of anchors of this level."""
        return self.rows * self.cols * len(self.cells)


@dataclass(frozen=True)
class AnchorGrid:
    """All anchors of one canvas, known by their regularity instead of box by box."""

    levels: tuple[AnchorLevel, ...]

    @property
    def size(self) -> int:
        """Number of anchors of all levels."""
        return sum(level.size for level in self.levels)

    def boxes(self) -> np.ndarray:
        """Returns every anchor, float32 [A, 4] in pixels, ordered by level, y, x and cell."""
        return np.concatenate([_level_boxes(level) for level in self.levels]).astype(np.float32)


def anchor_grid(
    img_height: int,
    img_width: int,
    scales: Sequence[float],
    ratios: Sequence[float],
    strides: Sequence[int],
    rounding: bool = False,
    convention: str = "continuous",
) -> AnchorGrid:
    """Lays anchors over a canvas of ``img_height`` x ``img_width`` pixels.

    Each level has ceil(img_height / stride) x ceil(img_width / stride) points at (x * stride, y * stride), the top left
    corners of the feature map's cells. Anchors that cross the border stay.

    Args:
        img_height: Of the canvas in pixels.
        img_width: Of the canvas in pixels.
        scales: Roots of the anchors' areas, in strides of their level.
        ratios: Height / width. Each point has an anchor for every scale and then every ratio.
        strides: Pixels per cell of each level.
        rounding: Rounds the corners to whole pixels, as torchvision does.
        convention: "inclusive" makes the anchors of MindSpore's model zoo (``box_coder.py``): around the middle of the
            cell's pixels, (stride - 1) / 2, their last pixels rounded.

    Returns:
        The anchors, as continuous boxes under either convention.
    """
    levels, first = [], 0
    for stride in strides:
        rows, cols = -(-img_height // stride), -(-img_width // stride)
        level = AnchorLevel(stride, rows, cols, _cell_anchors(stride, scales, ratios, rounding, convention), first)
        levels.append(level)
        first += level.size
    return AnchorGrid(tuple(levels))


def _cell_anchors(
    stride: int, scales: Sequence[float], ratios: Sequence[float], rounding: bool, convention: str
) -> np.ndarray:
    """Returns the anchors around the origin, float64 [len(scales) * len(ratios), 4]."""
    side = np.repeat(np.asarray(scales, np.float64) * stride, len(ratios))
    root = np.sqrt(np.tile(np.asarray(ratios, np.float64), len(scales)))
    half_w, half_h = side / root / 2, side * root / 2
    cells = np.stack([-half_w, -half_h, half_w, half_h], axis=1)
    if convention == "inclusive":  # of s pixels the first and the last lie (s - 1) / 2 from the middle
        cells += [stride / 2, stride / 2, stride / 2 - 1, stride / 2 - 1]
    cells = np.round(cells) if rounding else cells
    return cells + np.array([0, 0, 1, 1]) if convention == "inclusive" else cells


def _level_boxes(level: AnchorLevel) -> np.ndarray:
    """Returns the anchors of one level, float64 [rows * cols * k, 4]."""
    y, x = np.mgrid[: level.rows, : level.cols] * level.stride
    points = np.stack([x, y, x, y], axis=-1).reshape(-1, 1, 4)
    return (points + level.cells).reshape(-1, 4)
