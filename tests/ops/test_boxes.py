"""Box arithmetic against its float64 twins, closed forms, and torchvision's IoU and coder."""

from __future__ import annotations

import math

import numpy as np
import pytest
from tests.graph import Compiled, Gradient

from maskrcnn.ops import boxes as ops_boxes
from maskrcnn.ops import reference

STDS = (0.1, 0.1, 0.2, 0.2)
MEANS = (0.1, -0.2, 0.3, 0.0)

# Identical, touching, nested, apart, empty, inside out, a point shared by two, huge, negative coordinates.
EDGES = np.array(
    [
        [0, 0, 10, 10],
        [0, 0, 10, 10],
        [10, 0, 20, 10],
        [2, 3, 4, 5],
        [100, 100, 110, 120],
        [5, 5, 5, 9],
        [0, 0, 0, 0],
        [9, 9, 3, 3],
        [0, 0, 1333, 800],
        [-20, -30, 5, 5],
        [0.25, 0.5, 0.75, 1.0],
    ],
    np.float32,
)


def random_boxes(rng: np.random.Generator, n: int, extent: float = 300.0, side: float = 80.0) -> np.ndarray:
    corner = rng.uniform(0, extent, (n, 2))
    return np.concatenate([corner, corner + rng.uniform(1, side, (n, 2))], 1).astype(np.float32)


@pytest.fixture(scope="module")
def pairs():
    rng = np.random.default_rng(0)
    return (
        np.concatenate([EDGES, random_boxes(rng, 60)]),
        np.concatenate([EDGES[::-1], random_boxes(rng, 40)]),
    )


def test_area(pairs):
    found = Compiled(ops_boxes.area)(pairs[0])
    np.testing.assert_allclose(found, reference.area(pairs[0]), rtol=1e-5)
    assert found[:11].tolist() == [100, 100, 100, 4, 200, 0, 0, 0, 1333 * 800, 875, 0.25]


@pytest.mark.parametrize("name", ["intersection", "pairwise_iou", "pairwise_ioa"])
def test_pairs(pairs, name):
    found = Compiled(getattr(ops_boxes, name))(*pairs)
    assert found.shape == (71, 51)
    np.testing.assert_allclose(found, getattr(reference, name)(*pairs), rtol=2e-5, atol=1e-6)


def test_iou_of_known_pairs():
    ours = Compiled(ops_boxes.pairwise_iou)
    found = ours(EDGES, EDGES)
    assert found[0].tolist()[:8] == pytest.approx([1, 1, 0, 0.04, 0, 0, 0, 0])
    assert np.isfinite(found).all()
    assert (found[5:8] == 0).all()  # empty boxes overlap nothing, not even themselves


def test_ioa_is_the_share_of_the_first_box():
    found = Compiled(ops_boxes.pairwise_ioa)(EDGES, EDGES)
    assert found[3, 0] == 1
    assert found[0, 3] == pytest.approx(0.04)
    assert np.isfinite(found).all()


@pytest.mark.parametrize("inclusive", [False, True])
@pytest.mark.parametrize(("means", "stds"), [((0, 0, 0, 0), (1, 1, 1, 1)), (MEANS, STDS)])
def test_coder(pairs, means, stds, inclusive):
    rng = np.random.default_rng(1)
    anchors, boxes = random_boxes(rng, 50), random_boxes(rng, 50)
    settings = {"means": means, "stds": stds, "inclusive": inclusive}
    targets = Compiled(ops_boxes.encode_boxes, **settings)(boxes, anchors)
    np.testing.assert_allclose(targets, reference.encode_boxes(boxes, anchors, **settings), rtol=1e-4, atol=1e-4)
    decode = Compiled(ops_boxes.decode_boxes, **settings)
    np.testing.assert_allclose(decode(targets, anchors), boxes, atol=2e-3)
    deltas = rng.normal(size=(50, 4))
    deltas[:5, 2:] = -100, 30  # beyond the limits
    expected = reference.decode_boxes(deltas, anchors, **settings)
    np.testing.assert_allclose(decode(deltas, anchors), expected, rtol=1e-5, atol=1e-3)


def test_coder_is_finite_for_empty_boxes():
    zeros = np.zeros((3, 4), np.float32)
    boxes = EDGES[[0, 5, 6]]
    encode = Compiled(ops_boxes.encode_boxes, stds=STDS)
    for left, right in ((boxes, zeros), (zeros, boxes), (zeros, zeros)):
        found = encode(left, right)
        assert np.isfinite(found).all()
        np.testing.assert_allclose(found, reference.encode_boxes(left, right, stds=STDS), rtol=1e-4, atol=1e-4)


def test_decoded_boxes_grow_by_a_limited_factor():
    anchor = np.array([[0, 0, 16, 16]], np.float32)
    found = Compiled(ops_boxes.decode_boxes)(np.array([[0, 0, 50.0, math.log(2)]]), anchor)
    np.testing.assert_allclose(found, [[8 - 500, 8 - 16, 8 + 500, 8 + 16]], rtol=1e-5)
    np.testing.assert_allclose(reference.decode_boxes([[0, 0, 50.0, math.log(2)]], anchor), found, rtol=1e-5)


