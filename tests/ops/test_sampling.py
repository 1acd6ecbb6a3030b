"""Matching and drawing RoIs against the twins, in every case of too many and too few, and torchvision's choice."""

from __future__ import annotations

import numpy as np
import pytest
from tests.graph import Compiled

from maskrcnn.ops import reference
from maskrcnn.ops.sampling import match_rois, sample_rois

R, G = 60, 6
THRESHOLDS = {"positive_iou": 0.5, "negative_iou": 0.5, "crowd_ioa": 0.7}


@pytest.fixture(scope="module")
def match():
    return Compiled(match_rois, **THRESHOLDS)


@pytest.fixture(scope="module")
def draw():
    return Compiled(sample_rois, num_positive=8, num_total=32)


def random_case(seed: int, labels):
    """Candidates around ground truth, so that some match and some do not."""
    rng = np.random.default_rng(seed)
    gt = rng.uniform(0, 100, (G, 4))
    gt[:, 2:] = gt[:, :2] + rng.uniform(20, 60, (G, 2))
    labels = np.array(labels)
    gt[labels == 0] = 0
    near = gt[rng.integers(0, G, R)] + rng.normal(0, 6, (R, 4))
    near[::3] = rng.uniform(0, 100, (len(near[::3]), 4))
    near[:, 2:] = np.maximum(near[:, 2:], near[:, :2] + 1)
    return near.astype(np.float32), rng.random(R) < 0.9, gt.astype(np.float32), labels


@pytest.mark.parametrize(
    "labels",
    [[3, 1, 7, 2, 2, 5], [3, 1, -1, -1, 0, 0], [-1] * 6, [0] * 6, [-1, 0, 0, 0, 0, 0], [0, 0, 0, 0, 0, 4]],
    ids=["objects", "objects and crowds", "crowds", "nothing", "one crowd", "one object"],
)
@pytest.mark.parametrize("seed", [0, 1])
def test_matching_equals_the_twin(match, labels, seed):
    case = random_case(seed, labels)
    found, expected = match(*case), reference.match_rois(*case, **THRESHOLDS)
    assert found[0].dtype == np.int32
    for ours, theirs in zip(found, expected):
        assert (ours == theirs).all()
    matched, foreground, background = found
    assert not (foreground & background).any()
    assert not ((foreground | background) & ~case[1]).any()
    if max(labels) <= 0:
        assert not foreground.any() and (matched == 0).all()
        assert background.any()
    else:
        assert (case[3][matched[foreground]] > 0).all()
    if set(labels) == {0}:
        assert (background == case[1]).all()


def test_thresholds_in_between():
    """Candidates between the two thresholds are neither."""
    case = random_case(2, [1, 2, 3, 4, 5, 6])
    settings = {"positive_iou": 0.7, "negative_iou": 0.3, "crowd_ioa": 0.5}
    found = Compiled(match_rois, **settings)(*case)
    for ours, theirs in zip(found, reference.match_rois(*case, **settings)):
        assert (ours == theirs).all()
    assert (case[1] & ~found[1] & ~found[2]).any()


def test_exactly_at_the_threshold(match):
    """IoU 0.5 is foreground; a candidate lying by exactly the given share in a crowd is still background."""
    gt = np.zeros((G, 4), np.float32)
    gt[0], gt[1] = [0, 0, 10, 10], [100, 100, 200, 200]
    boxes = np.zeros((R, 4), np.float32)
    boxes[0], boxes[1], boxes[2] = [0, 0, 10, 5], [190, 100, 210, 120], [180, 100, 200, 120]
    valid = np.arange(R) < 3
    _, foreground, background = Compiled(match_rois, **{**THRESHOLDS, "crowd_ioa": 0.5})(
        boxes, valid, gt, np.array([1, -1, 0, 0, 0, 0])
    )
    assert foreground[:3].tolist() == [True, False, False]
    assert background[:3].tolist() == [False, True, False]


