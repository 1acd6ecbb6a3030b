"""Ground-truth masks as small crops: what a training step needs of them, without their full size."""

from __future__ import annotations

import numpy as np
from pycocotools import mask as coco_mask

from maskrcnn.data.batches.views import View
from maskrcnn.data.sources.orientation import orient
from maskrcnn.data.sources.sample import Sample
from maskrcnn.errors import DataError

_CUT = 1e-3  # pixels of the photograph, more than the rounding of float32 coordinates


def mask_crop(rle_counts: bytes, height: int, width: int, box: np.ndarray, size: int = 112) -> np.ndarray:
    """Cuts an object's mask out of its box.

    Args:
        rle_counts: compressed COCO RLE of all ``height`` x ``width`` pixels; records hold only such, checked.
        height: rows of the image.
        width: columns of the image.
        box: [4] x1, y1, x2, y2 in the same pixels.
        size: cells along a side.

    Returns:
        uint8 [size, size] of 0 and 1. Cell (i, j) holds the mask at the centre of that cell of the box, so the crop
        does not depend on the size at which the image is shown.

    Raises:
        DataError: the RLE is broken.
    """
    mask = decode_mask(rle_counts, height, width)
    x1, y1, x2, y2 = (float(value) for value in box)
    centre = (np.arange(size) + 0.5) / size
    x = np.clip(np.floor(x1 + centre * (x2 - x1)), 0, width - 1).astype(np.intp)
    y = np.clip(np.floor(y1 + centre * (y2 - y1)), 0, height - 1).astype(np.intp)
    return _take(mask, y, x)


def pixel_crop(rle_counts: bytes, view: View, box: np.ndarray, size: int) -> np.ndarray:
    """Cuts an object's mask out of the canvas, pixel by pixel.

    The cut goes one pixel beyond the pixels that the box touches, as far as the image reaches. Its pixels fill the
    first cells of the crop; if there are more than ``size`` along an axis, evenly spaced ones are taken.
    ``ops/masks.mask_samples`` follows the same rule. A pixel of the canvas has the value of the nearest pixel of the
    photograph.

    Args:
        rle_counts: compressed COCO RLE of the whole photograph.
        view: how the photograph lies on the canvas.
        box: float32 [4] x1, y1, x2, y2 on the canvas.
        size: cells along a side.

    Returns:
        uint8 [size, size] of 0 and 1.

    Raises:
        DataError: the RLE is broken.
    """
    mask = orient(decode_mask(rle_counts, *view.source), view.orientation)
    places = []
    for axis in (0, 1):
        low, high = box[1 - axis], box[3 - axis]
        first, end = max(np.floor(low) - 1, 0), min(np.ceil(high) + 1, view.valid[axis])
        pixels = np.floor(first + (np.arange(size) + 0.5) * max((end - first) / size, 1.0)).astype(np.intp)
        places.append(np.where(pixels < end, view.nearest(axis, pixels), -1))
    y, x = places
    return _take(mask, y, x) * ((y >= 0)[:, None] & (x >= 0))


def visible_boxes(sample: Sample, view: View) -> np.ndarray:
    """Returns the boxes of a sample's objects on the canvas, float64 [n, 4], without extent where nothing is seen.

    An object that the border of the canvas cuts has the box of the part of its mask that is seen, as a smaller object
    there would have; without a mask its box is cut.

    Args:
        sample: the objects.
        view: how their image lies on the canvas.

    Raises:
        DataError: an RLE is broken.
    """
    boxes = view.boxes(sample.boxes)
    if not view.crops:
        return boxes
    seen = view.source_boxes(boxes)
    cut = np.abs(seen - sample.boxes).max(axis=1) > _CUT
    for number in np.flatnonzero(cut & (seen[:, 2:] > seen[:, :2]).all(axis=1) & ~sample.crowd):
        if sample.rles[number] is not None:
            mask = decode_mask(sample.rles[number], sample.height, sample.width)
            tight = mask_box(mask, seen[number])
            boxes[number] = view.boxes(tight[None])[0]
    return boxes


def mask_box(mask: np.ndarray, within: np.ndarray) -> np.ndarray:
    """Returns the box of the pixels of a mask that lie in a box, clipped to it; a box without extent if there are none.

    Args:
        mask: uint8 [h, w].
        within: float [4], x1, y1, x2, y2 in pixels of the mask.

    Returns:
        float64 [4].
    """
    left, top = np.floor(within[:2]).astype(int)
    right, bottom = np.ceil(within[2:]).astype(int)
    part = mask[max(top, 0) : bottom, max(left, 0) : right]
    rows, columns = np.flatnonzero(part.any(axis=1)), np.flatnonzero(part.any(axis=0))
    if not len(rows):
        return np.array([within[0], within[1], within[0], within[1]], np.float64)
    found = np.array([columns[0], rows[0], columns[-1] + 1, rows[-1] + 1], np.float64)
    found += np.array([max(left, 0), max(top, 0)] * 2)
    return np.concatenate([np.maximum(found[:2], within[:2]), np.minimum(found[2:], within[2:])])


def decode_mask(rle_counts: bytes, height: int, width: int) -> np.ndarray:
    """Returns the mask of compressed COCO RLE counts, uint8 [height, width], column-major.

    Raises:
        DataError: the RLE is broken.
    """
    try:
        return coco_mask.decode({"size": [height, width], "counts": rle_counts})
    except (ValueError, TypeError) as error:
        raise DataError(f"a mask is no valid COCO RLE of {height} x {width} pixels ({error})") from error


def _take(mask: np.ndarray, y: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Rows y and columns x; the decoded mask is column-major, so taking columns first copies contiguous runs."""
    return np.ascontiguousarray(mask.T.take(x, axis=0, mode="clip").take(y, axis=1, mode="clip").T)
