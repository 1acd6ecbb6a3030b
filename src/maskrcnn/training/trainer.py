"""The training loop: batches in, weights, checkpoints and logs out."""

from __future__ import annotations

import contextlib
import json
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mindspore as ms
import numpy as np
from mindspore import Parameter, Tensor

from maskrcnn import __version__
from maskrcnn.checkpoint.folder import CheckpointFolder
from maskrcnn.checkpoint.format import MOMENT_PREFIXES, load_training_state
from maskrcnn.checkpoint.saver import Saver
from maskrcnn.checkpoint.weights import assign
from maskrcnn.distributed.parameters import share_parameters
from maskrcnn.distributed.process_group import ProcessGroup
from maskrcnn.errors import CheckpointError, TrainingError
from maskrcnn.models.mask_rcnn import LOSS_NAMES
from maskrcnn.training.logs import Progress, TrainLog, duration, named_losses, timed
from maskrcnn.training.optimizer import LossScale
from maskrcnn.training.schedule import LearningRate
from maskrcnn.training.signals import StopSignals
from maskrcnn.training.step import TrainStep

# What a resumed run must share with its checkpoint: the order of data or the shapes of weights depend on it.
IDENTITY = ("seed", "class_names")


@dataclass(frozen=True)
class TrainingPlan:
    """How long to train, and what to do how often (0: never)."""

    epochs: int
    max_steps: int = 0  # stop early after this global step
    save_steps: int = 0  # a checkpoint after so many steps
    eval_epochs: int = 0  # an evaluation after so many epochs
    log_steps: int = 1  # a log line after so many steps, and at the end of an epoch