def test_object_within_a_crowd_stays_foreground(match):
    gt = np.zeros((G, 4), np.float32)
    gt[0], gt[1] = [10, 10, 30, 30], [0, 0, 100, 100]
    boxes = np.tile(gt[0], (R, 1))
    boxes[1] = [60, 60, 90, 90]
    _, foreground, background = match(boxes, np.ones(R, bool), gt, np.array([4, -1, 0, 0, 0, 0]))
    assert foreground[0] and not foreground[1] and not background[1]


def test_ties_go_to_the_first(match):
    gt = np.tile(np.array([[10, 10, 40, 40]], np.float32), (G, 1))
    boxes = np.tile(gt[0], (R, 1))
    matched, foreground, _ = match(boxes, np.ones(R, bool), gt, np.array([0, -1, 3, 5, 5, 0]))
    assert foreground.all() and (matched == 2).all()


CASES = {  # candidates: foreground, background
    "more positives than slots": (20, 30),
    "few positives": (3, 50),
    "no positives": (0, 55),
    "no negatives": (20, 0),
    "one": (1, 0),
    "fewer candidates than slots": (5, 9),
    "nothing": (0, 0),
    "just enough": (8, 24),
}


@pytest.mark.parametrize("case", CASES)
def test_drawing_equals_the_twin(draw, case):
    rng = np.random.default_rng(len(case))
    num_fg, num_bg = CASES[case]
    order = rng.permutation(R)
    foreground, background = np.zeros(R, bool), np.zeros(R, bool)
    foreground[order[:num_fg]] = True
    background[order[num_fg : num_fg + num_bg]] = True
    keys = rng.random(R, dtype=np.float32)
    keys[order[0]] = 0.0  # a key as good as any
    index, positive, valid = draw(foreground, background, keys)
    for ours, theirs in zip((index, positive, valid), reference.sample_rois(foreground, background, keys, 8, 32)):
        assert (ours == theirs).all()
    assert positive.sum() == min(num_fg, 8)
    assert valid.sum() == min(32, positive.sum() + num_bg)
    assert foreground[index[positive]].all()
    assert background[index[valid & ~positive]].all()
    assert len(set(index[valid])) == valid.sum()
    assert (positive <= valid).all()


def test_drawing_is_uniform(draw):
    """With uniform keys each foreground candidate is as likely as any other."""
    rng = np.random.default_rng(5)
    foreground = np.arange(R) < 20
    drawn = np.zeros(R)
    for _ in range(600):
        index, positive, _ = draw(foreground, ~foreground, rng.random(R, dtype=np.float32))
        drawn[index[positive]] += 1
    assert (np.abs(drawn[:20] - 240) < 5 * np.sqrt(600 * 0.4 * 0.6)).all()
    assert (drawn[20:] == 0).all()


def test_sampling_of_torchvision(parity_file):
    """The RoIs of a training step: 64 an image, at most 16 positives, lowest indices first."""
    fixture = np.load(parity_file)
    proposals = fixture["train/proposals_in"].reshape(2, 80, 4)
    for image in range(2):
        gt, labels = np.zeros((20, 4), np.float32), np.zeros(20, np.int32)
        true_boxes, true_labels = fixture[f"target/boxes_{image}"], fixture[f"target/labels_{image}"]
        gt[: len(true_boxes)], labels[: len(true_boxes)] = true_boxes, true_labels
        candidates = np.concatenate([proposals[image], gt])
        valid = np.concatenate([np.ones(80, bool), labels > 0])
        matched, foreground, background = Compiled(match_rois, **THRESHOLDS)(candidates, valid, gt, labels)
        keys = np.linspace(1, 0, 100, endpoint=False)
        index, positive, counted = Compiled(sample_rois, num_positive=16, num_total=64)(foreground, background, keys)
        assert counted.all()
        order = np.argsort(index)  # torchvision keeps the candidates' order
        part = slice(64 * image, 64 * image + 64)
        np.testing.assert_array_equal(candidates[index[order]], fixture["train/rois"][part])
        found = np.where(positive, labels[matched[index]], 0)[order]
        np.testing.assert_array_equal(found, fixture["train/roi_labels"][part])
        own = found > 0
        np.testing.assert_array_equal(matched[index[order]][own], fixture["train/roi_matched_gt"][part][own])
