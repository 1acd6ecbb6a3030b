"""Areas and overlaps of boxes against their float64 twins, closed forms, and torchvision's IoU."""

from __future__ import annotations

import numpy as np
import pytest
from tests.graph import Compiled

from maskrcnn.ops import boxes as ops_boxes
from maskrcnn.ops import reference

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


def test_sides_are_positive():
    width, height = Compiled(ops_boxes.sides)(EDGES)
    assert (width > 0).all() and (height > 0).all()
    assert (width[8], height[8]) == (1333, 800)
    np.testing.assert_allclose((width, height), reference.sides(EDGES), rtol=1e-6)


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
