"""What a training would do and cost, measured over a few steps of it."""

from __future__ import annotations

import contextlib
import time
from collections import Counter
from collections.abc import Iterator

import numpy as np

from maskrcnn.config import Config
from maskrcnn.config.limits import shown
from maskrcnn.data.records.info import RecordInfo
from maskrcnn.training.logs import duration, peak_memory
from maskrcnn.training.trainer import Trainer

MEASURED_STEPS = 3  # of each canvas, after the one that compiles
MOST_STEPS = 40  # looked through for canvases that are rare


def dry_run(trainer: Trainer, cfg: Config, record: RecordInfo) -> None:
    """Prints settings, data and steps of a training, does a few steps, and prints what it will take.

    Nothing is saved. All ranks call it; rank 0 prints.

    Args:
        trainer: The trainer, its weights loaded.
        cfg: The resolved settings.
        record: The training data.
    """
    report(trainer, settings_lines(cfg))
    report(trainer, data_lines(trainer, cfg, record))
    report(trainer, ["", "measuring a few steps"])
    report(trainer, list(measured_lines(trainer, record, cfg)))


def report(trainer: Trainer, lines: list[str]) -> None:
    """Prints lines on rank 0."""
    if trainer.group.rank == 0:
        print("\n".join(lines), flush=True)


def settings_lines(cfg: Config) -> list[str]:
    """Returns the settings that are not the defaults, as they would stand in a YAML file."""
    defaults = Config().to_dict()
    changed = {key: value for key, value in cfg.to_dict().items() if value != defaults[key]}
    return ["settings that differ from the defaults:", *(f"  {key}: {shown(value)}" for key, value in changed.items())]


def data_lines(trainer: Trainer, cfg: Config, record: RecordInfo) -> list[str]:
    """Returns what is trained on, for how many steps, and what checkpoints take."""
    used = min(cfg.train_images or len(record), len(record))
    upright = int(np.count_nonzero(record.sizes[:used, 0] > record.sizes[:used, 1]))
    classes = ", ".join(record.classes.names[:10]) + (", ..." if len(record.classes) > 10 else "")
    per_step, done = trainer.state.identity.images_per_step, trainer.state.global_step
    size = sum(array.nbytes for _, array in trainer.state.arrays()) / 2**20
    return [
        "",
        f"data: {record.path}: {used} of {len(record)} images ({used - upright} landscape, {upright} upright), "
        f"{record.objects} objects, {len(record.classes)} classes: {classes}",
        f"steps: {trainer.steps_per_epoch} an epoch with {per_step} images each, {cfg.epoch_size} epochs, "
        f"{trainer.last_step} steps in all, {done} of them done",
        f"checkpoints: {size:.0f} MiB each, the newest {cfg.keep_checkpoint_max} are kept"
        if cfg.save_checkpoint
        else "checkpoints: none (save_checkpoint is off)",
    ]


def measured_lines(trainer: Trainer, record: RecordInfo, cfg: Config) -> Iterator[str]:
    """Does a few steps on each canvas; yields what they took, and what the training will take."""
    done: Counter[tuple[int, ...]] = Counter()
    seen: Counter[tuple[int, ...]] = Counter()
    seconds: dict[tuple[int, ...], list[float]] = {}
    upright = record.sizes[: cfg.train_images or None, 0] > record.sizes[: cfg.train_images or None, 1]
    canvases = len(set(upright.tolist()))
    with contextlib.closing(trainer.loader.epoch(0)) as batches:
        for number, batch in enumerate(batches):
            canvas = batch.image.shape[1:3]
            seen[canvas] += 1
            if done[canvas] <= MEASURED_STEPS:
                began = time.perf_counter()
                trainer.train_step(batch)
                done[canvas] += 1
                seconds.setdefault(canvas, []).append(time.perf_counter() - began)
            enough = len(done) == canvases and min(done.values()) > MEASURED_STEPS
            if enough or number + 1 >= MOST_STEPS:
                break
    left = max(trainer.last_step - trainer.state.global_step + sum(done.values()), 0)
    mean = sum(seen[canvas] * typical(taken) for canvas, taken in seconds.items()) / sum(seen.values())
    for canvas, taken in seconds.items():
        yield (
            f"canvas {canvas[1]}x{canvas[0]}: {taken[0]:.1f} s for the first step, which compiles, "
            f"then {typical(taken):.2f} s/step"
        )
    compiling = sum(taken[0] for taken in seconds.values())
    images = trainer.state.identity.images_per_step
    yield (
        f"expected: {duration(compiling + left * mean)} for {left} steps, without evaluations; "
        f"{mean:.2f} s/step, {images / mean:.2f} images/s, peak memory {peak_memory() / 2**30:.2f} GiB"
    )
    yield "dry run: nothing was trained or saved; remove dry_run to train"


def typical(taken: list[float]) -> float:
    """Returns the median of a canvas's steps without the one that compiles, if there are others."""
    return float(np.median(taken[1:] or taken))
