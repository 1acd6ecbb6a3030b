"""The learning rate of every step, in closed form: warm-up, then steps or a cosine over the length of the run."""

from __future__ import annotations

import math
from dataclasses import dataclass

from maskrcnn.config import Config
from maskrcnn.errors import ConfigError

REFERENCE_IMAGES_PER_STEP = 16  # base_lr is given for this many, as in the paper (8 GPUs with 2 images each)


def images_per_step(cfg: Config, world_size: int) -> int:
    """Returns the images of a step of all processes."""
    return cfg.batch_size * cfg.accumulate_steps * world_size


@dataclass(frozen=True)
class LearningRate:
    """Learning rate as a function of the global step; the state of the schedule is the step alone.

    Attributes:
        peak: The rate after warm-up.
        total_steps: Length of the whole run, so that a small data set decays just as COCO does.
        kind: "step", or "cosine" (Loshchilov & Hutter 2017, equation 5, without restarts).
        fractions: Points of the run at which a "step" schedule multiplies the rate by ``gamma``.
        gamma: Factor of each step.
        warmup_steps: Steps during which the rate is multiplied by a factor that grows linearly from ``warmup_ratio`` to
            1 (Goyal et al. 2017, section 2.2).
        warmup_ratio: That factor at the first step.
    """

    peak: float
    total_steps: int
    kind: str = "step"
    fractions: tuple[float, ...] = (0.6667, 0.9167)
    gamma: float = 0.1
    warmup_steps: int = 500
    warmup_ratio: float = 1 / 3

    def __post_init__(self) -> None:
        if self.kind not in ("step", "cosine"):
            raise ConfigError(f"lr_schedule is {self.kind!r}: it must be 'step' or 'cosine'")
        if self.total_steps < 1:
            raise ConfigError(f"the run has {self.total_steps} steps: epoch_size must be at least 1")

    def __call__(self, step: int) -> float:
        """Returns the rate of the 0-based global ``step``; steps past the end keep the last one's rate."""
        step = min(step, self.total_steps - 1)
        return self.peak * self._decay(step) * self._warmup(step)

    def _decay(self, step: int) -> float:
        if self.kind == "cosine":
            return 0.5 * (1.0 + math.cos(math.pi * step / self.total_steps))
        passed = sum(step >= round(fraction * self.total_steps) for fraction in self.fractions)
        return self.gamma**passed

    def _warmup(self, step: int) -> float:
        if step >= self.warmup_steps:
            return 1.0
        return self.warmup_ratio + (1.0 - self.warmup_ratio) * step / self.warmup_steps

    @classmethod
    def from_config(cls, cfg: Config, steps_per_epoch: int, world_size: int = 1) -> LearningRate:
        """Returns the schedule of a run of ``cfg.epoch_size`` epochs.

        With ``cfg.scale_lr`` the rate is ``base_lr * images_per_step / 16`` (linear scaling, Goyal et al. 2017, section
        2.1).

        Args:
            cfg: The run's configuration.
            steps_per_epoch: Steps of an epoch.
            world_size: Processes that train together.
        """
        scale = images_per_step(cfg, world_size) / REFERENCE_IMAGES_PER_STEP if cfg.scale_lr else 1.0
        return cls(
            peak=cfg.base_lr * scale,
            total_steps=steps_per_epoch * cfg.epoch_size,
            kind=cfg.lr_schedule,
            fractions=tuple(cfg.lr_step_fractions),
            gamma=cfg.lr_gamma,
            warmup_steps=cfg.warmup_step,
            warmup_ratio=cfg.warmup_ratio,
        )

    def describe(self, cfg: Config, world_size: int = 1) -> str:
        """Returns a line that says what the peak is and where it comes from."""
        images = images_per_step(cfg, world_size)
        scaled = f" x {images} / {REFERENCE_IMAGES_PER_STEP} images a step" if cfg.scale_lr else ", not scaled"
        steps = f"after {self.warmup_steps} steps of warm-up, then " if self.warmup_steps else ""
        falls = "a cosine" if self.kind == "cosine" else "in steps"
        return (
            f"learning rate: peak {self.peak:.6g} (base_lr {cfg.base_lr:g}{scaled}), {steps}falling {falls} over "
            f"{self.total_steps} steps"
        )
