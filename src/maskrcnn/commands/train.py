"""The training command, from its command line to its exit code."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from maskrcnn.cli import program
from maskrcnn.config import Config, load_config

if TYPE_CHECKING:
    from maskrcnn.distributed.process_group import ProcessGroup

EVERYDAY = (
    "coco_root",
    "mindrecord_dir",
    "pre_trained",
    "resume",
    "save_checkpoint_path",
    "log_dir",
    "batch_size",
    "base_lr",
    "epoch_size",
    "device_target",
)


def main(argv: Sequence[str] | None = None, defaults: Path | None = None) -> int:
    """Converts the data if that has not been done, then trains.

    Args:
        argv: The command line; None: that of the process.
        defaults: A YAML file with the defaults.

    Returns:
        The exit code. 0: done. 130 or 143: stopped by SIGINT or SIGTERM, after a checkpoint.

    Raises:
        MaskRCNNError: It cannot be done.
    """
    cfg = load_config(
        argv,
        defaults=defaults,
        description="Train Mask R-CNN.",
        usage=f"{program('train')} --coco_root DIR --pre_trained FILE",
        everyday=EVERYDAY,
    )
    # Only now, since these imports take time, and mistakes in the settings are to be told at once.
    from maskrcnn.checkpoint.folder import CheckpointFolder
    from maskrcnn.data.records.conversion import convert_from_config
    from maskrcnn.data.records.info import read_info
    from maskrcnn.device import join_process_group
    from maskrcnn.training.build import build_trainer
    from maskrcnn.training.dry_run import dry_run
    from maskrcnn.training.folders import make_folders, run_folders
    from maskrcnn.training.start import find_start
    from maskrcnn.training.validation import check_evaluation_files

    if cfg.only_create_dataset:
        convert_from_config(cfg)
        return 0
    group = join_process_group(cfg)
    with run_folders(cfg, group.rank) as checkpoints:  # before a conversion that may take long
        start = find_start(cfg, checkpoints, group)
        cfg = start.cfg
        make_folders(cfg)  # those that the settings of a checkpoint ask for besides
        if checkpoints:
            checkpoints = CheckpointFolder(cfg.save_checkpoint_path, cfg.keep_checkpoint_max)
        if cfg.eval_interval_epochs:
            check_evaluation_files(cfg)
        record = convert_once(cfg, group)
        trainer = build_trainer(cfg, record, checkpoints, group, start)
        if cfg.dry_run:
            dry_run(trainer, cfg, read_info(record))
            return 0
        code = trainer.train()
        group.barrier("rank 0 to write its last checkpoint")  # a process that ends with a signal's code ends the others
    return code


def convert_once(cfg: Config, group: ProcessGroup) -> Path:
    """Returns the record of the training data, made first if need be.

    Rank 0 makes it, then one process of each host that does not see it.
    """
    from maskrcnn.data.records.conversion import convert_from_config

    if group.rank == 0:
        convert_from_config(cfg)
    group.barrier("rank 0 to convert the data")
    if group.local_rank == 0:
        convert_from_config(cfg)
    group.barrier("the first rank of each host to convert the data")
    return convert_from_config(cfg)
