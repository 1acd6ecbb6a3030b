"""The learning rate against values worked out by hand."""

from __future__ import annotations

import math
from types import SimpleNamespace

import pytest

from maskrcnn.errors import ConfigError
from maskrcnn.training.schedule import LearningRate


def config(**changes):
    values = {
        "base_lr": 0.02,
        "scale_lr": True,
        "batch_size": 2,
        "accumulate_steps": 1,
        "epoch_size": 12,
        "lr_schedule": "step",
        "lr_step_fractions": (0.6667, 0.9167),
        "lr_gamma": 0.1,
        "warmup_step": 500,
        "warmup_ratio": 1 / 3,
    }
    return SimpleNamespace(**{**values, **changes})


def test_the_papers_schedule_on_coco():
    rate = LearningRate.from_config(config(), steps_per_epoch=7330, world_size=8)
    total = 7330 * 12
    assert rate(0) == pytest.approx(0.02 / 3)
    assert rate(250) == pytest.approx(0.02 * (1 / 3 + 2 / 3 / 2))
    assert rate(500) == pytest.approx(0.02)
    assert rate(round(0.6667 * total) - 1) == pytest.approx(0.02)
    assert rate(round(0.6667 * total)) == pytest.approx(0.002)
    assert rate(round(0.9167 * total)) == pytest.approx(0.0002)
    assert rate(total - 1) == pytest.approx(0.0002)


def test_length_follows_the_data_set():
    rate = LearningRate.from_config(config(warmup_step=0, epoch_size=3), steps_per_epoch=10)
    peak = 0.02 * 2 / 16
    assert [rate(s) for s in (0, 19, 20, 26, 27, 28, 29)] == pytest.approx(
        [peak, peak, peak / 10, peak / 10, peak / 10, peak / 100, peak / 100]
    )


def test_scaling_is_linear_in_the_images_of_a_step_and_can_be_off():
    one = LearningRate.from_config(config(), 100, world_size=1)
    eight = LearningRate.from_config(config(), 100, world_size=8)
    assert eight.peak == pytest.approx(8 * one.peak) == pytest.approx(0.02)
    assert LearningRate.from_config(config(scale_lr=False), 100).peak == 0.02


def test_cosine_falls_from_the_peak_to_nearly_zero():
    rate = LearningRate(peak=1.0, total_steps=1000, kind="cosine", warmup_steps=0)
    assert rate(0) == 1.0
    assert rate(500) == pytest.approx(0.5)
    assert rate(250) == pytest.approx(0.5 + math.sqrt(0.5) / 2)
    assert 0 < rate(999) < 1e-5
    assert all(rate(s) > rate(s + 1) for s in range(0, 999, 7))


def test_warmup_is_linear_without_a_jump_at_its_end():
    rate = LearningRate(peak=3.0, total_steps=10_000, warmup_steps=100, warmup_ratio=0.25)
    differences = {round(rate(s + 1) - rate(s), 9) for s in range(100)}
    assert len(differences) == 1
    assert rate(0) == 0.75
    assert rate(100) == rate(101) == 3.0


def test_steps_past_the_end_keep_the_last_rate():
    rate = LearningRate(peak=1.0, total_steps=100, kind="cosine", warmup_steps=0)
    assert rate(100) == rate(99) == rate(10**6)


def test_what_cannot_work_is_refused():
    with pytest.raises(ConfigError, match="lr_schedule is 'poly'"):
        LearningRate(peak=1.0, total_steps=10, kind="poly")
    with pytest.raises(ConfigError, match="epoch_size"):
        LearningRate(peak=1.0, total_steps=0)


def test_the_parts_of_a_step_count_together():
    rate = LearningRate.from_config(config(accumulate_steps=4), steps_per_epoch=100, world_size=2)
    assert rate.peak == pytest.approx(0.02)  # 2 images, 4 parts, 2 processes: 16 images a step


@pytest.mark.parametrize(
    ("changes", "world_size", "line"),
    [
        ({}, 1, "peak 0.0025 (base_lr 0.02 x 2 / 16 images a step), after 500 steps of warm-up, then falling in steps"),
        ({}, 8, "peak 0.02 (base_lr 0.02 x 16 / 16 images a step)"),
        (
            {"scale_lr": False, "lr_schedule": "cosine", "warmup_step": 0},
            1,
            "peak 0.02 (base_lr 0.02, not scaled), falling a",
        ),
    ],
)
def test_the_peak_is_told_with_its_origin(changes, world_size, line):
    cfg = config(**changes)
    rate = LearningRate.from_config(cfg, steps_per_epoch=100, world_size=world_size)
    assert line in rate.describe(cfg, world_size)
