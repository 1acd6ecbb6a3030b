"""The anchor grid against torchvision's anchors and against the definition written out in loops."""

from __future__ import annotations

import math

import numpy as np
import pytest

from maskrcnn.ops.anchors import anchor_grid


def test_equals_torchvision(parity_file):
    expected = np.load(parity_file)
    grid = anchor_grid(192, 256, [8], [0.5, 1.0, 2.0], [4, 8, 16, 32, 64], rounding=True)
    np.testing.assert_array_equal(grid.boxes(), expected["eval/anchors"])
    assert [level.size for level in grid.levels] == expected["eval/anchors_per_level"].tolist()


@pytest.mark.parametrize(("height", "width"), [(64, 128), (100, 37)])
def test_equals_the_definition(height, width):
    scales, ratios, strides = [4, 8.5], [0.5, 1.0, 3.0], [8, 32]
    expected = []
    for stride in strides:
        for y in range(math.ceil(height / stride)):
            for x in range(math.ceil(width / stride)):
                for scale in scales:
                    for ratio in ratios:
                        w = scale * stride / math.sqrt(ratio)
                        h = scale * stride * math.sqrt(ratio)
                        x0, y0 = x * stride, y * stride
                        expected.append([x0 - w / 2, y0 - h / 2, x0 + w / 2, y0 + h / 2])
    boxes = anchor_grid(height, width, scales, ratios, strides).boxes()
    assert boxes.dtype == np.float32 and boxes.flags.c_contiguous
    np.testing.assert_allclose(boxes, expected, rtol=1e-6, atol=1e-5)


def test_area_and_ratio_of_the_default_anchors():
    grid = anchor_grid(768, 1280, [8], [0.5, 1.0, 2.0], [4, 8, 16, 32, 64])
    assert grid.size == len(grid.boxes()) == 245520
    for level in grid.levels:
        width = level.cells[:, 2] - level.cells[:, 0]
        height = level.cells[:, 3] - level.cells[:, 1]
        np.testing.assert_allclose(width * height, (8 * level.stride) ** 2)
        np.testing.assert_allclose(height / width, [0.5, 1.0, 2.0])
        np.testing.assert_allclose(level.cells[:, :2] + level.cells[:, 2:], 0, atol=1e-12)
