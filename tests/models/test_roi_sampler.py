"""RoIs of a batch: each image's are those drawn for it alone, and the mask head's slots are the first of them."""

from __future__ import annotations

import numpy as np
import pytest
from tests.graph import Compiled
from tests.models.parts import make_sampler

from maskrcnn.ops import reference

P, G = 40, 5


@pytest.fixture(scope="module")
def case():
    """Proposals around objects, crowds and empty slots of two images, and what is drawn of them."""
    rng = np.random.default_rng(0)
    corner = rng.uniform(0, 80, (2, G, 2))
    gt_boxes = np.concatenate([corner, corner + rng.uniform(20, 60, (2, G, 2))], 2).astype(np.float32)
    gt_labels = np.array([[1, 3, 2, -1, 0], [2, 0, 0, 0, 0]], np.int32)
    gt_boxes[gt_labels == 0] = 0
    near = gt_boxes[np.arange(2)[:, None], rng.integers(0, 3, (2, P))]
    proposals = (near + rng.normal(0, 5, (2, P, 4))).astype(np.float32)
    keys = rng.random((2, P + G + 7), dtype=np.float32)  # more than needed
    arguments = proposals, rng.random((2, P)) < 0.9, gt_boxes, gt_labels, keys
    return arguments, Compiled(make_sampler(num_positive=8, num_total=24, num_mask=6))(*arguments)


def test_images_are_drawn_one_by_one(case):
    (proposals, valid, gt_boxes, gt_labels, keys), (rois, labels, counted, matched) = case
    assert rois.shape == (2, 24, 4) and labels.dtype == matched.dtype == np.int32
    for image in range(2):
        candidates = np.concatenate([proposals[image], gt_boxes[image]])
        usable = np.concatenate([valid[image], gt_labels[image] > 0])
        best, *kinds = reference.match_rois(candidates, usable, gt_boxes[image], gt_labels[image], 0.5, 0.5, 0.7)
        index, positive, drawn = reference.sample_rois(*kinds, keys[image, : P + G], 8, 24)
        np.testing.assert_array_equal(counted[image], drawn)
        np.testing.assert_array_equal(rois[image][drawn], candidates[index][drawn])
        np.testing.assert_array_equal(labels[image], np.where(positive, gt_labels[image][best[index]], 0))
        np.testing.assert_array_equal(matched[image][positive], best[index][positive])
        assert 0 < positive.sum() < drawn.sum()


def test_slots_of_the_mask_head(case):
    (_, _, gt_boxes, _, _), (rois, labels, _, matched) = case
    rng = np.random.default_rng(1)
    masks, has_mask = rng.integers(0, 2, (2, G, 3, 3)).astype(np.uint8), np.ones((2, G), np.float32)
    has_mask[0, 1] = 0
    sampler = make_sampler(num_positive=8, num_total=24, num_mask=6)
    found = Compiled(sampler.mask_slots)(rois, labels, matched, gt_boxes, masks, has_mask)
    slots, slot_labels, counted, (crops, frames) = found
    np.testing.assert_array_equal(slots, rois[:, :6])
    np.testing.assert_array_equal(slot_labels, labels[:, :6])
    for image in range(2):
        own = matched[image, :6]
        np.testing.assert_array_equal(crops[image], masks[image][own])
        np.testing.assert_array_equal(frames[image], gt_boxes[image][own])
        np.testing.assert_array_equal(counted[image], (labels[image, :6] > 0) * has_mask[image][own])
    assert 0 < counted.sum() < counted.size
