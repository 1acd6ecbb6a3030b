"""Objects that have no slot are covered by regions to ignore."""

from __future__ import annotations

import numpy as np
import pytest

from maskrcnn.data.batches.ignore_regions import choose_objects, cover


def scattered(count: int, seed: int = 0, side: float = 20.0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    corner = rng.uniform(0, [1000, 700], (count, 2))
    return np.concatenate([corner, corner + rng.uniform(5, side, (count, 2))], axis=1).astype(np.float32)


def covered(box: np.ndarray, regions: np.ndarray) -> bool:
    return bool(((regions[:, :2] <= box[:2]).all(axis=1) & (regions[:, 2:] >= box[2:]).all(axis=1)).any())


@pytest.mark.parametrize(("count", "regions"), [(1, 1), (5, 8), (8, 8), (300, 32), (2000, 32), (2000, 1)])
def test_every_box_is_covered(count, regions):
    boxes = scattered(count)
    found = cover(boxes, regions)
    assert found.shape == (min(count, regions), 4) and found.dtype == np.float32
    assert all(covered(box, found) for box in boxes)
    if count <= regions:
        assert sorted(found.tolist()) == sorted(boxes.tolist()), "each has a region of its own"


def test_clusters_that_lie_apart_are_covered_apart():
    left, right = scattered(50), scattered(50, 1) + np.float32([5000, 0, 5000, 0])
    found = cover(np.concatenate([left, right]), 2)
    assert found[:, 2].min() < 2000 and found[:, 0].max() > 4000


def test_the_same_boxes_need_only_one_place():
    assert cover(np.tile(np.float32([[1, 2, 3, 4]]), (9, 1)), 3).tolist() == [[1, 2, 3, 4]] * 3


def test_objects_that_fit_are_all_kept():
    boxes, usable = scattered(10), np.arange(10)
    kept, ignored = choose_objects(usable, boxes, np.zeros(10, bool), 10, np.random.default_rng(0))
    assert kept is usable and ignored.shape == (0, 4)


@pytest.mark.parametrize(
    ("objects", "crowd", "most"), [(12, 0, 10), (130, 0, 128), (2000, 30, 128), (4, 0, 2), (5, 9, 8)]
)
def test_what_does_not_fit_is_ignored(objects, crowd, most):
    boxes = scattered(objects + crowd)
    is_crowd = np.arange(objects + crowd) >= objects
    usable = np.arange(objects + crowd)[1:]  # the first is too thin, say
    kept, ignored = choose_objects(usable, boxes, is_crowd, most, np.random.default_rng(1))
    assert len(kept) + len(ignored) <= most and len(ignored) >= 1
    assert len(kept) == min(objects - 1, most - max(most // 4, 1)) and not is_crowd[kept].any() and 0 not in kept
    assert (np.diff(kept) > 0).all()
    assert all(covered(boxes[number], ignored) for number in np.setdiff1d(usable, kept))


def test_the_choice_is_uniform():
    counts = np.zeros(12)
    for seed in range(2000):
        kept, _ = choose_objects(np.arange(12), scattered(12), np.zeros(12, bool), 8, np.random.default_rng(seed))
        counts[kept] += 1
    assert np.abs(counts / 2000 - 0.5).max() < 0.05
