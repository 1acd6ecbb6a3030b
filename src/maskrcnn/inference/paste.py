"""Pasting the small masks of detections into the image, and encoding them as COCO RLE.

All arithmetic is float32, one elementwise operation after the other, in the order written here: the C++ app
(``ascend310_infer/src/paste.cpp``) repeats it step by step and so finds the same pixels.

1. Each axis maps its pixels to cells of the mask, which has a ring of one zero cell around it: pixel p lies between
   the cells ``i`` and ``i + 1``, at the fraction ``f`` of the way. How is decided by the paste rule.
2. First down: ``column = a[i] + (a[i + 1] - a[i]) * f`` in y. Then across, ``(b - a) * f + a``, in x between the
   columns a and b. Pixels that no cell reaches are zero.
3. Foreground where the value is at least the threshold, which must be above zero.

Going down first leaves the result column by column, the order in which COCO's RLE runs.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from pycocotools import mask as coco_mask

HALF = np.float32(0.5)


class _Axis(NamedTuple):
    """Where the pixels of one axis fall in the mask with its ring of zero cells.

    start: first pixel with a value. cell: int64 [n], the cell of the ringed mask below pixel start + k.
    fraction: float32 [n], how far the pixel lies from that cell to the next.
    """

    start: int
    cell: np.ndarray
    fraction: np.ndarray


_EMPTY = _Axis(0, np.zeros(0, np.int64), np.zeros(0, np.float32))


def _exact_axis(low: np.float32, high: np.float32, side: int, cells: int) -> _Axis:
    """Maps pixels by their centres: p + 0.5 lies at ``(p + 0.5 - low) / (high - low) * cells - 0.5``.

    This is the position of ``grid_sample(align_corners=False)`` in the box's frame. Pixels at -1 or before, or at
    ``cells`` or beyond, have no value; an empty box has none.
    """
    extent = high - low
    if not extent > 0:
        return _EMPTY
    pixels = np.arange(side, dtype=np.float32)
    with np.errstate(over="ignore"):  # a box of almost no width: positions become infinite and fall outside
        position = (pixels + HALF - low) / extent * np.float32(cells) - HALF
    inside = np.flatnonzero((position > -1) & (position < cells))
    position = position[inside]
    lower = np.floor(position)
    start = int(inside[0]) if len(inside) else 0
    return _Axis(start, lower.astype(np.int64) + 1, position - lower)


def _torchvision_axis(low: np.float32, high: np.float32, side: int, cells: int) -> _Axis:
    """Follows torchvision's ``paste_mask_in_image``: the ringed mask fills the enlarged box, cut to whole pixels."""
    padded = cells + 2
    half_extent = (high - low) * HALF * np.float32(padded / cells)
    centre = (high + low) * HALF
    first, last = int(centre - half_extent), int(centre + half_extent)
    count = max(last - first + 1, 1)
    start, stop = max(first, 0), min(last + 1, side)
    steps = np.arange(start - first, max(stop - first, start - first), dtype=np.float32)
    position = np.maximum((steps + HALF) * np.float32(padded / count) - HALF, np.float32(0))
    lower = np.minimum(np.floor(position), np.float32(padded - 2))
    fraction = np.minimum(position - lower, np.float32(1))  # beyond the last cell's centre: that cell's value
    return _Axis(start, lower.astype(np.int64), fraction)


def _mindspore_zoo_axis(low: np.float32, high: np.float32, side: int, cells: int) -> _Axis:
    """Follows MindSpore's model zoo: the mask fills the pixels from int(low) to int(high), both included.

    It ends sharply there: at the border the outermost cells continue. What would leave the image is squeezed into it.
    """
    first = max(int(low), 0)
    count = min(max(int(high) - first + 1, 1), side - first)
    if count <= 0:
        return _EMPTY
    position = (np.arange(count, dtype=np.float32) + HALF) * np.float32(cells / count) - HALF
    position = np.clip(position, np.float32(0), np.float32(cells - 1))
    lower = np.floor(position)
    return _Axis(first, lower.astype(np.int64) + 1, position - lower)


_AXES = {"exact": _exact_axis, "torchvision": _torchvision_axis, "mindspore_zoo": _mindspore_zoo_axis}
PASTE_RULES = tuple(_AXES)


class PastedMask(NamedTuple):
    """The pixels that a mask reaches: float32 [w, h], column by column, the first one at (x, y) of the image."""

    x: int
    y: int
    columns: np.ndarray


def paste_mask(mask: np.ndarray, box: np.ndarray, height: int, width: int, rule: str = "exact") -> PastedMask:
    """Interpolates a mask over the pixels of an image that it reaches from its box.

    Args:
        mask: float32 [m, m], probabilities in the frame of the box.
        box: float32 [4], x1, y1, x2, y2 in pixels of the image.
        height: rows of the image.
        width: columns of the image.
        rule: ``exact`` pastes at the box's own coordinates, as detectron2 does. ``torchvision`` and ``mindspore_zoo``
            repeat what is done there, for weights that were evaluated that way; perfect masks lose 0.06 AP by
            torchvision's rule.

    Returns:
        The probabilities, and where they lie.
    """
    axis = _AXES[rule]
    x1, y1, x2, y2 = np.asarray(box, np.float32)
    across = axis(x1, x2, width, mask.shape[1])
    down = axis(y1, y2, height, mask.shape[0])
    ringed = np.pad(np.asarray(mask, np.float32), 1)
    upper, lower = ringed[down.cell], ringed[down.cell + 1]
    rows = upper + (lower - upper) * down.fraction[:, None]  # [h, m + 2]
    columns = np.ascontiguousarray(rows.T)
    values = (columns[1:] - columns[:-1])[across.cell]  # [w, h]
    values *= across.fraction[:, None]
    values += columns[across.cell]
    return PastedMask(across.start, down.start, values)


def encode_masks(
    masks: np.ndarray, boxes: np.ndarray, height: int, width: int, threshold: float = 0.5, rule: str = "exact"
) -> list[dict[str, Any]]:
    """Pastes n masks and encodes the pixels of at least ``threshold``.

    Only the columns that a mask reaches are looked at, so the cost follows the objects, not the image.

    Args:
        masks: float32 [n, m, m], probabilities.
        boxes: float32 [n, 4], x1, y1, x2, y2 in pixels of the image.
        height: rows of the image.
        width: columns of the image.
        threshold: lowest probability of a foreground pixel, above zero.
        rule: how masks are pasted, one of ``PASTE_RULES``; see ``paste_mask``.

    Returns:
        n compressed COCO RLEs of size [height, width].
    """
    rles = []
    for mask, box in zip(masks, boxes):
        x, y, values = paste_mask(mask, box, height, width, rule)
        # One zero before and one behind the columns: every run of ones then has two edges.
        framed = np.zeros(values.shape[0] * height + 2, bool)
        columns = framed[1:-1].reshape(-1, height)
        columns[:, y : y + values.shape[1]] = values >= np.float32(threshold)
        edges = np.flatnonzero(framed[1:] != framed[:-1]) + x * height
        counts = np.diff(edges, prepend=0, append=height * width)  # zeros, ones, zeros, ...
        if len(counts) > 1 and counts[-1] == 0:
            counts = counts[:-1]  # the image ends in ones
        uncompressed = {"counts": counts.tolist(), "size": [height, width]}
        rles.append(coco_mask.frPyObjects(uncompressed, height, width))
    return rles
