"""What train.py does, from the command line to the exit code."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from maskrcnn.config import load_config


def main(argv: Sequence[str] | None = None, defaults: Path | None = None) -> int:
    """Convert the data if that has not been done, then train; returns the exit code.

    0: done. 130 or 143: stopped by SIGINT or SIGTERM, after a checkpoint. Raises MaskRCNNError.
    """
    cfg = load_config(argv, defaults=defaults, description="Train Mask R-CNN.")
    # MindSpore takes seconds to import: mistakes in the settings are reported before that.
    from maskrcnn.data.mindrecord import convert_from_config
    from maskrcnn.training.build import build_trainer, check_folders, checkpoint_folder

    if cfg.only_create_dataset:
        convert_from_config(cfg)
        return 0
    checkpoints = checkpoint_folder(cfg)
    check_folders(cfg, checkpoints)  # before a conversion that may take long
    record = convert_from_config(cfg)
    return build_trainer(cfg, record, checkpoints).train()
