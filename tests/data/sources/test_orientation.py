"""The eight orientations: arrays, pixels and boxes move alike, and as numpy rotates and mirrors."""

from __future__ import annotations

import numpy as np
import pytest

from maskrcnn.data.sources.orientation import (
    exchanges_sides,
    inverse,
    orient,
    orient_boxes,
    orient_image,
    orientation_of,
)

# Exif 2.3, section 4.6.4, in numpy's words
EXPECTED = {
    1: lambda a: a,
    2: np.fliplr,
    3: lambda a: np.rot90(a, 2),
    4: np.flipud,
    5: lambda a: np.swapaxes(a, 0, 1),
    6: lambda a: np.rot90(a, -1),
    7: lambda a: np.rot90(np.swapaxes(a, 0, 1), 2),
    8: lambda a: np.rot90(a, 1),
}


@pytest.mark.parametrize("orientation", EXPECTED)
def test_arrays_and_images(orientation):
    image = np.random.default_rng(0).integers(0, 256, (5, 8, 3), np.uint8)
    expected = EXPECTED[orientation](image)
    np.testing.assert_array_equal(orient(image, orientation), expected)
    moved = orient_image(image, orientation)
    np.testing.assert_array_equal(moved, expected)
    assert moved.flags.c_contiguous
    assert exchanges_sides(orientation) == (expected.shape[:2] == (8, 5))
    np.testing.assert_array_equal(orient(moved, inverse(orientation)), image)


@pytest.mark.parametrize("orientation", EXPECTED)
def test_boxes_frame_what_they_framed(orientation):
    rng = np.random.default_rng(1)
    for _ in range(20):
        mask = np.zeros((30, 44), np.uint8)
        (x1, x2), (y1, y2) = np.sort(rng.permutation(45)[:2]), np.sort(rng.permutation(31)[:2])
        mask[y1:y2, x1:x2] = 1
        (box,) = orient_boxes(np.array([[x1, y1, x2, y2]], np.float64), 30, 44, orientation)
        rows, columns = np.nonzero(orient(mask, orientation))
        assert box.tolist() == [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]


def test_boxes_may_be_none():
    assert orient_boxes(np.zeros((0, 4)), 3, 4, 6).shape == (0, 4)


@pytest.mark.parametrize("quarters", range(4))
@pytest.mark.parametrize("rows", [False, True])
@pytest.mark.parametrize("columns", [False, True])
def test_rotations_and_reflections_combine(quarters, rows, columns):
    array = np.arange(24).reshape(4, 6)
    expected = np.rot90(array, -quarters)
    expected = np.flipud(expected) if rows else expected
    expected = np.fliplr(expected) if columns else expected
    np.testing.assert_array_equal(orient(array, orientation_of(quarters, rows, columns)), expected)
