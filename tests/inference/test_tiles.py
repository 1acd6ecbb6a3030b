"""Detections on tiles: a perfect detector on tiles gives what it gives on the whole image, each object once."""

from __future__ import annotations

import numpy as np
import pytest
from pycocotools import mask as coco_mask

from maskrcnn.inference.tiles import MergedObjects, TileObjects, bitmap_in_image, merge_tiles
from maskrcnn.ops.tiling import Tile, tile_grid

HEIGHT, WIDTH, TILE, OVERLAP = 420, 560, 200, 0.2


def disc(cx: float, cy: float, r: float, height: int = HEIGHT, width: int = WIDTH) -> np.ndarray:
    y, x = np.mgrid[:height, :width] + 0.5
    return np.hypot(x - cx, y - cy) <= r


def scene(seed: int, count: int = 40) -> list[tuple[np.ndarray, int]]:
    """Discs that do not touch one another, some at the tiles' borders, with labels."""
    rng = np.random.default_rng(seed)
    placed: list[tuple[float, float, float]] = []
    for _ in range(2000):
        cx, cy, r = rng.uniform(0, WIDTH), rng.uniform(0, HEIGHT), rng.uniform(4, 18)
        if all(np.hypot(cx - x, cy - y) > r + q + 3 for x, y, q in placed):
            placed.append((cx, cy, r))
        if len(placed) == count:
            break
    return [(disc(*circle), int(rng.integers(1, 4))) for circle in placed]


def bounds(mask: np.ndarray) -> tuple[float, float, float, float]:
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    return float(columns[0]), float(rows[0]), float(columns[-1] + 1), float(rows[-1] + 1)


def encode(mask: np.ndarray) -> dict:
    return coco_mask.encode(np.asfortranarray(mask, dtype=np.uint8))


def detect(objects: list[tuple[np.ndarray, int]], tile: Tile, rng, noise: int = 0, least: int = 6) -> TileObjects:
    """What a detector would find on a tile: the visible part of each object, perhaps with a ragged border."""
    found = []
    for mask, label in objects:
        part = mask[tile.top : tile.bottom, tile.left : tile.right]
        if part.sum() < least:
            continue
        if noise:
            down, right = rng.integers(0, 2 * noise + 1, 2)
            part = np.pad(part, noise)[down : down + part.shape[0], right : right + part.shape[1]]
            part &= rng.random(part.shape) < 0.97
        found.append((bounds(part), rng.uniform(0.5, 1), label, encode(part)))
    if not found:
        return TileObjects(tile, np.zeros((0, 4)), np.zeros(0), np.zeros(0, int), [])
    boxes, scores, labels, rles = zip(*found)
    return TileObjects(tile, np.array(boxes), np.array(scores), np.array(labels), list(rles))


def merged(objects: list[tuple[np.ndarray, int]], noise: int = 0, seed: int = 0) -> MergedObjects:
    rng = np.random.default_rng(seed)
    tiles = tile_grid(HEIGHT, WIDTH, TILE, OVERLAP)
    least = 50 if noise else 6
    return merge_tiles([detect(objects, tile, rng, noise, least) for tile in tiles], HEIGHT, WIDTH)


@pytest.mark.parametrize("seed", range(3))
def test_every_object_is_found_once_and_whole(seed: int):
    """Objects of up to 36 pixels, an overlap of 40: some tile sees each of them whole."""
    objects = scene(seed)
    result = merged(objects)
    assert len(result.scores) == len(objects)
    assert sorted(result.scores, reverse=True) == result.scores.tolist()
    masks = [coco_mask.decode(rle) > 0 for rle in result.rles]
    for mask, label in objects:
        (same,) = [i for i, found in enumerate(masks) if np.array_equal(found, mask)]
        assert result.labels[same] == label
        assert np.allclose(result.boxes[same], bounds(mask))


@pytest.mark.parametrize("seed", range(2))
def test_ragged_masks_that_differ_from_tile_to_tile_are_still_one(seed: int):
    objects = scene(seed, 25)
    result = merged(objects, noise=1, seed=seed)
    truth = [encode(mask) for mask, _ in objects]
    overlaps = coco_mask.iou(result.rles, truth, [0] * len(truth))
    assert len(result.scores) == len(objects)
    assert (overlaps.max(0) > 0.6).all()


@pytest.mark.parametrize(
    "mask",
    [
        disc(280, 210, 150),
        np.pad(np.ones((30, WIDTH), bool), ((190, HEIGHT - 220), (0, 0))),
        np.pad(np.ones((HEIGHT, 25), bool), ((0, 0), (170, WIDTH - 195))),
    ],
    ids=["disc over all tiles", "bar across", "bar down"],
)
def test_an_object_larger_than_a_tile_is_put_together(mask: np.ndarray):
    result = merged([(mask, 2)])
    assert len(result.scores) == 1
    assert np.array_equal(coco_mask.decode(result.rles[0]) > 0, mask)
    assert np.allclose(result.boxes[0], bounds(mask))


def test_touching_objects_of_one_class_stay_two():
    """Two halves of a disc in the middle of the overlap of two tiles."""
    left, right = disc(180, 100, 15), disc(180, 100, 15)
    left[:, 180:] = False
    right[:, :180] = False
    result = merged([(left, 1), (right, 1)])
    assert len(result.scores) == 2


def test_objects_of_two_classes_at_one_place_stay_two():
    assert len(merged([(disc(180, 100, 12), 1), (disc(180, 100, 12), 2)]).scores) == 2


def test_nothing_found_is_nothing():
    result = merged([])
    assert result.boxes.shape == (0, 4) and result.rles == []


@pytest.mark.parametrize("shape", [(1, 1), (7, 5), (60, 40)])
@pytest.mark.parametrize("place", ["corner", "inside", "full height"])
def test_runs_in_the_image_are_those_of_the_drawn_image(shape: tuple[int, int], place: str):
    rng = np.random.default_rng(sum(shape))
    height, width = (shape[0], shape[1] + 3) if place == "full height" else (shape[0] + 9, shape[1] + 4)
    top, left = {"corner": (0, 0), "inside": (5, 2), "full height": (0, 1)}[place]
    for share in (0.0, 0.3, 0.9, 1.0):
        mask = rng.random(shape) < share
        full = np.zeros((height, width), bool)
        full[top : top + shape[0], left : left + shape[1]] = mask
        assert bitmap_in_image(mask, left, top, height, width)["counts"] == encode(full)["counts"].decode()
