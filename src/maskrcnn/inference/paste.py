"""Paste the small masks of detections into the image, and encode them as COCO RLE.

All arithmetic is float32, one elementwise operation after the other, in the order written here: the C++ app
repeats it step by step and so gets the same pixels.

1. Along each axis, pixel p with its centre at p + 0.5 lies at ``u = (p + 0.5 - lo) / (hi - lo) * m - 0.5``
   cells of the mask. This is ``grid_sample(align_corners=False)``'s position in the box's frame.
2. The mask is zero outside its m x m cells, so pixels with ``u <= -1`` or ``u >= m`` on either axis are zero;
   the others lie between the cells ``i = floor(u)`` and i + 1, at ``f = u - i``.
3. First down: ``column = a[i] + (a[i + 1] - a[i]) * f`` in y. Then across, ``(b - a) * f + a``, in x
between the
   columns a and b.
4. Foreground where the value is at least the threshold, which must be above zero.

Going down first leaves the result column by column, the order in which COCO's RLE runs.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from pycocotools import mask as coco_mask

HALF = np.float32(0.5)


class _Axis(NamedTuple):
    """Where the pixels of one axis fall in the mask that is padded with a ring of one zero cell.

    start: first pixel with a value. cell: int64 [n], the padded cell below pixel start + k.
    fraction: float32 [n], how far the pixel lies from that cell to the next.
    """

    start: int
    cell: np.ndarray
    fraction: np.ndarray


def _float_axis(low: np.float32, high: np.float32, side: int, cells: int) -> _Axis:
    """Steps 1 and 2 for the pixels 0..side-1 and a box from ``low`` to ``high``; an empty box has none."""
    extent = high - low
    if not extent > 0:
        return _Axis(0, np.zeros(0, np.int64), np.zeros(0, np.float32))
    pixels = np.arange(side, dtype=np.float32)
    with np.errstate(over="ignore"):  # a box of almost no width: positions become infinite and fall outside
        position = (pixels + HALF - low) / extent * np.float32(cells) - HALF
    inside = np.flatnonzero((position > -1) & (position < cells))
    position = position[inside]
    lower = np.floor(position)
    start = int(inside[0]) if len(inside) else 0
    return _Axis(start, lower.astype(np.int64) + 1, position - lower)


def _integer_axis(low: np.float32, high: np.float32, side: int, cells: int) -> _Axis:
    """torchvision's rule: the padded mask is resized to the equally padded box, cut to whole pixels."""
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


def _inclusive_axis(low: np.float32, high: np.float32, side: int, cells: int) -> _Axis:
    """The MindSpore model zoo's rule: the mask is resized to the pixels from int(low) to int(high), both included.

    It ends sharply there: at the border the outermost cells continue. What would leave the image is squeezed into it.
    """
    first = max(int(low), 0)
    count = min(max(int(high) - first + 1, 1), side - first)
    if count <= 0:
        return _Axis(0, np.zeros(0, np.int64), np.zeros(0, np.float32))
    position = (np.arange(count, dtype=np.float32) + HALF) * np.float32(cells / count) - HALF
    position = np.clip(position, np.float32(0), np.float32(cells - 1))
    lower = np.floor(position)
    return _Axis(first, lower.astype(np.int64) + 1, position - lower)


def _paste_columns(
    mask: np.ndarray, box: np.ndarray, height: int, width: int, integer_boxes: bool, inclusive: bool
) -> tuple[int, int, np.ndarray]:
    """Interpolate one mask over the pixels it reaches.

    Returns x and y of the first pixel and the values as float32 [w, h], columns first.
    """
    axis = _inclusive_axis if inclusive else _integer_axis if integer_boxes else _float_axis
    x1, y1, x2, y2 = np.asarray(box, np.float32)
    across = axis(x1, x2, width, mask.shape[1])
    down = axis(y1, y2, height, mask.shape[0])
    padded = np.pad(np.asarray(mask, np.float32), 1)
    upper, lower = padded[down.cell], padded[down.cell + 1]
    rows = upper + (lower - upper) * down.fraction[:, None]  # [h, m + 2]
    columns = np.ascontiguousarray(rows.T)
    values = (columns[1:] - columns[:-1])[across.cell]  # [w, h]
    values *= across.fraction[:, None]
    values += columns[across.cell]
    return across.start, down.start, values


def paste_probabilities(
    mask: np.ndarray,
    box: np.ndarray,
    height: int,
    width: int,
    integer_boxes: bool = False,
    inclusive: bool = False,
) -> np.ndarray:
    """Paste one mask of probabilities, float32 [m, m], at box xyxy in pixels: float32 [height, width]."""
    x, y, values = _paste_columns(mask, box, height, width, integer_boxes, inclusive)
    image = np.zeros((height, width), np.float32)
    image[y : y + values.shape[1], x : x + values.shape[0]] = values.T
    return image


def paste_masks(
    masks: np.ndarray,
    boxes: np.ndarray,
    height: int,
    width: int,
    threshold: float = 0.5,
    integer_boxes: bool = False,
    inclusive: bool = False,
) -> np.ndarray:
    """Paste n masks, float32 [n, m, m], at boxes float32 [n, 4] xyxy in pixels.

    Returns uint8 [n, height, width] of 0 and 1. ``integer_boxes`` follows torchvision, for weights that were
    judged that way; perfect masks lose 0.06 AP by it. ``inclusive`` follows MindSpore's model zoo, whose boxes end
    with their last pixel.
    """
    pasted = np.zeros((len(masks), width, height), np.uint8)
    for image, mask, box in zip(pasted, masks, boxes):
        x, y, values = _paste_columns(mask, box, height, width, integer_boxes, inclusive)
        image[x : x + values.shape[0], y : y + values.shape[1]] = values >= np.float32(threshold)
    return pasted.transpose(0, 2, 1)


def encode_masks(
    masks: np.ndarray,
    boxes: np.ndarray,
    height: int,
    width: int,
    threshold: float = 0.5,
    integer_boxes: bool = False,
    inclusive: bool = False,
) -> list[dict[str, Any]]:
    """Paste n masks as ``paste_masks`` does and return compressed COCO RLEs of size [height, width].

    Only the columns a mask reaches are looked at, so the cost follows the objects, not the image.
    """
    rles = []
    for mask, box in zip(masks, boxes):
        x, y, values = _paste_columns(mask, box, height, width, integer_boxes, inclusive)
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
