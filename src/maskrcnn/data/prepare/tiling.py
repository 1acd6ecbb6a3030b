"""Large images cut into tiles, with what each tile shows of the objects."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from pycocotools import mask as coco_mask

from maskrcnn.data.formats.geometry import bitmap_to_rle
from maskrcnn.data.prepare.checking import CheckedObject
from maskrcnn.ops.tiling import Tile

_NARROWEST = 2.0  # pixels of the smaller side of a part that is still an object


def objects_in_tile(objects: Sequence[ObjectPixels], tile: Tile, min_visible: float) -> list[CheckedObject]:
    """Returns the objects of a tile, in its own pixels.

    An object that is cut by the tile's border keeps its part inside. A sliver, less than ``min_visible`` of the object
    or narrower than two pixels, is too little to learn from and too much to be background: it becomes a region to
    ignore.

    Args:
        objects: the objects of the whole image.
        tile: the tile.
        min_visible: the least share of an object's area that makes its part an object.
    """
    found = []
    for item in objects:
        part = item.part(tile)
        if part is None:
            continue
        share = part.area / item.object.area if item.object.area else 1.0
        sides = part.box[2] - part.box[0], part.box[3] - part.box[1]
        if not part.crowd and share < 1 and (share < min_visible or min(sides) < _NARROWEST):
            part = _ignored(part, tile)
        found.append(part)
    return found


class ObjectPixels:
    """An object of a large image with the pixels of its mask, kept only where they are."""

    def __init__(self, item: CheckedObject, height: int, width: int) -> None:
        self.object = item
        self._left = self._top = 0
        self._pixels: np.ndarray | None = None
        if item.segmentation is not None:
            self._pixels = self._rasterised(item.segmentation, height, width)

    def _rasterised(self, segmentation: Any, height: int, width: int) -> np.ndarray:
        """Returns the mask within its own bounds, uint8, and notes where they begin.

        Polygons are drawn in the frame of their bounds, so that a large image with many objects takes neither the
        memory nor the time of as many masks of its size.
        """
        if isinstance(segmentation, dict):
            x, y, columns, rows = (int(value) for value in coco_mask.toBbox(segmentation))
            self._left, self._top = x, y
            return coco_mask.decode(segmentation)[y : y + rows, x : x + columns]
        points = np.concatenate([np.reshape(polygon, (-1, 2)) for polygon in segmentation])
        low = np.floor(points.min(0)).clip(0, [width - 1, height - 1]).astype(int)
        high = np.ceil(points.max(0)).clip(low + 1, [width, height]).astype(int)
        self._left, self._top = int(low[0]), int(low[1])
        shifted = [(np.reshape(polygon, (-1, 2)) - low).ravel().tolist() for polygon in segmentation]
        rles = coco_mask.frPyObjects(shifted, int(high[1] - low[1]), int(high[0] - low[0]))
        return coco_mask.decode(coco_mask.merge(rles))

    def part(self, tile: Tile) -> CheckedObject | None:
        """Returns what a tile shows of the object, in the tile's pixels; None where it shows nothing."""
        box = self.object.box
        shift = np.array([tile.left, tile.top] * 2, float)
        low = np.maximum(box[:2], tile[:2])
        high = np.minimum(box[2:], tile[2:])
        if (high <= low).any():
            return None
        inside = bool((low == box[:2]).all() and (high == box[2:]).all())
        if self._pixels is None:
            corners = np.concatenate([low, high])
            area = float(np.prod(high - low))
            return replace(self.object, box=_rounded(corners - shift), area=area)
        pixels = self._within(tile)
        area = float(pixels.sum())
        if not area:
            return None
        if inside and area == self._pixels.sum():
            return replace(self.object, box=_rounded(np.array(box) - shift), segmentation=self._shifted(tile, pixels))
        rle = bitmap_to_rle(pixels)
        x, y, width, height = coco_mask.toBbox(rle).tolist()
        return replace(self.object, box=(x, y, x + width, y + height), segmentation=rle, area=area)

    def _within(self, tile: Tile) -> np.ndarray:
        """Returns the mask on a tile, uint8 [h, w]."""
        full = np.zeros((tile.bottom - tile.top, tile.right - tile.left), np.uint8)
        rows, columns = self._pixels.shape
        top, left = max(self._top, tile.top), max(self._left, tile.left)
        bottom, right = min(self._top + rows, tile.bottom), min(self._left + columns, tile.right)
        if bottom > top and right > left:
            full[top - tile.top : bottom - tile.top, left - tile.left : right - tile.left] = self._pixels[
                top - self._top : bottom - self._top, left - self._left : right - self._left
            ]
        return full

    def _shifted(self, tile: Tile, pixels: np.ndarray) -> Any:
        """Returns the segmentation of an object that lies within a tile as a whole."""
        if isinstance(self.object.segmentation, dict):
            return bitmap_to_rle(pixels)
        offset = [tile.left, tile.top]
        return [_rounded((np.reshape(polygon, (-1, 2)) - offset).ravel()) for polygon in self.object.segmentation]


def _ignored(part: CheckedObject, tile: Tile) -> CheckedObject:
    """Returns a region to ignore in place of ``part``; COCO wants it as an RLE."""
    if isinstance(part.segmentation, dict):
        return replace(part, crowd=True)
    height, width = tile.bottom - tile.top, tile.right - tile.left
    pixels = np.zeros((height, width), np.uint8)
    x1, y1, x2, y2 = part.box
    pixels[math.floor(y1) : math.ceil(y2), math.floor(x1) : math.ceil(x2)] = 1
    return replace(part, segmentation=bitmap_to_rle(pixels), crowd=True)


def _rounded(values: np.ndarray) -> Any:
    rounded = [round(float(value), 3) for value in values]
    return tuple(rounded) if len(rounded) == 4 else rounded


def tile_name(stem: str, tile: Tile, suffix: str) -> str:
    """Returns the file name of a tile."""
    return f"{stem}_x{tile.left}_y{tile.top}{suffix}"


def cut(pixels: np.ndarray, tiles: Sequence[Tile]) -> Iterator[np.ndarray]:
    """Yields the pixels of each tile of an image [h, w, ...]."""
    for tile in tiles:
        yield pixels[tile.top : tile.bottom, tile.left : tile.right]
