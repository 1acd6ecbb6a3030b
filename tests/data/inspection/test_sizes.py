"""Object sizes at the input: the best anchor against all anchors, levels against the paper, advice that fits."""

from __future__ import annotations

import numpy as np
import pytest

from maskrcnn.data.inspection.labels import box_overlaps
from maskrcnn.data.inspection.sizes import fit_anchors, input_scale, roi_levels, suggest_input, suggest_slots
from maskrcnn.ops.anchors import anchor_grid

STRIDES = (4, 8, 16, 32, 64)


def test_best_anchor_is_that_of_all_anchors():
    rng = np.random.default_rng(0)
    low = rng.uniform(0, 200, (300, 2))
    boxes = np.concatenate([low, low + np.exp(rng.uniform(1, 5, (300, 2)))], axis=1).clip(0, [320, 256, 320, 256])
    found = fit_anchors(boxes, 256, 320, (8.0,), (0.5, 1.0, 2.0), STRIDES)
    grid = anchor_grid(256, 320, (8.0,), (0.5, 1.0, 2.0), STRIDES)
    overlaps = box_overlaps(boxes, grid.boxes().astype(np.float64))
    assert np.allclose(found.overlap, overlaps.max(1), atol=1e-9)
    first = np.array([level.first for level in grid.levels])
    clear = np.sort(overlaps, axis=1)[:, -1] > np.sort(overlaps, axis=1)[:, -2] + 1e-9
    assert np.array_equal(found.level[clear], (np.searchsorted(first, overlaps.argmax(1), "right") - 1)[clear])


def test_levels_are_equation_1_of_the_paper():
    sides = np.array([1, 111, 112, 223, 224, 447, 448, 896, 5000], float)
    boxes = np.stack([np.zeros(9), np.zeros(9), sides, sides], axis=1)
    assert roi_levels(boxes).tolist() == [2, 2, 3, 3, 4, 4, 5, 5, 5]


def test_input_scale_is_that_of_the_canvas():
    scales = input_scale(np.array([[480, 640], [640, 480], [2000, 500]]), 768, 1280)
    assert np.allclose(scales, [[1.6, 1.6], [1.6, 1.6], [0.64, 0.64]], atol=2e-3)


@pytest.mark.parametrize(
    ("height", "width", "side", "expected"),
    [
        (480, 640, 64, (512, 640, 0)),  # objects are large enough as they are
        (480, 640, 32, (960, 1280, 0)),  # enlarged twice
        (480, 640, 4, (960, 1280, 0)),  # and never more
        (480, 640, 400, (256, 320, 0)),  # as small as is sensible
        (3000, 4000, 640, (384, 448, 0)),
        (3000, 4000, 64, (1024, 1344, 704)),  # too large: tiles
    ],
)
def test_suggested_input_follows_the_objects(height: int, width: int, side: float, expected: tuple[int, int, int]):
    advice = suggest_input(np.array([[height, width]] * 5), np.full(50, float(side)))
    assert advice == expected
    assert advice.img_height % 64 == advice.img_width % 64 == 0


def test_slots_hold_the_fullest_image():
    assert [suggest_slots(np.array(counts, int)) for counts in ([], [3], [16], [17, 2], [375])] == [16, 16, 16, 32, 384]
