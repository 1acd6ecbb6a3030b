"""Detections on the tiles of a large image, merged to those of the image.

Neighbouring tiles overlap, so an object there is found on both. Where both tiles look, they see the same pixels: two
detections of one class on different tiles are one object if their masks agree *on the part that the tiles have in
common*, however much of the object either tile shows. A detection that ends at an inner border of its tile is cut. A
whole one stands for all that agree with it; cut ones that agree are parts of an object larger than a tile's overlap,
and are united.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from pycocotools import mask as coco_mask

from maskrcnn.ops.tiling import Tile

# From this intersection over union on the common part two masks are those of one object; likewise a cut mask of which
# this share lies within another. Two objects of one class hardly ever share as much, and masks of one object of ten
# pixels do, even if they are two pixels apart.
_AGREEMENT = 0.4
_BORDER = 0.01  # of a tile's side: a detection that comes so near to an inner border is cut by it
_LEAST_BORDER = 2.0  # pixels


class TileObjects(NamedTuple):
    """What was found on one tile, in pixels of the tile.

    Attributes:
        tile: where the tile lies in the image.
        boxes: float [n, 4], x1, y1, x2, y2.
        scores: float [n].
        labels: int [n].
        rles: n COCO RLEs of the tile's size.
    """

    tile: Tile
    boxes: np.ndarray
    scores: np.ndarray
    labels: np.ndarray
    rles: Sequence[dict[str, Any]]


class MergedObjects(NamedTuple):
    """What was found in the whole image, best score first; see :class:`TileObjects`."""

    boxes: np.ndarray
    scores: np.ndarray
    labels: np.ndarray
    rles: list[dict[str, Any]]


def merge_tiles(found: Sequence[TileObjects], height: int, width: int) -> MergedObjects:
    """Merges the detections on the tiles of an image.

    Args:
        found: what was found on each tile.
        height: rows of the image.
        width: columns of the image.

    Returns:
        The objects of the image, with masks of its size.
    """
    pieces = [_Piece.of(part, index, height, width) for part in found for index in range(len(part.scores))]
    # whole ones first: they stand for the cut ones that agree with them
    pieces.sort(key=lambda piece: (piece.cut, -piece.score))
    kept: list[_Object] = []
    boxes = np.empty((len(pieces), 4))
    for piece in pieces:
        near = np.flatnonzero(_touch(boxes[: len(kept)], piece.box))
        same = [kept[i] for i in near if kept[i].members and kept[i].agrees(piece)]
        if not same:
            kept.append(_Object(piece))
            boxes[len(kept) - 1] = piece.box
            continue
        first = same[0]
        if piece.cut and first.cut:  # parts of one object; this one may join others that did not meet
            for other in same[1:]:
                first.take(other)
            first.members.append(piece)
            boxes[kept.index(first)] = first.box
    objects = sorted((item for item in kept if item.members), key=lambda item: -item.score)
    return MergedObjects(
        np.array([item.box for item in objects], np.float32).reshape(-1, 4),
        np.array([item.score for item in objects], np.float32),
        np.array([item.label for item in objects], np.int32),
        [item.rle(height, width) for item in objects],
    )


class _Piece(NamedTuple):
    """One detection on one tile, in pixels of the image; its mask only within its own bounds."""

    tile: Tile
    box: tuple[float, float, float, float]
    score: float
    label: int
    cut: bool
    left: int
    top: int
    mask: np.ndarray

    @classmethod
    def of(cls, part: TileObjects, index: int, height: int, width: int) -> _Piece:
        """Returns a detection on a tile."""
        tile, rle = part.tile, part.rles[index]
        x, y, columns, rows = (int(value) for value in coco_mask.toBbox(rle))
        mask = coco_mask.decode(rle)[y : y + rows, x : x + columns].astype(bool)
        x1, y1, x2, y2 = (float(value) for value in part.boxes[index])
        box = (x1 + tile.left, y1 + tile.top, x2 + tile.left, y2 + tile.top)
        near = max(_LEAST_BORDER, _BORDER * max(tile.right - tile.left, tile.bottom - tile.top))
        cut = (
            (tile.left > 0 and box[0] - tile.left <= near)
            or (tile.top > 0 and box[1] - tile.top <= near)
            or (tile.right < width and tile.right - box[2] <= near)
            or (tile.bottom < height and tile.bottom - box[3] <= near)
        )
        score, label = float(part.scores[index]), int(part.labels[index])
        return cls(tile, box, score, label, cut, x + tile.left, y + tile.top, mask)

    def within(self, region: Tile) -> np.ndarray:
        """Returns the mask on a region of the image: bool [h, w]."""
        full = np.zeros((region.bottom - region.top, region.right - region.left), bool)
        rows, columns = self.mask.shape
        top, left = max(self.top, region.top), max(self.left, region.left)
        bottom, right = min(self.top + rows, region.bottom), min(self.left + columns, region.right)
        if bottom > top and right > left:
            full[top - region.top : bottom - region.top, left - region.left : right - region.left] = self.mask[
                top - self.top : bottom - self.top, left - self.left : right - self.left
            ]
        return full

    def agrees(self, other: _Piece) -> bool:
        """Tells whether both are one object, seen from different tiles."""
        if self.label != other.label or self.tile == other.tile:
            return False
        region = Tile(
            max(self.tile.left, other.tile.left),
            max(self.tile.top, other.tile.top),
            min(self.tile.right, other.tile.right),
            min(self.tile.bottom, other.tile.bottom),
        )
        if region.right <= region.left or region.bottom <= region.top:
            return False
        mine, theirs = self.within(region), other.within(region)
        both = np.count_nonzero(mine & theirs)
        if not both:
            return False
        if both >= _AGREEMENT * np.count_nonzero(mine | theirs):
            return True
        areas = [np.count_nonzero(piece.mask) for piece in (self, other) if piece.cut]
        return any(both >= _AGREEMENT * area for area in areas)


class _Object:
    """One object of the image: a whole detection, or cut ones that make it up."""

    def __init__(self, piece: _Piece) -> None:
        self.members = [piece]
        self.label = piece.label
        self.cut = piece.cut

    @property
    def score(self) -> float:
        """The best score of its parts."""
        return max(piece.score for piece in self.members)

    @property
    def box(self) -> tuple[float, float, float, float]:
        """The bounds of its parts."""
        boxes = np.array([piece.box for piece in self.members])
        return (*boxes[:, :2].min(0).tolist(), *boxes[:, 2:].max(0).tolist())

    def agrees(self, piece: _Piece) -> bool:
        """Tells whether a detection is this object, or a part of it."""
        return any(member.agrees(piece) for member in self.members)

    def take(self, other: _Object) -> None:
        """Makes the parts of another object parts of this one; the other is empty afterwards."""
        self.members += other.members
        other.members = []

    def rle(self, height: int, width: int) -> dict[str, Any]:
        """Returns the union of the parts as a COCO RLE of the image's size."""
        if len(self.members) == 1:
            (piece,) = self.members
            return bitmap_in_image(piece.mask, piece.left, piece.top, height, width)
        left, top = min(p.left for p in self.members), min(p.top for p in self.members)
        right = max(p.left + p.mask.shape[1] for p in self.members)
        bottom = max(p.top + p.mask.shape[0] for p in self.members)
        bounds = Tile(left, top, right, bottom)
        union = np.logical_or.reduce([piece.within(bounds) for piece in self.members])
        return bitmap_in_image(union, left, top, height, width)