def test_decode_broadcasts_over_classes():
    rng = np.random.default_rng(2)
    anchors, deltas = random_boxes(rng, 7), rng.normal(size=(7, 5, 4))
    found = Compiled(ops_boxes.decode_boxes, stds=STDS)(deltas, anchors[:, None])
    assert found.shape == (7, 5, 4)
    expected = reference.decode_boxes(deltas, anchors[:, None], stds=STDS)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-3)


def test_gradient_of_decoding():
    rng = np.random.default_rng(3)
    anchors, deltas, cotangent = random_boxes(rng, 6), rng.normal(size=(6, 4)), rng.normal(size=(6, 4))
    deltas[0, 2] = 6.0  # beyond the clamp: no gradient
    _, found = Gradient(ops_boxes.decode_boxes, stds=STDS)(deltas / STDS, anchors, cotangents=[cotangent])
    step = 1e-5
    for column in range(4):
        shift = np.zeros(4)
        shift[column] = step
        high = reference.decode_boxes(deltas / STDS + shift, anchors, stds=STDS)
        low = reference.decode_boxes(deltas / STDS - shift, anchors, stds=STDS)
        expected = ((high - low) * cotangent).sum(1) / (2 * step)
        np.testing.assert_allclose(found[:, column], expected, rtol=1e-3, atol=1e-3)
    assert found[0, 2] == 0


@pytest.mark.parametrize("inclusive", [False, True])
def test_clip(inclusive):
    rng = np.random.default_rng(4)
    batch = rng.uniform(-100, 400, (3, 20, 4)).astype(np.float32)
    height, width = np.array([[100.0], [200.5], [300.0]]), np.array([[300.0], [64.0], [1.0]])
    found = Compiled(ops_boxes.clip_boxes, inclusive=inclusive)(batch, height, width)
    np.testing.assert_allclose(found, reference.clip_boxes(batch, height, width, inclusive))
    assert found[2, :, 0::2].max() == (0 if inclusive else 1)
    assert found.min() == 0


def test_sides_are_positive():
    width, height = Compiled(ops_boxes.sides)(EDGES)
    assert (width > 0).all() and (height > 0).all()
    assert (width[8], height[8]) == (1333, 800)
    np.testing.assert_allclose((width, height), reference.sides(EDGES), rtol=1e-6)


@pytest.mark.parametrize("inclusive", [False, True])
def test_large_enough(pairs, inclusive):
    found = Compiled(ops_boxes.large_enough, min_size=10.0, inclusive=inclusive)(pairs[0])
    assert (found == reference.large_enough(pairs[0], 10.0, inclusive)).all() and 0 < found.mean() < 1
    assert found[:4].tolist() == [inclusive, inclusive, inclusive, False]  # sides of 10, 10, 10 and 2 pixels


def test_inclusive_boxes_there_and_back():
    found = Compiled(ops_boxes.from_inclusive)(EDGES)
    np.testing.assert_array_equal(found, reference.from_inclusive(EDGES).astype(np.float32))
    assert found[0].tolist() == [0, 0, 11, 11]
    np.testing.assert_array_equal(Compiled(ops_boxes.to_inclusive)(found), EDGES)
    np.testing.assert_array_equal(reference.to_inclusive(found), EDGES)


def test_coder_of_torchvision(parity_file):
    """The regression targets of a training step, weights 10, 10, 5, 5."""
    fixture = np.load(parity_file)
    rois, labels = fixture["train/rois"], fixture["train/roi_labels"]
    matched = fixture["train/roi_matched_gt"]
    truth = np.concatenate([fixture["target/boxes_0"][matched[:64]], fixture["target/boxes_1"][matched[64:]]])
    found = Compiled(ops_boxes.encode_boxes, stds=STDS)(truth, rois)
    assert (labels > 0).sum() > 20
    expected = fixture["train/roi_box_targets"]
    np.testing.assert_allclose(found[labels > 0], expected[labels > 0], rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(
        reference.encode_boxes(truth, rois, stds=STDS)[labels > 0], expected[labels > 0], atol=1e-4
    )


def test_iou_of_torchvision(parity_file):
    """Every RoI that training called foreground overlaps its match by half or more, every other none by half."""
    fixture = np.load(parity_file)
    iou = Compiled(ops_boxes.pairwise_iou)
    for image, part in ((0, slice(0, 64)), (1, slice(64, 128))):
        rois, labels = fixture["train/rois"][part], fixture["train/roi_labels"][part]
        found = iou(rois, fixture[f"target/boxes_{image}"])
        assert ((found.max(1) >= 0.5) == (labels > 0)).all()
        foreground = labels > 0
        assert (found.argmax(1)[foreground] == fixture["train/roi_matched_gt"][part][foreground]).all()
