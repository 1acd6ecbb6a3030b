"""Shapes of annotation tools as polygons and run-length masks, in continuous pixel coordinates."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from pycocotools import mask as coco_mask

_FARTHEST_CHORD = 0.05  # pixels between a circle and its polygon
_FEWEST_SIDES = 16


def points_to_polygon(points: Any) -> list[float]:
    """Returns ``[[x, y], ...]`` as ``[x, y, ...]``.

    Raises:
        ValueError: it is no list of pairs of finite numbers.
    """
    if not isinstance(points, list) or not all(isinstance(p, (list, tuple)) and len(p) == 2 for p in points):
        raise ValueError("its points are no list of pairs")
    return [number(value) for point in points for value in point]


def number(value: Any) -> float:
    """Returns a finite number, also one written as text.

    Raises:
        ValueError: it is none.
    """
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        raise ValueError(f"{value!r} is no number")
    try:
        result = float(value)
    except (ValueError, OverflowError):
        raise ValueError(f"{str(value)[:40]!r} is no number") from None
    if not math.isfinite(result):
        raise ValueError(f"{value!r} is no finite number")
    return result


def box_of(polygon: Sequence[float]) -> tuple[float, float, float, float]:
    """Returns the bounds x1, y1, x2, y2 of ``[x, y, ...]``."""
    return min(polygon[::2]), min(polygon[1::2]), max(polygon[::2]), max(polygon[1::2])


def rectangle(x1: float, y1: float, x2: float, y2: float) -> list[float]:
    """Returns the corners of a rectangle, whichever of its corners are given."""
    return [x1, y1, x2, y1, x2, y2, x1, y2]


def rotated(polygon: Sequence[float], angle: float, centre: tuple[float, float]) -> list[float]:
    """Returns ``polygon`` rotated about ``centre``, clockwise as the image is seen, by ``angle`` radians."""
    points = np.asarray(polygon, np.float64).reshape(-1, 2) - centre
    cos, sin = math.cos(angle), math.sin(angle)
    return (points @ np.array([[cos, sin], [-sin, cos]]) + centre).ravel().tolist()


def ellipse(cx: float, cy: float, rx: float, ry: float, angle: float = 0.0) -> list[float]:
    """Returns a polygon with the area of an ellipse, nowhere farther than a twentieth of a pixel from it.

    Args:
        cx: column of its centre.
        cy: row of its centre.
        rx: radius along the columns.
        ry: radius along the rows.
        angle: radians by which it is rotated, clockwise as the image is seen.

    Raises:
        ValueError: a radius is not positive.
    """
    if not (rx > 0 and ry > 0):
        raise ValueError(f"its radii {rx:g} and {ry:g} are not both positive")
    # a chord of n sides lies r (1 - cos(pi / n)) inside, about r (pi / n)^2 / 2
    sides = max(_FEWEST_SIDES, math.ceil(math.pi * math.sqrt(max(rx, ry) / (2 * _FARTHEST_CHORD))))
    turns = 2 * math.pi * np.arange(sides) / sides
    grow = math.sqrt(2 * math.pi / (sides * math.sin(2 * math.pi / sides)))  # n-gon and circle have equal areas
    points = np.stack([cx + grow * rx * np.cos(turns), cy + grow * ry * np.sin(turns)], axis=1).ravel().tolist()
    return rotated(points, angle, (cx, cy)) if angle else points


def widened_line(points: Sequence[float], width: float) -> list[list[float]]:
    """Polygons that together cover the line ``[x, y, ...]`` drawn ``width`` pixels wide with round joints."""
    corners = np.asarray(points, np.float64).reshape(-1, 2)
    half = width / 2
    parts = [ellipse(x, y, half, half) for x, y in corners]
    for start, end in zip(corners[:-1], corners[1:]):
        length = float(np.hypot(*(end - start)))
        if length > 0:
            across = np.array([start[1] - end[1], end[0] - start[0]]) * (half / length)
            parts.append(np.concatenate([start + across, end + across, end - across, start - across]).tolist())
    return parts


def bitmap_to_rle(bitmap: np.ndarray) -> dict[str, Any]:
    """Returns a COCO RLE with compressed counts of a mask [h, w]; whatever is not zero belongs to it."""
    rle = coco_mask.encode(np.asfortranarray(bitmap != 0, dtype=np.uint8))
    return {"size": [int(side) for side in rle["size"]], "counts": rle["counts"].decode("ascii")}


def paste_bitmap(bitmap: np.ndarray, top: int, left: int, height: int, width: int) -> np.ndarray:
    """Returns a mask given for a part of the image, in the whole image: bool [height, width].

    Raises:
        ValueError: the part does not lie within the image.
    """
    rows, columns = bitmap.shape
    if top < 0 or left < 0 or top + rows > height or left + columns > width:
        raise ValueError(f"its mask of {columns}x{rows} pixels at {left}, {top} leaves the {width}x{height} image")
    full = np.zeros((height, width), bool)
    full[top : top + rows, left : left + columns] = bitmap != 0
    return full