def bitmap_in_image(mask: np.ndarray, left: int, top: int, height: int, width: int) -> dict[str, Any]:
    """Returns the COCO RLE of a mask that lies at ``left``, ``top`` of a larger image.

    The image itself is never drawn: its runs, down the columns, are calculated from those of the mask.

    Args:
        mask: bool [h, w].
        left: column of the image where the mask begins.
        top: row of the image where the mask begins.
        height: rows of the image.
        width: columns of the image.

    Returns:
        ``{"size", "counts"}`` with compressed counts as text.
    """
    padded = np.zeros((mask.shape[0] + 2, mask.shape[1]), np.int8)
    padded[1:-1] = mask
    change = np.diff(padded, axis=0).T  # [w, h + 1]: 1 where a run begins, -1 where it ends
    column, row = np.nonzero(change == 1)
    starts = (column + left) * height + row + top
    column, row = np.nonzero(change == -1)
    ends = (column + left) * height + row + top
    borders = np.stack([starts, ends], axis=1).ravel()
    joined = np.flatnonzero(starts[1:] == ends[:-1])  # a run that goes on at the next column's top
    borders = np.delete(borders, np.concatenate([2 * joined + 1, 2 * joined + 2]))
    counts = np.diff(np.concatenate([[0], borders, [height * width]])).tolist()
    rle = coco_mask.frPyObjects({"size": [height, width], "counts": counts}, height, width)
    return {"size": [height, width], "counts": rle["counts"].decode("ascii")}


def _touch(boxes: np.ndarray, box: Sequence[float]) -> np.ndarray:
    """Returns which of ``boxes`` [n, 4] overlap ``box``: bool [n]."""
    return (boxes[:, 0] < box[2]) & (boxes[:, 2] > box[0]) & (boxes[:, 1] < box[3]) & (boxes[:, 3] > box[1])