class Trainer:
    """Trains until the plan is done or a signal comes.

    All that a resumed run needs is the global step, the weights, the moments and the loss scale: the order of
    the data, augmentation and sampling follow from (seed, epoch, step), the learning rate from the step. What follows
    from the step depends on the images of a step in all ranks together, and not on the number of ranks.
    """

    def __init__(
        self,
        step: TrainStep,
        loader: Any,
        learning_rate: LearningRate,
        plan: TrainingPlan,
        *,
        identity: dict,
        log: Callable[[tuple[int, int, int] | None], TrainLog],
        loss_scale: LossScale | None = None,
        checkpoints: CheckpointFolder | None = None,
        evaluate: Callable[[Path], dict[str, float]] | None = None,
        info: dict | None = None,
        group: ProcessGroup | None = None,
    ) -> None:
        """``loader`` is a ``TrainLoader``; ``step`` trains in place.

        :param identity: values of ``IDENTITY``; a checkpoint in which they differ is refused. Also
            ``steps_per_epoch``, and ``batch_size`` and ``world``, whose product is the images of a step.
        :param log: opens the log, given the position that the run continues from.
        :param evaluate: takes a checkpoint's path and returns figures, ``segm_ap`` and ``bbox_ap`` among them. All
            ranks call it; it returns None on those but rank 0.
        :param info: what else checkpoints shall hold (configuration, category ids).
        :param group: the processes that train together; only rank 0 has ``checkpoints``.
        """
        self.step, self.loader, self.learning_rate, self.plan = step, loader, learning_rate, plan
        self.identity, self.info = identity, info or {}
        self.open_log, self.checkpoints, self.evaluate = log, checkpoints, evaluate
        self.saver = Saver(checkpoints, self.state, self.meta, plan.save_steps)
        self.loss_scale = loss_scale or LossScale()
        self.group = group or ProcessGroup()
        self.progress = Progress()
        self.steps_per_epoch = loader.steps_per_epoch
        self.last_step = plan.epochs * self.steps_per_epoch
        if plan.max_steps:
            self.last_step = min(self.last_step, plan.max_steps)
        self.global_step = 0  # steps done
        self.resumed_at: tuple[int, int, int] | None = None  # as the log counts: epoch, step in it, global step
        self.stopping = False  # all ranks stop now

    def train(self) -> int:
        """Train to the end of the plan; returns the exit code: 0, or 128 + the signal that stopped the run.

        :raises TrainingError: a loss or gradient is not finite, or a log cannot be written.
        :raises CheckpointError: a checkpoint cannot be written.
        """
        with contextlib.closing(self.open_log(self.resumed_at)) as log, StopSignals() as stop, self.saver.running():
            if self.evaluation_missing(log):
                with stop.at_once():
                    self.evaluate_epoch(log)
            while self.global_step < self.last_step and not self.stopping:
                self.train_epoch(log, stop)
        if stop.received:
            kept = (
                f"continue with --resume {self.saver.newest}"
                if self.saver.newest
                else "nothing saved (save_checkpoint is off)"
            )
            print(f"stopped by {stop.received.name} after step {self.global_step}; {kept}", flush=True)
        return stop.exit_code

    def train_epoch(self, log: TrainLog, stop: StopSignals) -> None:
        """Train from the current step to the end of its epoch, of the run, or until a signal."""
        epoch, start = divmod(self.global_step, self.steps_per_epoch)
        since_line: list[np.ndarray] = []  # losses since the last line
        with contextlib.closing(self.loader.epoch(epoch, start)) as batches:
            for batch, waited, began in timed(batches):
                losses, norm, rate = self.train_step(batch)
                stop.keep()
                self.agree_to_stop(stop)
                since_line.append(losses)
                self.progress.add(batch.image.shape, waited, time.perf_counter() - began)
                _, step = self.position()
                if step % self.plan.log_steps == 0 or step == self.steps_per_epoch or self.finished:
                    images = len(batch.image_id) * self.group.world_size
                    self.report(log, np.mean(since_line, 0), norm, rate, images)
                    since_line = []
                self.saver.after_step(self.global_step)
                if self.finished or self.stopping:
                    break
        if not self.stopping and self.evaluation_due:
            with stop.at_once():  # the epoch is saved first, and evaluated when the run resumes
                self.evaluate_epoch(log)

    def agree_to_stop(self, stop: StopSignals) -> None:
        """Set ``stopping`` after a signal: at once, or with several ranks after the step in which all learn of it."""
        if self.group.alone:
            self.stopping = stop.received is not None
        elif self.step.all_reduce.stopping():
            self.stopping = True
            stop.received = stop.received or signal.SIGTERM
        elif stop.received:
            self.step.all_reduce.want_stop()

    def train_step(self, batch: Any) -> tuple[np.ndarray, float, float]:
        """One update; returns the losses (float32 [5]), the norm of the gradients and the learning rate."""
        rate, scale = self.learning_rate(self.global_step), self.loss_scale.value
        tensors = [Tensor.from_numpy(array) for array in batch[:-1]]  # all but image_id
        losses, norm = self.step(Tensor(rate, ms.float32), Tensor(scale, ms.float32), *tensors)
        losses, norm = losses.asnumpy(), float(norm.asnumpy())
        self.global_step += 1
        if not np.isfinite(losses).all() or (self.loss_scale.fixed and not np.isfinite(norm)):
            ids = json.dumps(batch.image_id.tolist()).encode()
            everyone = self.group.all_gather(ids, "the image ids of a bad step")
            self.saver.sound = False
            self.saver.settle()
            raise TrainingError(self.not_finite(losses, norm, [i for part in everyone for i in json.loads(part)]))
        self.loss_scale.update(bool(np.isfinite(norm)))
        return losses, norm, rate

    def not_finite(self, losses: np.ndarray, norm: float, image_ids: list[int]) -> str:
        """The line for a step whose loss or gradient is NaN or infinite."""
        bad = [f"{name} {loss}" for name, loss in zip(LOSS_NAMES, losses) if not np.isfinite(loss)]
        epoch, step = self.position()
        return (
            f"not finite at epoch {epoch} step {step}: {', '.join(bad) or f'norm of the gradients {norm}'}; "
            f"images {', '.join(map(str, image_ids))}; newest checkpoint {self.saver.newest or 'none'}; "
            f"lower base_lr, lengthen warmup_step or set clip_grad_norm"
        )

    def report(self, log: TrainLog, losses: np.ndarray, norm: float, rate: float, images: int) -> None:
        """One line to the log files and one to the console."""
        epoch, step = self.position()
        named, speed = named_losses(losses), self.progress.figures(images)
        state = {"lr": rate, "grad_norm": norm, "loss_scale": self.loss_scale.value}
        state.update(skipped_steps=self.loss_scale.skipped, objects_left_out=self.loader.objects_left_out)
        state["checkpoint_wait"], self.saver.held_up = round(self.saver.held_up, 4), 0.0
        log.losses(epoch, step, self.global_step, named, {**state, **speed})
        left = duration((self.last_step - self.global_step) * speed["step_seconds"])
        print(
            f"epoch {epoch}/{self.plan.epochs} step {step}/{self.steps_per_epoch} "
            f"loss {named['total_loss']:.4f} (rpn {named['rpn_loss']:.4f} rcnn {named['rcnn_loss']:.4f}) "
            f"lr {rate:.6f} {speed['step_seconds']:.2f} s/step {speed['images_per_second']:.2f} images/s "
            f"data wait {speed['data_wait']:.0%} memory {speed['memory_gib']:.2f} GiB ETA {left}"
            + (f" skipped {self.loss_scale.skipped}" if self.loss_scale.skipped else ""),
            flush=True,
        )

    def evaluate_epoch(self, log: TrainLog) -> None:
        """Evaluate the newest checkpoint, and keep it as best.ckpt if its mask AP is the highest so far."""
        self.saver.save_now()
        figures = self.evaluate(self.saver.newest)
        if figures is None:
            return
        epoch, _ = self.position()
        score = figures["segm_ap"] if figures["segm_ap"] >= 0 else figures["bbox_ap"]  # no masks to compare
        best = self.checkpoints.best_meta().get("best_score", -1.0)
        better = score > best
        if better:
            self.saver.save_best({**figures, "best_score": score})
        log.metrics({"epoch": epoch, "global_step": self.global_step, **figures})  # now the evaluation counts as done
        print(
            f"epoch {epoch}: bbox AP {figures['bbox_ap']:.4f}, segm AP {figures['segm_ap']:.4f} "
            + ("(best so far, kept as best.ckpt)" if better else f"(best {best:.4f})"),
            flush=True,
        )

    @property
    def evaluation_due(self) -> bool:
        """True at the end of an epoch that the plan has evaluated."""
        epochs_done, inside = divmod(self.global_step, self.steps_per_epoch)
        return bool(self.plan.eval_epochs and epochs_done) and not inside and not epochs_done % self.plan.eval_epochs

    def evaluation_missing(self, log: TrainLog) -> bool:
        """True if the checkpoint that the run resumed from was to be evaluated and has not been; all ranks agree."""
        if not self.resumed_at or not self.evaluation_due:
            return False
        missing = b"" if log.resumed_at_evaluation else b"missing"
        return bool(self.group.broadcast(missing, "rank 0 to open its log"))

    @property
    def finished(self) -> bool:
        """True when the last step of the plan is done."""
        return self.global_step >= self.last_step

    def position(self) -> tuple[int, int]:
        """Epoch and step in it of the last step done, both counted from 1."""
        epoch, step = divmod(self.global_step - 1, self.steps_per_epoch)
        return epoch + 1, step + 1

    def state(self) -> Iterator[tuple[str, np.ndarray]]:
        """Names and values of all weights and moments."""
        for parameter in self.parameters():
            yield parameter.name, parameter.asnumpy()

    def parameters(self) -> tuple[Parameter, ...]:
        """All weights and moments."""
        return (*self.step.network.get_parameters(), *self.step.optimizer.moments)

    def meta(self) -> dict:
        """All else that a checkpoint holds."""
        epoch, step = self.position()
        return {
            **self.identity,
            **self.info,
            "epoch": epoch,
            "step": step,
            "global_step": self.global_step,
            "loss_scale": self.loss_scale.state(),
            "maskrcnn": __version__,
            "mindspore": ms.__version__,
        }

    def resume(self, path: Path) -> dict:
        """Continue from ``path`` exactly; returns its metadata.

        :raises CheckpointError: damaged, without a training state, of another network or of another run's
            data.
        """
        arrays, meta = load_training_state(path)
        if "global_step" not in meta:
            raise CheckpointError(f"{path} holds no training state: use --pre_trained to start from its weights")
        for key in IDENTITY:
            if meta[key] != self.identity[key]:
                raise CheckpointError(
                    f"{path} was made with {key} {meta[key]}, this run has {self.identity[key]}: set it "
                    f"back, or use --pre_trained to start anew from its weights"
                )
        global_step = self.resumed_step(meta, path)
        parameters = {p.name: p for p in self.parameters()}
        for name, parameter in parameters.items():
            found = arrays[name].shape if name in arrays else "missing"
            if found != tuple(parameter.shape):
                what = "optimizer" if name.startswith(MOMENT_PREFIXES) else "network"
                raise CheckpointError(f"{path} has another {what}: {name} is {found}, not {tuple(parameter.shape)}")
        extra = sorted(arrays.keys() - parameters.keys())
        if extra:
            raise CheckpointError(f"{path} has another network: this one has no parameter {extra[0]}")
        assign(parameters, arrays, path)
        self.loss_scale.restore(meta["loss_scale"])
        self.global_step = global_step
        self.resumed_at = (meta["epoch"], meta["step"], meta["global_step"])
        self.saver.resumed(path, global_step)
        print(f"resumed from {path}: {self.global_step} of {self.last_step} steps done", flush=True)
        return meta

    def share_state(self) -> None:
        """Give all ranks the weights, moments and position of rank 0, which alone has loaded them."""
        if self.group.alone:
            return
        keys = ("global_step", "resumed_at")
        meta = {"loss_scale": self.loss_scale.state(), **{key: getattr(self, key) for key in keys}}
        meta = json.loads(self.group.broadcast(json.dumps(meta).encode(), "rank 0 to load its checkpoint"))
        share_parameters(self.parameters(), self.group)
        self.loss_scale.restore(meta["loss_scale"])
        self.global_step = meta["global_step"]
        self.resumed_at = meta["resumed_at"]

    def resumed_step(self, meta: dict, path: Path) -> int:
        """The global step from which this run continues the one of ``meta``.

        With the same number of images a step, on however many ranks, it is the checkpoint's own, and the order of the
        data goes on as it would have. With another number the share of the epoch that is done is kept, rounded down to
        a step: whole epochs stay whole, and an epoch begun shows some of its images twice, or not at all.

        :raises CheckpointError: the run has other data.
        """
        then, now = (values["batch_size"] * values["world"] for values in (meta, self.identity))
        if then == now:
            if meta["steps_per_epoch"] != self.steps_per_epoch:
                raise CheckpointError(
                    f"{path} was made with steps_per_epoch {meta['steps_per_epoch']}, this run has "
                    f"{self.steps_per_epoch}: use the same data, or --pre_trained to start anew from its weights"
                )
            return meta["global_step"]
        epochs, inside = divmod(meta["global_step"], meta["steps_per_epoch"])
        global_step = epochs * self.steps_per_epoch + inside * self.steps_per_epoch // meta["steps_per_epoch"]
        print(
            f"{path} was made with {then} images a step ({meta['world']} x {meta['batch_size']}), this run has {now}: "
            f"{meta['global_step']} of its steps count as {global_step}"
            + (", in an epoch whose images may be seen twice or left out" if inside else ""),
            flush=True,
        )
        return global_step
