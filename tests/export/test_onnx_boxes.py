"""Box arithmetic, suppression and RoIAlign as ONNX, run by ONNX Runtime, against float64 numpy."""

from __future__ import annotations

import numpy as np
import onnxruntime
import pytest

from maskrcnn.export import onnx_boxes
from maskrcnn.export.onnx_graph import OnnxGraph
from maskrcnn.ops import reference
from maskrcnn.ops.box_coder import BoxCoder
from maskrcnn.ops.roi_align import RoIAlignSettings

STRIDES = (4, 8, 16, 32)
SHAPES = ((16, 24), (8, 12), (4, 6), (2, 3))  # of a 64 x 96 image
CONTINUOUS = BoxCoder((0.0,) * 4, (1.0,) * 4, "continuous")
FINEST = 8.0  # boxes of 16, 32 and 64 pixels begin levels 1, 2 and 3


def run(build, shape: tuple[int, ...], *arrays: np.ndarray, opset: int = 16) -> np.ndarray:
    """The result, of this shape, of ``build(graph, *names)`` on arrays."""
    g = OnnxGraph()
    names = [g.input(f"input{i}", array.dtype, array.shape) for i, array in enumerate(arrays)]
    g.output("result", build(g, *names), np.float32, shape)
    session = onnxruntime.InferenceSession(g.model("test", opset).SerializeToString())
    return session.run(None, dict(zip(names, arrays)))[0]


def random_boxes(rng: np.random.Generator, *shape: int) -> np.ndarray:
    corner = rng.uniform(0, [90, 60], (*shape, 2))
    side = 2 ** rng.uniform(-2, 6, (*shape, 2))
    boxes = np.concatenate([corner, corner + side], -1)
    return np.clip(boxes, 0, [96, 64, 96, 64]).astype(np.float32)


@pytest.mark.parametrize("convention", ["continuous", "inclusive"])
def test_decode_and_clip(convention: str) -> None:
    rng = np.random.default_rng(1)
    anchors, deltas = random_boxes(rng, 2, 50), rng.normal(0, 2, (2, 50, 4)).astype(np.float32)
    image_shape = np.float32([[64, 80], [50, 96]])
    settings = (0.1, 0.0, -0.1, 0.2), (0.1, 0.2, 0.5, 2.0), convention
    coder, twin = BoxCoder(*settings), reference.BoxCoder(*settings)

    def build(g, deltas, anchors, image_shape):
        boxes = onnx_boxes.decode(g, deltas, anchors, coder)
        return onnx_boxes.clip(g, boxes, onnx_boxes.limits(g, image_shape, coder))

    expected = twin.clip(twin.decode(deltas, anchors), image_shape[:, :1], image_shape[:, 1:])
    np.testing.assert_allclose(run(build, (2, 50, 4), deltas, anchors, image_shape), expected, rtol=1e-5, atol=1e-4)


def test_rows_of_each_image() -> None:
    rng = np.random.default_rng(2)
    table = rng.normal(size=(3, 7, 5)).astype(np.float32)
    index = rng.integers(0, 7, (3, 4)).astype(np.int32)
    found = run(lambda g, t, i: onnx_boxes.gather_rows(g, t, i, 3, 7, 5), (3, 4, 5), table, index)
    np.testing.assert_array_equal(found, np.take_along_axis(table, index[:, :, None], 1))


def test_shorter_side() -> None:
    boxes = random_boxes(np.random.default_rng(3), 2, 9)
    expected = (boxes[..., 2:] - boxes[..., :2]).min(-1)
    np.testing.assert_allclose(run(onnx_boxes.shorter_side, (2, 9), boxes), expected, rtol=1e-6)


@pytest.mark.parametrize("most", [3, 40])
def test_suppression_in_groups(most: int) -> None:
    rng = np.random.default_rng(4)
    boxes, valid = random_boxes(rng, 2, 60) / 4 + np.float32([0, 0, 30, 20]), rng.random((2, 60)) < 0.8
    groups = np.sort(rng.integers(0, 3, 60))
    found = run(lambda g, b, v: onnx_boxes.nms(g, b, v, groups, most, 0.4), (2, 60), boxes, valid)
    for i in range(2):
        expected = reference.class_aware_nms_mask(boxes[i], groups, valid[i], 0.4)
        for group in range(3):  # best first, so the first survivors of a group stay
            survivors = np.flatnonzero(expected & (groups == group))
            expected[survivors[most:]] = False
        np.testing.assert_array_equal(found[i], expected)
    assert 0 < found.sum() < valid.sum()


def test_nothing_to_suppress() -> None:
    boxes, valid = random_boxes(np.random.default_rng(5), 1, 8), np.zeros((1, 8), bool)
    found = run(lambda g, b, v: onnx_boxes.nms(g, b, v, np.zeros(8, int), 8, 0.5), (1, 8), boxes, valid)
    np.testing.assert_array_equal(found, np.zeros((1, 8)))


# Boxes inside the image, as the network's are: the whole, one on each border, slivers, a point in each corner.
EDGES = [
    [0, 0, 96, 64], [50, 9, 90, 50],
    [0, 10, 5, 20], [90, 10, 96, 40], [30, 0, 60, 1], [30, 63, 60, 64], [95.5, 0, 96, 64],
    [0, 63.5, 96, 64], [0, 0, 0.5, 64], [96, 64, 96, 64], [0, 0, 0, 0], [96, 0, 96, 0], [94, 61, 96, 64],
]  # fmt: skip


@pytest.mark.parametrize("aligned, opset", [(True, 16), (False, 13)])
@pytest.mark.parametrize("size, sampling", [(7, 2), (14, 2), (7, 0)])
def test_roi_align(aligned: bool, opset: int, size: int, sampling: int) -> None:
    rng = np.random.default_rng(6)
    maps = [rng.normal(size=(2, 3, h, w)).astype(np.float32) for h, w in SHAPES]
    boxes = random_boxes(rng, 2, 40)
    boxes[:, : len(EDGES)] = EDGES
    area = reference.area(boxes)[..., None]  # rounding must not decide about the level
    boxes[(np.abs(area / np.array([16.0, 32.0, 64.0]) ** 2 - 1) < 1e-3).any(-1)] = EDGES[0]

    def build(g, boxes, *levels):
        packed = onnx_boxes.pack_levels(g, levels, SHAPES)
        settings = RoIAlignSettings(size, sampling, aligned, STRIDES, FINEST)
        return onnx_boxes.roi_align(g, packed, boxes, 2, 40, settings, CONTINUOUS)

    found = run(build, (80, 3, size, size), boxes, *maps, opset=opset).reshape(2, 40, 3, size * size)
    for i in range(2):
        levels = reference.level_of(boxes[i], FINEST, 4)
        assert set(levels) == {0, 1, 2, 3}
        expected = reference.roi_align([m[i] for m in maps], STRIDES, boxes[i], levels, size, sampling, aligned)
        np.testing.assert_allclose(found[i].transpose(0, 2, 1), expected, rtol=0, atol=2e-5)
