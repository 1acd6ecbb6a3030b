"""COCO segmentations, in any of their forms, to compressed run-length counts."""

from __future__ import annotations

from typing import Any

import numpy as np
from pycocotools import mask as mask_util

from maskrcnn.data.sources.report import brief
from maskrcnn.data.sources.scalars import as_integer

# A polygon may leave the image, but the rasteriser's memory grows with the length of its outline, 80 bytes a pixel:
# corners beyond this many times the longer side, and longer outlines, are taken for errors.
_FARTHEST = 8
_LONGEST_OUTLINE = 1 << 22
_FEWEST_POINTS = 3


def encode_segmentation(segmentation: Any, height: int, width: int) -> bytes:
    """Returns the compressed COCO RLE counts of a polygon list, an uncompressed or a compressed RLE.

    Polygons are rasterised by pycocotools and united, so that the mask is the one the COCO metric uses. Polygons of
    fewer than three points are left out as long as another one remains.

    Args:
        segmentation: ``[[x1, y1, x2, y2, ...], ...]`` in pixels, also with points as pairs, ``[[x1, y1], ...]`` for
            one polygon or ``[[[x1, y1], ...], ...]``; ``{"size", "counts": [..]}``; or ``{"size", "counts": "..."}``.
        height: rows of the image.
        width: columns of the image.

    Raises:
        ValueError: it is malformed, fits another image size or covers no pixel; the message says why.
    """
    if isinstance(segmentation, dict):
        return _from_rle(segmentation, height, width)
    if isinstance(segmentation, list):
        return _from_polygons(segmentation, height, width)
    raise ValueError(f"it is a {type(segmentation).__name__}, not a list of polygons or an RLE")


def rle_runs(counts: bytes) -> np.ndarray:
    """Returns the run lengths, int64 [m], of compressed COCO counts: background first, then alternating.

    Each run is a little-endian sequence of 5-bit groups offset by 48 with a continuation bit and a sign; from the
    fourth run on, the difference to the run two before is stored (pycocotools' rleToString).

    Raises:
        ValueError: the bytes are no such sequence. pycocotools itself reads beyond their end.
    """
    groups = np.frombuffer(counts, np.uint8).astype(np.int64) - 48
    if groups.size == 0 or groups.min() < 0 or groups.max() > 63:
        raise ValueError("its counts are no RLE string")
    last = (groups & 32) == 0
    if not last[-1]:
        raise ValueError("its counts are cut off")
    ends = np.flatnonzero(last)
    starts = np.concatenate(([0], ends[:-1] + 1))
    shifts = 5 * (np.arange(groups.size) - np.repeat(starts, ends - starts + 1))
    if shifts.max() > 30:
        raise ValueError("its counts are no RLE string")
    runs = np.add.reduceat((groups & 31) << shifts, starts)
    negative = (groups[ends] & 16) != 0
    runs[negative] -= np.int64(1) << (shifts[ends][negative] + 5)
    # runs 1, 3, 5, ... and 2, 4, 6, ... are two chains of differences
    runs[1::2] = np.cumsum(runs[1::2])
    runs[2::2] = np.cumsum(runs[2::2])
    return runs


def _from_polygons(polygons: list, height: int, width: int) -> bytes:
    if not all(isinstance(polygon, list) for polygon in polygons):
        raise ValueError("its polygons are not lists of coordinates")
    if _are_points(polygons):
        polygons = [polygons]
    polygons = [[v for point in p for v in point] if _are_points(p) else p for p in polygons]
    usable = [p for p in polygons if len(p) >= 2 * _FEWEST_POINTS]
    if any(len(p) % 2 for p in usable):
        raise ValueError("a polygon has an odd number of coordinates")
    if not usable:
        raise ValueError("it has no polygon of three points or more")
    farthest = _FARTHEST * max(height, width)
    for polygon in usable:
        try:
            points = np.asarray(polygon)
        except ValueError:  # lists within the list
            points = np.empty((0, 0))
        if points.ndim != 1 or points.dtype.kind not in "if" or not np.isfinite(points).all():
            raise ValueError("a polygon holds something that is not a number")
        if np.abs(points).max() > farthest:
            raise ValueError(f"a polygon lies far outside the {width}x{height} image")
        if points.size * farthest > _LONGEST_OUTLINE and _outline(points) > _LONGEST_OUTLINE:
            raise ValueError("the outline of a polygon is millions of pixels long")
    rles = mask_util.frPyObjects(usable, height, width)
    rle = mask_util.merge(rles) if len(rles) > 1 else rles[0]
    if mask_util.area(rle) == 0:
        raise ValueError("it covers no pixel")
    return rle["counts"]


def _outline(points: np.ndarray) -> float:
    """The length of a polygon's outline in pixels that a line along it passes."""
    corners = points.reshape(-1, 2)
    return float(np.abs(np.roll(corners, -1, axis=0) - corners).max(axis=1).sum())


def _are_points(values: list) -> bool:
    """Whether these are pairs of numbers, as some tools write the points of a polygon."""
    return len(values) >= _FEWEST_POINTS and all(
        isinstance(pair, list) and len(pair) == 2 and not any(isinstance(v, list) for v in pair) for pair in values
    )


def _from_rle(rle: dict, height: int, width: int) -> bytes:
    size = rle.get("size")
    if not isinstance(size, list) or [as_integer(side) for side in size] != [height, width]:
        raise ValueError(f"its RLE has size {brief(size)}, the image [{height}, {width}]")
    counts = rle.get("counts")
    if isinstance(counts, str):
        compressed = counts.encode("ascii", "replace")
        runs = rle_runs(compressed)
    elif isinstance(counts, list) and counts and all(type(n) is int for n in counts):
        runs = np.array([min(max(n, -1), height * width + 1) for n in counts], np.int64)
        compressed = None
    else:
        raise ValueError("its RLE counts are neither a string nor a list of whole numbers")
    if runs.min() < 0 or runs.sum() != height * width:
        raise ValueError(f"its RLE counts do not add up to {height}x{width} pixels")
    if runs[1::2].sum() == 0:
        raise ValueError("it covers no pixel")
    if compressed is None:
        compressed = mask_util.frPyObjects({"size": [height, width], "counts": counts}, height, width)["counts"]
    return compressed
