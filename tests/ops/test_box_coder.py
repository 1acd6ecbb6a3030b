"""Box regression and its two conventions against the float64 twin, closed forms, and torchvision's targets."""

from __future__ import annotations

import math

import numpy as np
import pytest
from tests.graph import Compiled, Gradient
from tests.ops.test_boxes import EDGES, random_boxes

from maskrcnn.ops import reference
from maskrcnn.ops.box_coder import BoxCoder

ZEROS, ONES = (0.0,) * 4, (1.0,) * 4
STDS = (0.1, 0.1, 0.2, 0.2)
MEANS = (0.1, -0.2, 0.3, 0.0)
CONVENTIONS = ("continuous", "inclusive")


def both(means=ZEROS, stds=ONES, convention="continuous") -> tuple[BoxCoder, reference.BoxCoder]:
    """The coder and its twin."""
    return BoxCoder(means, stds, convention), reference.BoxCoder(means, stds, convention)


@pytest.mark.parametrize("convention", CONVENTIONS)
@pytest.mark.parametrize(("means", "stds"), [(ZEROS, ONES), (MEANS, STDS)])
def test_there_and_back(means, stds, convention):
    rng = np.random.default_rng(1)
    anchors, boxes = random_boxes(rng, 50), random_boxes(rng, 50)
    coder, twin = both(means, stds, convention)
    targets = Compiled(coder.encode)(boxes, anchors)
    np.testing.assert_allclose(targets, twin.encode(boxes, anchors), rtol=1e-4, atol=1e-4)
    decode = Compiled(coder.decode)
    np.testing.assert_allclose(decode(targets, anchors), boxes, atol=2e-3)
    deltas = rng.normal(size=(50, 4))
    deltas[:5, 2:] = -100, 30  # beyond the limits
    np.testing.assert_allclose(decode(deltas, anchors), twin.decode(deltas, anchors), rtol=1e-5, atol=1e-3)


def test_targets_of_empty_boxes_are_finite():
    zeros = np.zeros((3, 4), np.float32)
    boxes = EDGES[[0, 5, 6]]
    coder, twin = both(stds=STDS)
    encode = Compiled(coder.encode)
    for left, right in ((boxes, zeros), (zeros, boxes), (zeros, zeros)):
        found = encode(left, right)
        assert np.isfinite(found).all()
        np.testing.assert_allclose(found, twin.encode(left, right), rtol=1e-4, atol=1e-4)


def test_decoded_boxes_grow_by_a_limited_factor():
    anchor = np.array([[0, 0, 16, 16]], np.float32)
    coder, twin = both()
    found = Compiled(coder.decode)(np.array([[0, 0, 50.0, math.log(2)]]), anchor)
    np.testing.assert_allclose(found, [[8 - 500, 8 - 16, 8 + 500, 8 + 16]], rtol=1e-5)
    np.testing.assert_allclose(twin.decode([[0, 0, 50.0, math.log(2)]], anchor), found, rtol=1e-5)


def test_anchors_broadcast_over_classes():
    rng = np.random.default_rng(2)
    anchors, deltas = random_boxes(rng, 7), rng.normal(size=(7, 5, 4))
    coder, twin = both(stds=STDS)
    found = Compiled(coder.decode)(deltas, anchors[:, None])
    assert found.shape == (7, 5, 4)
    np.testing.assert_allclose(found, twin.decode(deltas, anchors[:, None]), rtol=1e-5, atol=1e-3)


def test_gradient_of_decoding():
    rng = np.random.default_rng(3)
    anchors, deltas, cotangent = random_boxes(rng, 6), rng.normal(size=(6, 4)), rng.normal(size=(6, 4))
    deltas[0, 2] = 6.0  # beyond the clamp: no gradient
    coder, twin = both(stds=STDS)
    _, found = Gradient(coder.decode)(deltas / STDS, anchors, cotangents=[cotangent])
    step = 1e-5
    for column in range(4):
        shift = np.zeros(4)
        shift[column] = step
        high, low = (twin.decode(deltas / STDS + sign * shift, anchors) for sign in (1, -1))
        expected = ((high - low) * cotangent).sum(1) / (2 * step)
        np.testing.assert_allclose(found[:, column], expected, rtol=1e-3, atol=1e-3)
    assert found[0, 2] == 0


@pytest.mark.parametrize("convention", CONVENTIONS)
def test_clip(convention):
    rng = np.random.default_rng(4)
    batch = rng.uniform(-100, 400, (3, 20, 4)).astype(np.float32)
    height, width = np.array([[100.0], [200.5], [300.0]]), np.array([[300.0], [64.0], [1.0]])
    coder, twin = both(convention=convention)
    found = Compiled(coder.clip)(batch, height, width)
    np.testing.assert_allclose(found, twin.clip(batch, height, width))
    assert found[2, :, 0::2].max() == (0 if convention == "inclusive" else 1)
    assert found.min() == 0


@pytest.mark.parametrize("convention", CONVENTIONS)
def test_large_enough(convention):
    rng = np.random.default_rng(0)
    boxes = np.concatenate([EDGES, random_boxes(rng, 60)])
    coder, twin = both(convention=convention)
    found = Compiled(coder.large_enough, min_size=10.0)(boxes)
    assert (found == twin.large_enough(boxes, 10.0)).all() and 0 < found.mean() < 1
    counted = convention == "inclusive"
    assert found[:4].tolist() == [counted, counted, counted, False]  # sides of 10, 10, 10 and 2 pixels


def test_conventions_there_and_back():
    coder, twin = both(convention="inclusive")
    found = Compiled(coder.to_continuous)(EDGES)
    np.testing.assert_array_equal(found, twin.to_continuous(EDGES))
    assert found[0].tolist() == [0, 0, 11, 11]
    np.testing.assert_array_equal(Compiled(coder.from_continuous)(found), EDGES)
    np.testing.assert_array_equal(twin.from_continuous(found), EDGES)
    coder, twin = both()
    assert (Compiled(coder.to_continuous)(EDGES) == EDGES).all() and (twin.from_continuous(EDGES) == EDGES).all()


def test_targets_of_torchvision(parity_file):
    """The regression targets of a training step, weights 10, 10, 5, 5."""
    fixture = np.load(parity_file)
    rois, labels = fixture["train/rois"], fixture["train/roi_labels"]
    matched = fixture["train/roi_matched_gt"]
    truth = np.concatenate([fixture["target/boxes_0"][matched[:64]], fixture["target/boxes_1"][matched[64:]]])
    coder, twin = both(stds=STDS)
    found = Compiled(coder.encode)(truth, rois)
    assert (labels > 0).sum() > 20
    expected = fixture["train/roi_box_targets"]
    np.testing.assert_allclose(found[labels > 0], expected[labels > 0], rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(twin.encode(truth, rois)[labels > 0], expected[labels > 0], atol=1e-4)
