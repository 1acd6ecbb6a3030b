"""Tiles: every pixel covered, neighbours overlap as asked, no tile larger than asked or needlessly many."""

from __future__ import annotations

import numpy as np
import pytest

from maskrcnn.ops.tiling import tile_grid, tile_starts


@pytest.mark.parametrize("length", [1, 63, 64, 65, 100, 129, 1000, 4001])
@pytest.mark.parametrize("overlap", [0.0, 0.2, 0.5, 0.99])
def test_tiles_cover_a_side_with_the_overlap_asked_for(length: int, overlap: float):
    tile = 64
    starts = tile_starts(length, tile, overlap)
    covered = np.zeros(length, int)
    for start in starts:
        assert 0 <= start <= max(length - tile, 0)
        covered[start : start + tile] += 1
    assert covered.min() >= 1
    shared = [tile - (b - a) for a, b in zip(starts, starts[1:])]
    # starts are whole pixels, so that one of two neighbours may lose one
    assert min(shared, default=tile) >= round(tile * overlap) - 1
    fewest = 1 if length <= tile else 1 + -(-(length - tile) // max(tile - round(tile * overlap), 1))
    assert len(starts) == fewest


def test_grid_is_row_by_row_and_no_larger_than_the_image():
    assert tile_grid(50, 80, 100, 0.2) == [(0, 0, 80, 50)]
    grid = tile_grid(150, 80, 100, 0.2)
    assert grid == [(0, 0, 80, 100), (0, 50, 80, 150)]
    assert len(tile_grid(1000, 1000, 512, 0.2)) == 9
