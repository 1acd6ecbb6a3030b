"""Ground-truth masks as small crops: what a training step needs of them, without their full size."""

from __future__ import annotations

import numpy as np
from pycocotools import mask as coco_mask

from maskrcnn.data.batches.transforms import View
from maskrcnn.errors import DataError


def mask_crop(rle_counts: bytes, height: int, width: int, box: np.ndarray, size: int = 112) -> np.ndarray:
    """Cut an object's mask out of its box: uint8 [size, size] of 0 and 1.

    rle_counts: compressed COCO RLE of all ``height`` x ``width`` pixels; records hold only such, checked.
    box: [4] x1, y1, x2, y2 in the same pixels. Cell (i, j) holds the mask at the centre of that cell of the
    box, so the crop does not depend on the size at which the image is shown. Raises DataError for a broken
    RLE.
    """
    mask = _decode(rle_counts, height, width)
    x1, y1, x2, y2 = (float(value) for value in box)
    centre = (np.arange(size) + 0.5) / size
    x = np.clip(np.floor(x1 + centre * (x2 - x1)), 0, width - 1).astype(np.intp)
    y = np.clip(np.floor(y1 + centre * (y2 - y1)), 0, height - 1).astype(np.intp)
    return _take(mask, y, x)


def pixel_crop(rle_counts: bytes, view: View, box: np.ndarray, size: int) -> np.ndarray:
    """Cut an object's mask out of the canvas, pixel by pixel: uint8 [size, size] of 0 and 1.

    box: float32 [4] on the canvas. The cut goes one pixel beyond the pixels that the box touches, as far as the
    image reaches. Its pixels fill the first cells of the crop; if there are more than ``size`` along an axis, evenly
    spaced ones are taken. ``ops/masks.mask_samples`` follows the same rule. A pixel of the canvas has the value of the
    nearest pixel of the photograph. Raises DataError for a broken RLE.
    """
    height, width = view.source
    mask = _decode(rle_counts, height, width)
    places = []
    for axis in (0, 1):
        low, high = box[1 - axis], box[3 - axis]
        first, end = max(np.floor(low) - 1, 0), min(np.ceil(high) + 1, view.valid[axis])
        pixels = np.floor(first + (np.arange(size) + 0.5) * max((end - first) / size, 1.0)).astype(np.intp)
        places.append(np.where(pixels < end, view.nearest(axis, pixels), -1))
    y, x = places
    return _take(mask, y, x) * ((y >= 0)[:, None] & (x >= 0))


def _decode(rle_counts: bytes, height: int, width: int) -> np.ndarray:
    try:
        return coco_mask.decode({"size": [height, width], "counts": rle_counts})
    except (ValueError, TypeError) as error:
        raise DataError(f"a mask is no valid COCO RLE of {height} x {width} pixels ({error})") from error


def _take(mask: np.ndarray, y: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Rows y and columns x; the decoded mask is column-major, so taking columns first copies contiguous runs."""
    return np.ascontiguousarray(mask.T.take(x, axis=0, mode="clip").take(y, axis=1, mode="clip").T)
