"""The epoch plan: every image, one orientation a step, another order each epoch."""

from __future__ import annotations

import numpy as np
import pytest

from maskrcnn.data.batches.order import Purpose, keyed_rng, plan_epoch, repeat_factors, steps_per_epoch


@pytest.mark.parametrize("global_batch", [1, 2, 3, 16])
@pytest.mark.parametrize("count", [1, 2, 7, 50])
def test_every_image_is_seen_and_a_step_has_one_orientation(count, global_batch):
    for epoch in range(5):
        upright = np.random.default_rng([count, epoch]).random(count) < 0.3
        plan = plan_epoch(upright, global_batch, seed=1, epoch=epoch)
        assert plan.shape == (steps_per_epoch(upright, global_batch), global_batch)
        assert set(plan.ravel()) == set(range(count))
        assert (upright[plan] == upright[plan][:, :1]).all()
        # Only what is needed to fill the last batch of an orientation is shown again.
        repeats = plan.size - count
        assert repeats < 2 * global_batch
        for orientation in (False, True):
            seen = np.bincount(plan[upright[plan] == orientation].ravel(), minlength=1)
            shown = seen[seen > 0]
            assert len(shown) == 0 or shown.max() - shown.min() <= 1


def test_order_follows_from_seed_and_epoch():
    upright = np.arange(40) % 3 == 0
    first = plan_epoch(upright, 2, seed=1, epoch=0)
    np.testing.assert_array_equal(first, plan_epoch(upright, 2, seed=1, epoch=0))
    assert (first != plan_epoch(upright, 2, seed=1, epoch=1)).any()
    assert (first != plan_epoch(upright, 2, seed=2, epoch=0)).any()


def test_orientations_are_mixed_over_the_epoch():
    upright = np.arange(400) < 200
    plan = plan_epoch(upright, 2, seed=3, epoch=0)
    changes = np.count_nonzero(np.diff(upright[plan[:, 0]].astype(int)))
    assert 70 < changes < 130  # about half of the 199 neighbours differ


def test_streams_differ_in_every_part_of_the_key():
    keys = [
        (0, 0, 0, Purpose.VIEW),
        (1, 0, 0, Purpose.VIEW),
        (0, 1, 0, Purpose.VIEW),
        (0, 0, 1, Purpose.VIEW),
    ]
    keys += [(0, 0, 0, purpose) for purpose in Purpose if purpose != Purpose.VIEW]
    assert len({keyed_rng(*key).random() for key in keys}) == len(keys)


def test_repeat_factors_are_those_of_lvis():
    """Gupta et al. 2019, appendix B.2, by hand: class 1 in 4 of 4 images, 2 in 1 of 4, 3 in 2 of 4; t = 1 and 0.36."""
    labels = [[1], [1, 2], [1, 3], [1, 3]]
    np.testing.assert_allclose(repeat_factors(labels, 1.0), [1, 2, np.sqrt(2), np.sqrt(2)])
    np.testing.assert_allclose(repeat_factors(labels, 0.36), [1, 1.2, 1, 1])
    np.testing.assert_allclose(repeat_factors([[], [5], []], 1.0), [1, np.sqrt(3), 1])


@pytest.mark.parametrize("global_batch", [1, 3, 8])
def test_images_are_repeated_as_often_as_their_factors_say(global_batch):
    """In each epoch rounded up or down, over many epochs exactly; an epoch has always the same number of steps."""
    rng = np.random.default_rng(global_batch)
    upright = rng.random(30) < 0.4
    factors = np.where(rng.random(30) < 0.5, 1.0, 1 + 3 * rng.random(30))
    steps = steps_per_epoch(upright, global_batch, factors)
    counts = []
    for epoch in range(400):
        plan = plan_epoch(upright, global_batch, seed=4, epoch=epoch, factors=factors)
        assert plan.shape == (steps, global_batch)
        assert (upright[plan] == upright[plan][:, :1]).all()
        counts.append(np.bincount(plan.ravel(), minlength=30))
    expected = np.empty(30)
    for orientation in (False, True):  # the last batch of an orientation is filled up
        own = upright == orientation
        wanted = -(-int(np.ceil(factors[own].sum())) // global_batch) * global_batch
        expected[own] = factors[own] * wanted / factors[own].sum()
    assert (np.abs(np.array(counts) - expected) < 1).all()
    assert np.array(counts).min() >= 1
    np.testing.assert_allclose(np.mean(counts, 0), expected, atol=4 * 0.5 / np.sqrt(400))


def test_repeated_images_are_spread_and_keyed():
    upright, factors = np.zeros(40, bool), np.full(40, 2.0)
    plan = plan_epoch(upright, 1, seed=1, epoch=0, factors=factors).ravel()
    assert np.count_nonzero(np.diff(plan) == 0) < 10
    np.testing.assert_array_equal(plan, plan_epoch(upright, 1, seed=1, epoch=0, factors=factors).ravel())
    assert (plan != plan_epoch(upright, 1, seed=1, epoch=1, factors=factors).ravel()).any()
