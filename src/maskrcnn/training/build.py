"""A Trainer from a configuration."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import mindspore as ms
from mindspore import Parameter, nn

from maskrcnn.checkpoint.folder import CheckpointFolder
from maskrcnn.checkpoint.state import RunIdentity, RunState
from maskrcnn.checkpoint.weights import load_pretrained
from maskrcnn.compile_cache import CachedGraph, cache_folder, graph_settings
from maskrcnn.config import Config
from maskrcnn.data.batches.loader import TrainLoader
from maskrcnn.data.records.info import read_info
from maskrcnn.device import set_device
from maskrcnn.distributed.process_group import ProcessGroup
from maskrcnn.models.build import build_network
from maskrcnn.models.mask_rcnn import MaskRCNN
from maskrcnn.training.accumulation import AccumulatedStep
from maskrcnn.training.logs import TrainLog
from maskrcnn.training.optimizer import AdamW, LossScale, MomentumSGD
from maskrcnn.training.precision import mixed_precision
from maskrcnn.training.run_info import changed_settings, run_digest, write_run_info
from maskrcnn.training.schedule import LearningRate
from maskrcnn.training.start import Start, find_start
from maskrcnn.training.step import TrainStep
from maskrcnn.training.trainer import Trainer, TrainingPlan
from maskrcnn.training.validation import Validation
from maskrcnn.training.weight_average import WeightAverage


def build_trainer(
    cfg: Config,
    record: Path,
    checkpoints: CheckpointFolder | None,
    group: ProcessGroup | None = None,
    start: Start | None = None,
) -> Trainer:
    """Returns everything that a run needs, with the weights that it starts or continues from loaded.

    Args:
        cfg: The run's configuration.
        record: The training data.
        checkpoints: See ``folders.run_folders``.
        group: The processes that train together.
        start: Where the run starts; None: found here.

    Raises:
        MaskRCNNError: Something does not fit together.
    """
    set_device(cfg.device_target, cfg.device_id)
    group = group or ProcessGroup()
    start = start or find_start(cfg, checkpoints, group)
    cfg = start.cfg
    ms.set_seed(cfg.seed)  # the initial weights; all other randomness is keyed by the loader
    info = read_info(record)
    group.check_same(run_digest(cfg, info), "settings, class names or training data")
    loader = TrainLoader.from_config(cfg, record, group.rank, group.world_size)
    network = build_network(cfg, len(info.classes) + 1, world_size=group.world_size)
    network = mixed_precision(network, cfg.mixed_precision)
    network.set_train()
    loss_scale = LossScale.from_setting(cfg.loss_scale)
    step = make_step(cfg, network, loss_scale, group.world_size)
    average = WeightAverage(network, cfg.ema_decay) if cfg.ema_decay else None
    state = RunState(
        [*network.get_parameters(), *step.optimizer.moments, *(average.averages if average else ())],
        RunIdentity(
            seed=cfg.seed,
            class_names=info.classes.names,
            steps_per_epoch=loader.steps_per_epoch,
            batch_size=cfg.batch_size * cfg.accumulate_steps,
            world_size=group.world_size,
        ),
        info={"config": cfg.to_dict(), "category_ids": list(info.classes.category_ids)},
        group=group,
    )
    trainer = Trainer(
        step=step,
        graph=with_cache(step, cfg, group.world_size),
        loader=loader,
        learning_rate=LearningRate.from_config(cfg, loader.steps_per_epoch, group.world_size),
        plan=training_plan(cfg, loader.steps_per_epoch),
        state=state,
        log=lambda resumed_at: TrainLog(cfg.log_dir, group.rank, resumed_at),
        loss_scale=loss_scale,
        checkpoints=checkpoints,
        evaluate=Validation(cfg, info.classes, group) if cfg.eval_interval_epochs else None,
        average=average,
    )
    if group.rank == 0:
        start_weights(trainer, network, start)
        print(trainer.learning_rate.describe(cfg, group.world_size), flush=True)
        if not cfg.dry_run:
            write_run_info(cfg)
    state.share()
    return trainer


def make_step(cfg: Config, network: MaskRCNN, loss_scale: LossScale, world_size: int) -> TrainStep | AccumulatedStep:
    """Returns the training step of a configuration."""
    optimizer = make_optimizer(cfg, network.trainable_params())
    options = {
        "clip_grad_norm": cfg.clip_grad_norm,
        "scaled": not loss_scale.fixed or loss_scale.value != 1.0,
        "skip_overflow": not loss_scale.fixed,
        "world_size": world_size,
    }
    if cfg.accumulate_steps > 1:
        return AccumulatedStep(network, optimizer, cfg.accumulate_steps, **options)
    return TrainStep(network, optimizer, **options)


def with_cache(step: TrainStep | AccumulatedStep, cfg: Config, world_size: int) -> Callable[..., Any]:
    """Returns the step with its graphs kept on disk; those of an accumulated one compile anew each time."""
    if isinstance(step, AccumulatedStep):
        return step
    return CachedGraph(step, cache_folder(cfg.compile_cache), [graph_settings(cfg), world_size])


def make_optimizer(cfg: Config, parameters: Iterable[Parameter]) -> MomentumSGD | AdamW:
    """Returns the optimizer of a configuration for the parameters that are trained."""
    decay = {"weight_decay": cfg.weight_decay, "decay_norm_bias": cfg.weight_decay_norm_bias}
    if cfg.optimizer == "adamw":
        return AdamW(list(parameters), beta1=cfg.momentum, **decay)
    return MomentumSGD(list(parameters), momentum=cfg.momentum, **decay)


def training_plan(cfg: Config, steps_per_epoch: int) -> TrainingPlan:
    """Returns the plan of a configuration, intervals in steps; at least one step lies between two checkpoints."""
    return TrainingPlan(
        epochs=cfg.epoch_size,
        max_steps=cfg.max_steps,
        save_steps=cfg.save_checkpoint_steps or max(round(cfg.save_checkpoint_epochs * steps_per_epoch), 1),
        eval_epochs=cfg.eval_interval_epochs,
        patience=cfg.early_stopping_patience,
        log_steps=cfg.log_interval,
    )


def start_weights(trainer: Trainer, network: nn.Cell, start: Start) -> None:
    """Continues the run of a checkpoint, or begins with other weights, or leaves the random ones."""
    if start.resume:
        changed = changed_settings(trainer.resume(start.resume).get("config", {}), start.cfg)
        if changed:
            print(f"settings changed since then: {', '.join(changed)}", flush=True)
        return
    if start.weights:
        report = load_pretrained(
            network,
            start.weights,
            class_names=trainer.state.identity.class_names,
            parts=start.cfg.load_parts,
            allow_partial=start.cfg.allow_partial,
        )
        print("\n".join(report.lines()), flush=True)
    if trainer.average:
        trainer.average.start()
