"""Segmentations to run-length counts, against pycocotools and against masks drawn by hand."""

from __future__ import annotations

import numpy as np
import pytest
from pycocotools import mask as mask_util

from maskrcnn.data.sources.segmentation import encode_segmentation, rle_runs

HEIGHT, WIDTH = 37, 53


def decode(counts: bytes) -> np.ndarray:
    return mask_util.decode({"size": [HEIGHT, WIDTH], "counts": counts})


def runs_of(mask: np.ndarray) -> list[int]:
    """Run lengths of a column-major mask, counted one pixel after the other."""
    runs, value = [0], 0
    for pixel in mask.ravel(order="F"):
        if pixel != value:
            runs.append(0)
            value = pixel
        runs[-1] += 1
    return runs


def random_mask(seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    mask = (rng.random((HEIGHT, WIDTH)) < rng.choice([0.02, 0.5, 0.98])).astype(np.uint8)
    mask[0, 0] = seed % 2  # starting with either value
    mask[5, 5] = 1
    return mask


@pytest.mark.parametrize("seed", range(8))
def test_runs_of_random_masks(seed):
    mask = random_mask(seed)
    counts = mask_util.encode(np.asfortranarray(mask))["counts"]
    assert rle_runs(counts).tolist() == runs_of(mask)
    for form in (counts.decode(), runs_of(mask)):
        found = encode_segmentation({"size": [HEIGHT, WIDTH], "counts": form}, HEIGHT, WIDTH)
        np.testing.assert_array_equal(decode(found), mask)


def test_polygons_are_united_and_short_ones_left_out():
    square = [2, 3, 12, 3, 12, 13, 2, 13]
    other = [8.0, 8.0, 30.0, 8.0, 30.0, 20.0, 8.0, 20.0]
    found = decode(encode_segmentation([square, [1, 1, 2, 2], other, [1, 2, 3]], HEIGHT, WIDTH))
    expected = np.zeros((HEIGHT, WIDTH), np.uint8)
    expected[3:13, 2:12] = 1
    expected[8:20, 8:30] = 1
    np.testing.assert_array_equal(found, expected)


def test_points_as_pairs_are_polygons():
    flat = [8.0, 8.0, 30.0, 8.0, 30.0, 20.0, 8.0, 20.0]
    pairs = [[8.0, 8.0], [30.0, 8.0], [30.0, 20.0], [8.0, 20.0]]
    other = [2, 3, 12, 3, 12, 13, 2, 13]
    assert encode_segmentation(pairs, HEIGHT, WIDTH) == encode_segmentation([flat], HEIGHT, WIDTH)
    assert encode_segmentation([pairs, other], HEIGHT, WIDTH) == encode_segmentation([flat, other], HEIGHT, WIDTH)


def test_the_size_of_an_rle_may_be_written_as_text_or_float():
    counts = [10, 20, ALL - 30]
    expected = encode_segmentation({"size": [HEIGHT, WIDTH], "counts": counts}, HEIGHT, WIDTH)
    for size in ([str(HEIGHT), str(WIDTH)], [float(HEIGHT), float(WIDTH)]):
        assert encode_segmentation({"size": size, "counts": counts}, HEIGHT, WIDTH) == expected


def test_polygons_that_leave_the_image_are_cut():
    found = decode(encode_segmentation([[-20, -20, 200, -20, 200, 10, -20, 10]], HEIGHT, WIDTH))
    assert found[:10].all() and not found[10:].any()


def test_equals_pycocotools_on_random_polygons():
    rng = np.random.default_rng(3)
    for _ in range(50):
        polygons = [(rng.random(2 * rng.integers(3, 9)) * 50).tolist() for _ in range(rng.integers(1, 4))]
        rle = mask_util.merge(mask_util.frPyObjects(polygons, HEIGHT, WIDTH))
        if mask_util.area(rle):
            assert encode_segmentation(polygons, HEIGHT, WIDTH) == rle["counts"]


SIZE = {"size": [HEIGHT, WIDTH]}
ALL = HEIGHT * WIDTH


@pytest.mark.parametrize(
    ("segmentation", "message"),
    [
        ([[]], "three points"),
        ([[1, 2, 3, 4]], "three points"),
        ([[1, 2, 3, 4, 5, 6, 7]], "odd number of coordinates"),
        ([[1, 2, 9, 2, 9, 9], [1, 2, 3, 4, 5, 6, 7]], "odd number of coordinates"),
        ([[5, 5, 5, 5, 5, 5]], "covers no pixel"),
        ([[1, 1, 9, 1, 5, 1]], "covers no pixel"),
        ([[-9, -9, -5, -9, -5, -5]], "covers no pixel"),
        ([1, 2, 3, 4, 5, 6], "not lists"),
        ([[1, 2, 3, 4, 5, float("nan")]], "not a number"),
        ([[1, 2, 3, 4, 5, "6"]], "not a number"),
        ([[1, 2, 3, 4, 5, None]], "not a number"),
        ([[[1, 2], [3, 4], [5, 6], [7], 8, 9]], "not a number"),
        ([[1, 2, 3, 4, 5, 10**400]], "not a number"),
        ([[1, 1, 1e9, 1, 1e9, 1e9]], "far outside"),
        ("1,2,3", "not a list"),
        (7, "not a list"),
        ([[1, 2], [3, 4]], "three points"),
        ([[[1, 2], [3, 4]]], "three points"),
        ([[1, 2], [3, float("nan")], [5, 6]], "not a number"),
        ([[0, 0, 8 * 53, 8 * 37] * 20_000], "millions of pixels long"),
        ({"size": [WIDTH, HEIGHT], "counts": [ALL]}, "has size"),
        ({"size": [HEIGHT, WIDTH, 1], "counts": [ALL]}, "has size"),
        ({"size": [HEIGHT, "x"], "counts": [ALL]}, "has size"),
        ({"size": HEIGHT, "counts": [ALL]}, "has size"),
        ({"counts": [ALL]}, "has size"),
        ({**SIZE, "counts": [ALL]}, "covers no pixel"),
        ({**SIZE, "counts": [ALL - 1, 2]}, "do not add up"),
        ({**SIZE, "counts": [ALL + 5, -5]}, "do not add up"),
        ({**SIZE, "counts": [10**30]}, "do not add up"),
        ({**SIZE, "counts": [1.5, 2]}, "neither"),
        ({**SIZE, "counts": []}, "neither"),
        ({**SIZE}, "neither"),
        ({**SIZE, "counts": ""}, "no RLE string"),
        ({**SIZE, "counts": "é\x01"}, "no RLE string"),
        ({**SIZE, "counts": "oooooooooooo1"}, "no RLE string"),
        ({**SIZE, "counts": "o"}, "cut off"),
        ({**SIZE, "counts": "11"}, "do not add up"),
    ],
)
def test_unusable_ones_are_named(segmentation, message):
    with pytest.raises(ValueError, match=message):
        encode_segmentation(segmentation, HEIGHT, WIDTH)


def test_random_strings_never_reach_pycocotools():
    rng = np.random.default_rng(0)
    for _ in range(2000):
        text = bytes(rng.integers(40, 120, rng.integers(1, 12)).tolist()).decode()
        with pytest.raises(ValueError):
            encode_segmentation({**SIZE, "counts": text}, HEIGHT, WIDTH)
