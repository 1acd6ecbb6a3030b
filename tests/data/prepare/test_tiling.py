"""Objects on tiles: exactly the pixels that the tile cuts out of the whole mask."""

from __future__ import annotations

import numpy as np
import pytest
from pycocotools import mask as coco_mask

from maskrcnn.data.formats.geometry import bitmap_to_rle, ellipse
from maskrcnn.data.prepare.checking import CheckedObject
from maskrcnn.data.prepare.tiling import ObjectPixels, objects_in_tile
from maskrcnn.ops.tiling import Tile, tile_grid

HEIGHT, WIDTH = 230, 310


def decode(segmentation, height: int, width: int) -> np.ndarray:
    if isinstance(segmentation, list):
        segmentation = coco_mask.merge(coco_mask.frPyObjects(segmentation, height, width))
    return coco_mask.decode(segmentation) > 0


def polygon_object(*polygons: list[float]) -> CheckedObject:
    mask = decode(list(polygons), HEIGHT, WIDTH)
    points = np.concatenate([np.reshape(p, (-1, 2)) for p in polygons]).clip(0, [WIDTH, HEIGHT])
    box = (*points.min(0).tolist(), *points.max(0).tolist())
    return CheckedObject("x", box, list(polygons), float(mask.sum()))


STAR = [10.5, 20.25, 150.75, 60.5, 290.0, 15.0, 200.0, 110.0, 280.5, 220.0, 150.0, 150.0, 20.0, 215.0, 90.0, 110.0]
OBJECTS = {
    "star": polygon_object(STAR),
    "two parts": polygon_object(ellipse(60, 60, 40, 30), ellipse(230, 170, 50, 45)),
    "over the border": polygon_object([-20.0, -10.0, 100.0, 5.0, 120.0, 260.0, -5.0, 240.0]),
    "rle": CheckedObject(
        "x", (50, 40, 220, 200), bitmap_to_rle(decode([ellipse(135, 120, 85, 80)], HEIGHT, WIDTH)), 21000.0
    ),
}


@pytest.mark.parametrize("name", OBJECTS)
def test_masks_on_tiles_are_the_cut_masks(name: str):
    item = OBJECTS[name]
    whole = decode(item.segmentation, HEIGHT, WIDTH)
    pixels = ObjectPixels(item, HEIGHT, WIDTH)
    seen = np.zeros_like(whole)
    for tile in tile_grid(HEIGHT, WIDTH, 100, 0.2):
        part = pixels.part(tile)
        expected = whole[tile.top : tile.bottom, tile.left : tile.right]
        if part is None:
            assert not expected.any()
            continue
        drawn = decode(part.segmentation, tile.bottom - tile.top, tile.right - tile.left)
        assert np.array_equal(drawn, expected)
        assert part.area == expected.sum()
        rows, columns = np.nonzero(expected)
        assert np.allclose(part.box, (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1), atol=1)
        seen[tile.top : tile.bottom, tile.left : tile.right] |= drawn
    assert np.array_equal(seen, whole)


def test_an_object_within_a_tile_keeps_its_polygons():
    item = polygon_object([110.25, 110.5, 130.0, 112.0, 120.0, 140.0])
    part = ObjectPixels(item, HEIGHT, WIDTH).part(Tile(100, 100, 200, 200))
    assert part.segmentation == [[10.25, 10.5, 30.0, 12.0, 20.0, 40.0]]
    assert part.box == (10.25, 10.5, 30.0, 40.0)


@pytest.mark.parametrize(("right", "kind"), [(50, "whole"), (40, "cut"), (16, "ignored"), (10, None)])
def test_slivers_are_regions_to_ignore(right: int, kind: str | None):
    """A box from 10 to 50: at 40 three quarters are seen, at 16 a seventh, at 10 nothing."""
    tile = Tile(0, 0, right, 100)
    for segmentation in (None, [[10.0, 20.0, 50.0, 20.0, 50.0, 40.0, 10.0, 40.0]]):
        item = CheckedObject("x", (10.0, 20.0, 50.0, 40.0), segmentation, 800.0)
        found = objects_in_tile([ObjectPixels(item, 100, 100)], tile, min_visible=0.25)
        if kind is None:
            assert not found
            continue
        (part,) = found
        assert part.crowd == (kind == "ignored")
        assert part.box == (10.0, 20.0, float(right), 40.0)
        if kind == "ignored":  # a crowd region has a mask in COCO
            drawn = decode(part.segmentation, 100, right)
            assert drawn[20:40, 10:16].all() and drawn.sum() == 20 * 6


def test_crowds_stay_crowds_however_small():
    item = CheckedObject(
        "x", (10.0, 20.0, 50.0, 40.0), bitmap_to_rle(np.pad(np.ones((20, 40)), ((20, 60), (10, 50)))), 800.0, True
    )
    (part,) = objects_in_tile([ObjectPixels(item, 100, 100)], Tile(0, 0, 12, 100), 0.25)
    assert part.crowd and part.area == 40
