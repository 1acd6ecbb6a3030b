"""The folders of a run: made, checked and locked before the work begins, so that it does not fail after it."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from maskrcnn.checkpoint.folder import CheckpointFolder
from maskrcnn.config import Config
from maskrcnn.errors import CheckpointError, ConfigError, TrainingError
from maskrcnn.lock import AlreadyLocked, locked

LOCK = ".training.lock"


@contextlib.contextmanager
def run_folders(cfg: Config, rank: int = 0) -> Iterator[CheckpointFolder | None]:
    """Makes the folders of a run, and keeps other trainings out of them while the block runs.

    Args:
        cfg: The run's configuration.
        rank: This process's; only rank 0 reads and writes checkpoints, and holds the locks.

    Yields:
        The folder of the run's checkpoints; None if it saves none, as on all ranks but 0.

    Raises:
        MaskRCNNError: Something is missing, cannot be written, is in use by another training, or holds an earlier one.
    """
    if cfg.eval_interval_epochs and not cfg.save_checkpoint:
        raise ConfigError("eval_interval_epochs needs checkpoints: set save_checkpoint to true")
    make_folders(cfg)
    if rank > 0:
        yield None
        return
    for key in ("pre_trained", "resume"):
        path = getattr(cfg, key)
        if path and path != "auto" and not Path(path).is_file():
            raise CheckpointError(f"{key} {path} does not exist")
    checkpoints = CheckpointFolder(cfg.save_checkpoint_path, cfg.keep_checkpoint_max) if cfg.save_checkpoint else None
    if checkpoints:
        checkpoints.prepare()
    with contextlib.ExitStack() as locks:
        lock_folders(cfg, locks)
        if checkpoints and checkpoints.listed() and not cfg.resume:
            raise CheckpointError(
                f"{cfg.save_checkpoint_path} holds the checkpoints of an earlier run "
                f"(newest {checkpoints.listed()[-1].name}): continue it with --resume auto, "
                "or choose another save_checkpoint_path"
            )
        yield checkpoints


def make_folders(cfg: Config) -> None:
    """Makes the folders of logs and results.

    Raises:
        TrainingError: One cannot be made or written.
    """
    for key in ("log_dir", "eval_output") if cfg.eval_interval_epochs else ("log_dir",):
        folder = Path(getattr(cfg, key))
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise TrainingError(f"{key} {folder} cannot be made: {error.strerror}; choose another") from error
        if not os.access(folder, os.W_OK):
            raise TrainingError(f"{key} {folder} cannot be written; choose another")


def lock_folders(cfg: Config, locks: contextlib.ExitStack) -> None:
    """Locks what two trainings would spoil for each other: the folders of checkpoints and of logs.

    Args:
        cfg: The run's configuration.
        locks: Holds the locks.

    Raises:
        TrainingError: Another training is at work in one of them.
    """
    keys = ("save_checkpoint_path", "log_dir") if cfg.save_checkpoint else ("log_dir",)
    folders = {Path(getattr(cfg, key)).resolve(): key for key in reversed(keys)}  # each once
    for folder, key in folders.items():
        try:
            before = locks.enter_context(locked(folder / LOCK))
        except AlreadyLocked as holder:
            raise TrainingError(
                f"{key} {folder} is in use by another training, {holder}: wait for it to end, or choose another {key}"
            ) from None
        except OSError as error:
            raise TrainingError(f"{key} {folder} cannot be written: {error.strerror}; choose another") from error
        if before:
            print(f"{key} {folder}: the lock of {before} is stale, that training is gone", flush=True)
