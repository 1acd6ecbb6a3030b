"""The folders of a run: made and checked before the work begins, so that it does not fail after it."""

from __future__ import annotations

import os
from pathlib import Path

from maskrcnn.checkpoint.folder import CheckpointFolder
from maskrcnn.config import Config
from maskrcnn.errors import CheckpointError, ConfigError, TrainingError


def checkpoint_folder(cfg: Config, rank: int = 0) -> CheckpointFolder | None:
    """Returns the folder of the run's checkpoints; None if it saves none, as on all ranks but 0.

    Raises:
        ConfigError: Evaluations are asked for, but no checkpoints.
    """
    if cfg.eval_interval_epochs and not cfg.save_checkpoint:
        raise ConfigError("eval_interval_epochs needs checkpoints: set save_checkpoint to true")
    if rank > 0 or not cfg.save_checkpoint:
        return None
    return CheckpointFolder(cfg.save_checkpoint_path, cfg.keep_checkpoint_max)


def check_folders(cfg: Config, checkpoints: CheckpointFolder | None, rank: int = 0) -> None:
    """Refuses what could only fail later: folders that cannot be written, files that are not there.

    A new run does not mix its checkpoints with those of an earlier one.

    Args:
        cfg: The run's configuration.
        checkpoints: See ``checkpoint_folder``.
        rank: This process's; only rank 0 reads and writes checkpoints.

    Raises:
        MaskRCNNError: Something is missing, cannot be written, or holds an earlier run.
    """
    for key in ("pre_trained", "resume"):
        path = getattr(cfg, key)
        if path and path != "auto" and rank == 0 and not Path(path).is_file():
            raise CheckpointError(f"{key} {path} does not exist")
    for key in ("log_dir", "eval_output") if cfg.eval_interval_epochs else ("log_dir",):
        folder = Path(getattr(cfg, key))
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise TrainingError(f"{key} {folder} cannot be made: {error.strerror}; choose another") from error
        if not os.access(folder, os.W_OK):
            raise TrainingError(f"{key} {folder} cannot be written; choose another")
    if checkpoints:
        checkpoints.prepare()
        if checkpoints.listed() and not cfg.resume:
            raise CheckpointError(
                f"{cfg.save_checkpoint_path} holds the checkpoints of an earlier run "
                f"(newest {checkpoints.listed()[-1].name}): continue it with --resume auto, "
                "or choose another save_checkpoint_path"
            )
