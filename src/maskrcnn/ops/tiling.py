"""Tiles that cover a large image, as training data are cut by and detections are made on."""

from __future__ import annotations

from typing import NamedTuple


class Tile(NamedTuple):
    """A part of an image in whole pixels: left, top, and right and bottom, which no longer belong to it."""

    left: int
    top: int
    right: int
    bottom: int


def tile_starts(length: int, tile: int, overlap: float) -> list[int]:
    """Returns where the tiles along one side begin.

    There are as few as cover the side with neighbours that share ``overlap`` of a tile or more. They are spread evenly:
    the first begins at 0 and the last ends at ``length``. A side no longer than a tile has one.

    Args:
        length: pixels of the side.
        tile: pixels of a tile.
        overlap: the share of a tile that neighbours have in common, from 0 to below 1.
    """
    if length <= tile:
        return [0]
    step = max(tile - round(tile * overlap), 1)
    intervals = -(-(length - tile) // step)
    return [round(i * (length - tile) / intervals) for i in range(intervals + 1)]


def tile_grid(height: int, width: int, tile: int, overlap: float) -> list[Tile]:
    """Returns the tiles of an image, row by row; see :func:`tile_starts`."""
    return [
        Tile(left, top, min(left + tile, width), min(top + tile, height))
        for top in tile_starts(height, tile, overlap)
        for left in tile_starts(width, tile, overlap)
    ]
