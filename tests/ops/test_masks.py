"""Mask targets: exact areas, against sums over rectangles, polygons and torchvision."""

from __future__ import annotations

import numpy as np
import pytest
from tests.graph import Compiled

from maskrcnn.ops import reference
from maskrcnn.ops.masks import mask_coverage, mask_samples


@pytest.fixture(scope="module")
def cover():
    return Compiled(mask_coverage, size=7)


def random_case(seed: int, n: int = 20, cells: int = 12):
    rng = np.random.default_rng(seed)
    frames = rng.uniform(0, 60, (n, 4))
    frames[:, 2:] = frames[:, :2] + rng.uniform(5, 60, (n, 2))
    side = frames[:, 2:] - frames[:, :2]
    rois = frames + rng.normal(0, 0.3, (n, 4)) * np.tile(side, 2)
    rois[:, 2:] = np.maximum(rois[:, 2:], rois[:, :2] + 2)
    crops = (rng.random((n, cells, cells)) < 0.5).astype(np.float32)
    return crops, frames.astype(np.float32), rois.astype(np.float32)


@pytest.mark.parametrize("seed", [0, 1])
def test_equals_the_twin(cover, seed):
    case = random_case(seed)
    found = cover(*case)
    np.testing.assert_allclose(found, reference.mask_coverage(*case, 7), atol=2e-5)
    assert found.min() >= 0 and found.max() <= 1 + 1e-5


@pytest.mark.parametrize("cells", [80, 12])
def test_samples_equal_the_twin(cells):
    """Crops of a pixel a cell, in which every instance fits, and thinned-out ones."""
    rng = np.random.default_rng(cells)
    height, width, n = 90, 120, 24
    corner = rng.uniform(0, 0.9, (n, 2)) * [width, height]
    boxes = np.concatenate([corner, corner + rng.uniform(2, 76, (n, 2))], 1)
    boxes = np.minimum(boxes, [width, height, width, height]).astype(np.float32)
    rois = (boxes + rng.normal(0, 6, (n, 4))).astype(np.float32)
    rois[:, 2:] = np.maximum(rois[:, 2:], rois[:, :2] + 0.5)
    rois[0] = [-30, -30, 2 * width, 2 * height]
    crops = (rng.random((n, cells, cells)) < 0.5).astype(np.float32)
    image_shape = np.array([height, width], np.float32)
    found = Compiled(mask_samples, size=14)(crops, boxes, rois, image_shape)
    expected = reference.mask_samples(crops, boxes, rois, image_shape, 14)
    np.testing.assert_allclose(found, expected, atol=2e-4)
    if cells == 12:
        return
    for r in range(n):  # the twin itself: RoIAlign of the whole mask, a map of stride 1
        mask = np.zeros((height + cells, width + cells))
        x, y = (max(int(np.floor(v)) - 1, 0) for v in boxes[r, :2])
        right, below = min(np.ceil(boxes[r, 2]) + 1, width), min(np.ceil(boxes[r, 3]) + 1, height)
        mask[y : y + cells, x : x + cells] = crops[r]
        mask[:, int(right) :] = mask[int(below) :] = 0
        crops[r, int(below) - y :] = crops[r, :, int(right) - x :] = 0
        whole = reference.roi_align([mask[None, :height, :width]], [1], rois[r : r + 1], [0], 14, 0, False)
        one = reference.mask_samples(crops[r : r + 1], boxes[r : r + 1], rois[r : r + 1], image_shape, 14)
        np.testing.assert_allclose(one.reshape(-1), whole.reshape(-1), atol=1e-9)


def test_edges(cover):
    crops, frames, rois = random_case(2)
    rois[0] = frames[0] + 1000  # apart
    rois[1] = frames[1] + np.tile(frames[1, 2:] - frames[1, :2], 2)  # touching at a corner
    rois[2] = [0, 0, 1333, 800]  # the object is a fraction of one cell
    rois[3] = [frames[3, 0] + 1, frames[3, 1] + 1, frames[3, 0] + 1.25, frames[3, 1] + 1.25]  # within one crop cell
    frames[4] = 0  # an empty slot
    frames[5] = rois[5] = 0
    found = cover(crops, frames, rois)
    assert np.isfinite(found).all()
    assert (found[0] == 0).all()
    np.testing.assert_allclose(found[1], 0, atol=1e-5)
    np.testing.assert_allclose(found[:4], reference.mask_coverage(crops, frames, rois, 7)[:4], atol=2e-4)
    assert (np.abs(found[3] - crops[3].flat[0]) < 1e-3).all()


