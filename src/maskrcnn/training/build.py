"""A Trainer from a configuration: device, data, network, optimizer, weights to start from."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Callable
from pathlib import Path

import cv2
import mindspore as ms
import numpy as np
from mindspore import nn

from maskrcnn import __version__
from maskrcnn.checkpoint.folder import CheckpointFolder
from maskrcnn.checkpoint.weights import load_pretrained
from maskrcnn.config import Config
from maskrcnn.data.batches.loader import TrainLoader
from maskrcnn.data.records.info import RecordInfo, read_info
from maskrcnn.data.sources.classes import ClassList
from maskrcnn.device import set_device
from maskrcnn.distributed.parameters import share_parameters
from maskrcnn.distributed.process_group import ProcessGroup
from maskrcnn.errors import CheckpointError, ConfigError, TrainingError
from maskrcnn.models.mask_rcnn import MaskRCNN
from maskrcnn.training.logs import TrainLog
from maskrcnn.training.optimizer import AdamW, LossScale, MomentumSGD
from maskrcnn.training.schedule import LearningRate
from maskrcnn.training.step import TrainStep
from maskrcnn.training.trainer import Trainer, TrainingPlan

# Settings that may differ from those of a checkpoint without changing what is learnt.
NOT_TRAINING = {"resume", "pre_trained", "max_steps", "save_checkpoint_path", "log_dir", "coco_root", "mindrecord_dir"}


def build_trainer(
    cfg: Config, record: Path, checkpoints: CheckpointFolder | None, group: ProcessGroup | None = None
) -> Trainer:
    """Everything that a run needs, with the weights it starts or continues from loaded.

    ``record`` is the training data; ``group`` are the processes that train together, of which only rank 0 has
    ``checkpoints``. Raises MaskRCNNError.
    """
    set_device(cfg.device_target, cfg.device_id)
    group = group or ProcessGroup()
    ms.set_seed(cfg.seed)  # the initial weights; all other randomness is keyed by the loader
    info = read_info(record)
    group.check_same(run_digest(cfg, info), "settings, class names or training data")
    classes = info.classes
    loader = TrainLoader.from_config(cfg, record, group.rank, group.world_size)
    network = mixed_precision(MaskRCNN.from_config(cfg, len(classes) + 1, group.world_size), cfg)
    network.set_train()
    loss_scale = LossScale.from_setting(cfg.loss_scale)
    kind = AdamW if cfg.optimizer == "adamw" else MomentumSGD
    optimizer = kind(network.trainable_params(), cfg.momentum, cfg.weight_decay, cfg.weight_decay_norm_bias)
    step = TrainStep(
        network,
        optimizer,
        clip_grad_norm=cfg.clip_grad_norm,
        scaled=not loss_scale.fixed or loss_scale.value != 1.0,
        skip_overflow=not loss_scale.fixed,
        world_size=group.world_size,
    )
    trainer = Trainer(
        step,
        loader,
        LearningRate.from_config(cfg, loader.steps_per_epoch, group.world_size),
        plan_of(cfg, loader.steps_per_epoch),
        identity={
            "seed": cfg.seed,
            "steps_per_epoch": loader.steps_per_epoch,
            "batch_size": cfg.batch_size,
            "world": group.world_size,
            "class_names": list(classes.names),
        },
        log=lambda resumed_at: TrainLog(cfg.log_dir, group.rank, resumed_at),
        loss_scale=loss_scale,
        checkpoints=checkpoints,
        evaluate=evaluation(cfg, classes, group) if cfg.eval_interval_epochs else None,
        info={"config": cfg.to_dict(), "category_ids": list(classes.category_ids)},
        group=group,
    )
    if group.rank == 0:
        start_weights(trainer, network, cfg, checkpoints)
        write_run_info(cfg)
    trainer.share_state()
    return trainer


def run_digest(cfg: Config, info: RecordInfo) -> bytes:
    """What must be the same on all ranks: the settings, but for folders, the classes and the images."""
    settings = {key: value for key, value in cfg.to_dict().items() if key not in NOT_TRAINING}
    return json.dumps([settings, info.classes.names, info.sizes.tolist()]).encode()


def start_weights(trainer: Trainer, network: nn.Cell, cfg: Config, checkpoints: CheckpointFolder | None) -> None:
    """Continue from ``resume`` if there is something to continue, else start from ``pre_trained``."""
    path = Path(cfg.resume) if cfg.resume else None
    if cfg.resume == "auto":
        path = checkpoints.newest() if checkpoints else None
        if path is None:
            print(f"resume auto: no checkpoint in {cfg.save_checkpoint_path} yet, starting anew", flush=True)
    if path is not None:
        before = trainer.resume(path).get("config", {})
        changed = [
            f"{key} {before[key]} -> {value}"
            for key, value in cfg.to_dict().items()
            if key not in NOT_TRAINING and before.get(key, value) != value
        ]
        if changed:
            print(f"settings changed since then: {', '.join(changed)}", flush=True)
    elif cfg.pre_trained:
        print("\n".join(load_pretrained(network, cfg.pre_trained).lines()), flush=True)


def mixed_precision(network: MaskRCNN, cfg: Config) -> MaskRCNN:
    """Half precision in the backbone and the pyramid, where nearly all the time goes; O2 keeps norms in
    float32.

    Box coordinates need more than the 11 bits of float16, so what computes with them stays float32. A CPU emulates
    half precision: O0 is the fast path there.
    """
    if cfg.mixed_precision == "O0":
        return network
    if ms.get_context("device_target") == "CPU":
        print(f"mixed_precision {cfg.mixed_precision} is emulated, and slower than O0, on a CPU", flush=True)
    for name in ("backbone", "fpn"):
        part = ms.amp.auto_mixed_precision(getattr(network, name), cfg.mixed_precision)
        network._cells[name] = part  # not setattr, which would rename the parameters
    return network


def plan_of(cfg: Config, steps_per_epoch: int) -> TrainingPlan:
    """Intervals in steps; at least one step lies between two checkpoints."""
    save_steps = cfg.save_checkpoint_steps or max(round(cfg.save_checkpoint_epochs * steps_per_epoch), 1)
    return TrainingPlan(cfg.epoch_size, cfg.max_steps, save_steps, cfg.eval_interval_epochs, cfg.log_interval)


def checkpoint_folder(cfg: Config, rank: int = 0) -> CheckpointFolder | None:
    """The folder of the run's checkpoints; None if it saves none, as on all ranks but 0."""
    if cfg.eval_interval_epochs and not cfg.save_checkpoint:
        raise ConfigError("eval_interval_epochs needs checkpoints: set save_checkpoint to true")
    if rank > 0 or not cfg.save_checkpoint:
        return None
    return CheckpointFolder(cfg.save_checkpoint_path, cfg.keep_checkpoint_max)