def test_own_frame_and_whole_multiples():
    """A RoI equal to the frame averages blocks of the crop; one twice as large has background around."""
    rng = np.random.default_rng(3)
    crop = (rng.random((1, 112, 112)) < 0.4).astype(np.float32)
    frame = np.array([[10.0, 20.0, 66.0, 132.0]])
    run = Compiled(mask_coverage, size=28)
    blocks = crop.reshape(28, 4, 28, 4).mean((1, 3))
    np.testing.assert_allclose(run(crop, frame, frame)[0], blocks, atol=1e-4)
    double = np.array([[10 - 28.0, 20 - 56.0, 66 + 28.0, 132 + 56.0]])
    found = run(crop, frame, double)[0]
    np.testing.assert_allclose(found[7:21, 7:21], crop.reshape(14, 8, 14, 8).mean((1, 3)), atol=1e-4)
    found[7:21, 7:21] = 0
    np.testing.assert_allclose(found, 0, atol=1e-4)


def test_area_is_kept():
    """A RoI that contains the frame sees the whole area of the instance."""
    crops, frames, _ = random_case(4)
    rois = frames + np.array([-7.3, -2.1, 9.9, 4.2], np.float32)
    covered = Compiled(mask_coverage, size=28)(crops, frames, rois)
    expected = crops.mean((1, 2)) * reference.area(frames)
    np.testing.assert_allclose(covered.mean((1, 2)) * reference.area(rois), expected, rtol=1e-4)


def test_disc():
    """A disc known in closed form: the share of a RoI's cells, from a crop of 112 x 112 points of its box."""
    centre, radius = np.array([50.0, 40.0]), 30.0
    at = (np.arange(112) + 0.5) / 112 * 2 - 1
    crop = (at[:, None] ** 2 + at[None, :] ** 2 <= 1).astype(np.float32)[None]
    frame = np.concatenate([centre - radius, centre + radius])[None]
    roi = np.array([[31.7, 22.4, 88.1, 66.6]])
    found = Compiled(mask_coverage, size=28)(crop, frame, roi)[0]
    fine = 40  # points along each side of a cell
    x = roi[0, 0] + (np.arange(28 * fine) + 0.5) / (28 * fine) * (roi[0, 2] - roi[0, 0])
    y = roi[0, 1] + (np.arange(28 * fine) + 0.5) / (28 * fine) * (roi[0, 3] - roi[0, 1])
    disc = (x[None, :] - centre[0]) ** 2 + (y[:, None] - centre[1]) ** 2 <= radius**2
    expected = disc.reshape(28, fine, 28, fine).mean((1, 3))
    assert np.abs(found - expected).mean() < 0.01
    assert ((found >= 0.5) != (expected >= 0.5)).sum() <= 4  # of 784


def test_targets_of_torchvision(parity_file):
    """Its soft targets are bilinear samples of whole masks, half a pixel off; ours are areas: outlines may differ."""
    fixture = np.load(parity_file)
    rois, count = fixture["train/mask_rois"], fixture["train/mask_rois_count"]
    labels = fixture["train/roi_labels"].reshape(2, 64)
    matched = fixture["train/roi_matched_gt"].reshape(2, 64)
    run = Compiled(mask_coverage, size=28)
    targets = np.split(fixture["train/mask_targets"], [count[0]])
    for image, some in enumerate(np.split(rois, [count[0]])):
        gt = matched[image][labels[image] > 0]
        masks = fixture[f"target/masks_{image}"][gt].astype(np.float32)
        height, width = masks.shape[1:]
        side = max(height, width)
        crops = np.zeros((len(gt), side, side), np.float32)
        crops[:, :height, :width] = masks
        frame = [-0.5, -0.5, side - 0.5, side - 0.5]  # where RoIAlign without the half-pixel shift sees the mask
        found = run(crops, np.tile([frame], (len(gt), 1)), some)
        assert ((found >= 0.5) != (targets[image] >= 0.5)).mean() < 0.02
        assert np.abs(found - targets[image]).mean() < 0.02