def check_folders(cfg: Config, checkpoints: CheckpointFolder | None, rank: int = 0) -> None:
    """Refuse what could only fail later: folders that cannot be written, files that are not there.

    A new run does not mix its checkpoints with those of an earlier one. Only ``rank`` 0 reads and writes checkpoints.
    Raises MaskRCNNError.
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


def evaluation(
    cfg: Config, classes: ClassList, group: ProcessGroup
) -> Callable[[Path | None], dict[str, float] | None]:
    """A function from a checkpoint to its figures on the evaluation data, which is read once; None off rank 0."""
    from maskrcnn.evaluation.evaluator import evaluate_from_config, evaluation_files
    from maskrcnn.evaluation.ground_truth import load_ground_truth
    from maskrcnn.inference.detector import Detector

    truth = load_ground_truth(evaluation_files(cfg)[0])
    detectors = []  # made at the first evaluation, then reused: it is compiled only once

    def evaluate(checkpoint: Path | None) -> dict[str, float] | None:
        if not detectors:
            detectors.append(Detector.from_config(cfg, len(classes) + 1))
        if group.rank == 0:  # the others may lie on hosts that do not have the file
            detectors[0].load(checkpoint)
        share_parameters(detectors[0].network.get_parameters(), group)
        result = evaluate_from_config(cfg, detectors[0], classes, truth, group=group)
        return result and result.summary()

    return evaluate


def write_run_info(cfg: Config) -> None:
    """The settings and the versions of the run, as run.json in the log folder."""
    info = {
        "versions": {
            "maskrcnn": __version__,
            "mindspore": ms.__version__,
            "numpy": np.__version__,
            "opencv": cv2.__version__,
            "python": platform.python_version(),
            "platform": platform.platform(),
        },
        "config": cfg.to_dict(),
    }
    path = Path(cfg.log_dir) / "run.json"
    try:
        path.write_text(json.dumps(info, indent=1) + "\n", encoding="utf-8")
    except OSError as error:
        raise TrainingError(f"cannot write {path}: {error.strerror}") from error
