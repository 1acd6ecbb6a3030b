"""The training loop: batches in, weights, checkpoints and logs out."""

from __future__ import annotations

import contextlib
import json
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mindspore as ms
import numpy as np
from mindspore import Tensor

from maskrcnn.checkpoint.folder import CheckpointFolder
from maskrcnn.checkpoint.saver import Saver
from maskrcnn.checkpoint.state import Position, RunState
from maskrcnn.errors import TrainingError
from maskrcnn.training.accumulation import AccumulatedStep
from maskrcnn.training.early_stopping import EarlyStopping
from maskrcnn.training.logs import Progress, TrainLog, console_line, epoch_line, named_losses, timed
from maskrcnn.training.optimizer import LossScale
from maskrcnn.training.schedule import LearningRate
from maskrcnn.training.signals import StopSignals
from maskrcnn.training.step import TrainStep
from maskrcnn.training.weight_average import WeightAverage


@dataclass(frozen=True)
class TrainingPlan:
    """How long to train, and what to do how often (0: never)."""

    epochs: int
    max_steps: int = 0  # stop early after this global step
    save_steps: int = 0  # a checkpoint after so many steps
    eval_epochs: int = 0  # an evaluation after so many epochs
    patience: int = 0  # evaluations without a higher AP after which to stop early
    log_steps: int = 1  # a log line after so many steps, and at the end of an epoch


class Trainer:
    """Trains until the plan is done or a signal comes.

    Args:
        step: One update of the network, in place.
        loader: A ``TrainLoader``, or what behaves like one.
        learning_rate: Learning rate of every global step.
        plan: How long to train, and what to do how often.
        state: The state of the run, which may have been resumed.
        log: Opens the log, given the position that the run continues from.
        loss_scale: Factor on the loss; it becomes part of ``state``.
        checkpoints: Where checkpoints go; None on all ranks but 0, and for a run that saves none.
        evaluate: Takes a checkpoint's path and returns figures, ``segm_ap`` and ``bbox_ap`` among them. All ranks call
            it; it returns None on those but rank 0.
        graph: What is called in the step's place: the step with its graphs kept on disk.
        average: Average of the weights, for a run that keeps one.
    """

    def __init__(
        self,
        step: TrainStep | AccumulatedStep,
        loader: Any,
        learning_rate: LearningRate,
        plan: TrainingPlan,
        *,
        state: RunState,
        log: Callable[[Position | None], TrainLog],
        loss_scale: LossScale | None = None,
        checkpoints: CheckpointFolder | None = None,
        evaluate: Callable[[Path | None], dict[str, float] | None] | None = None,
        graph: Callable[..., tuple[Tensor, Tensor]] | None = None,
        average: WeightAverage | None = None,
    ) -> None:
        self.graph = graph or step
        self.step, self.loader, self.learning_rate, self.plan = step, loader, learning_rate, plan
        self.state, self.group = state, state.group
        self.open_log, self.checkpoints, self.evaluate = log, checkpoints, evaluate
        self.saver = Saver(checkpoints, state.arrays, state.meta, plan.save_steps)
        self.loss_scale = loss_scale or LossScale()
        state.host["loss_scale"] = self.loss_scale
        self.early_stopping = EarlyStopping(plan.patience)
        state.host["early_stopping"] = self.early_stopping
        self.average = average
        self.loss_names = step.network.loss_names
        self.progress = Progress()
        self.steps_per_epoch = loader.steps_per_epoch
        self.last_step = plan.epochs * self.steps_per_epoch
        if plan.max_steps:
            self.last_step = min(self.last_step, plan.max_steps)
        self.stopping = False  # all ranks stop now
        self.stopped_early = False

    def resume(self, path: Path) -> dict[str, Any]:
        """Continues from a checkpoint exactly; see ``RunState.resume``."""
        meta = self.state.resume(path)
        self.saver.resumed(path, self.state.global_step)
        print(f"resumed from {path}: {self.state.global_step} of {self.last_step} steps done", flush=True)
        return meta

    def train(self) -> int:
        """Trains to the end of the plan.

        Returns:
            The exit code: 0, or 128 + the signal that stopped the run.

        Raises:
            TrainingError: A loss or gradient is not finite, or a log cannot be written.
            CheckpointError: A checkpoint cannot be written.
        """
        opened = self.open_log(self.state.resumed_at)
        with contextlib.closing(opened) as log, StopSignals() as stop, self.saver.running():
            if self.evaluation_missing(log):
                with stop.at_once():
                    self.evaluate_epoch(log)
            else:
                self.take_evaluation(log.resumed_evaluation)
            while not self.finished and not self.stopping:
                self.train_epoch(log, stop)
        if stop.received:
            kept = (
                f"continue with --resume {self.saver.newest}"
                if self.saver.newest
                else "nothing saved (save_checkpoint is off)"
            )
            print(f"stopped by {stop.received.name} after step {self.state.global_step}; {kept}", flush=True)
        return stop.exit_code

    def train_epoch(self, log: TrainLog, stop: StopSignals) -> None:
        """Trains from the current step to the end of its epoch, of the run, or until a signal."""
        epoch, start = divmod(self.state.global_step, self.steps_per_epoch)
        epoch_began = time.perf_counter()
        since_line: list[np.ndarray] = []  # losses since the last line
        with contextlib.closing(self.loader.epoch(epoch, start)) as batches:
            for batch, waited, began in timed(batches):
                losses, norm, rate = self.train_step(batch)
                stop.keep()
                self.agree_to_stop(stop)
                since_line.append(losses)
                self.progress.add(batch.image.shape, waited, time.perf_counter() - began)
                step = self.state.position.step
                if step % self.plan.log_steps == 0 or step == self.steps_per_epoch or self.finished:
                    images = len(batch.image_id) * self.group.world_size
                    seconds = time.perf_counter() - epoch_began
                    self.report(log, np.mean(since_line, 0), norm, rate, images, step - start, seconds)
                    since_line = []
                self.saver.after_step(self.state.global_step)
                if self.finished or self.stopping:
                    break
        if epoch == 0 and self.loader.objects_left_out:
            print(
                f"note: {self.loader.objects_left_out} objects of the first epoch were ignored, as their images have "
                "more than max_instance_count; each epoch draws another choice",
                flush=True,
            )
        if not self.stopping and self.evaluation_due:
            with stop.at_once():  # the epoch is saved first, and evaluated when the run resumes
                self.evaluate_epoch(log)

    def agree_to_stop(self, stop: StopSignals) -> None:
        """Sets ``stopping`` after a signal: at once, or with several ranks after the step in which all learn of it."""
        if self.group.alone:
            self.stopping = stop.received is not None
        elif self.step.all_reduce.stopping():
            self.stopping = True
            stop.received = stop.received or signal.SIGTERM
        elif stop.received:
            self.step.all_reduce.want_stop()

    def train_step(self, batch: Any) -> tuple[np.ndarray, float, float]:
        """Does one update.

        Args:
            batch: A ``Batch`` of the loader.

        Returns:
            The losses (float32 [5]), the norm of the gradients and the learning rate.

        Raises:
            TrainingError: A loss or gradient is not finite; the message names the images of all ranks.
        """
        rate, scale = self.learning_rate(self.state.global_step), self.loss_scale.value
        tensors = [Tensor.from_numpy(array) for array in batch[:-1]]  # all but image_id
        losses, norm = self.graph(Tensor(rate, ms.float32), Tensor(scale, ms.float32), *tensors)
        losses, norm = losses.asnumpy(), float(norm.asnumpy())
        self.state.global_step += 1
        if not np.isfinite(losses).all() or (self.loss_scale.fixed and not np.isfinite(norm)):
            ids = json.dumps(batch.image_id.tolist()).encode()
            everyone = self.group.all_gather(ids, "the image ids of a bad step")
            self.saver.sound = False
            self.saver.settle()
            raise TrainingError(self.not_finite(losses, norm, [i for part in everyone for i in json.loads(part)]))
        self.loss_scale.update(bool(np.isfinite(norm)))
        if self.average:
            self.average.update(self.state.global_step - 1)
        return losses, norm, rate

    def not_finite(self, losses: np.ndarray, norm: float, image_ids: list[int]) -> str:
        """Returns the line for a step whose loss or gradient is NaN or infinite."""
        bad = [f"{name} {loss}" for name, loss in zip(self.loss_names, losses) if not np.isfinite(loss)]
        epoch, step, _ = self.state.position
        return (
            f"not finite at epoch {epoch} step {step}: {', '.join(bad) or f'norm of the gradients {norm}'}; "
            f"images {', '.join(map(str, image_ids))}; newest checkpoint {self.saver.newest or 'none'}; "
            f"lower base_lr, lengthen warmup_step or set clip_grad_norm"
        )

    def report(
        self, log: TrainLog, losses: np.ndarray, norm: float, rate: float, images: int, steps: int, seconds: float
    ) -> None:
        """Writes one line to the log files and one to the console, and another one at the end of an epoch.

        Args:
            log: The log files.
            losses: Means since the last line, float32 [5].
            norm: Norm of the gradients of the last step.
            rate: Its learning rate.
            images: Images of a step, of all ranks.
            steps: Steps of the epoch that this process has done.
            seconds: What they took.
        """
        named, speed = named_losses(losses, self.loss_names), self.progress.figures(images)
        figures = {"lr": rate, "grad_norm": norm, "loss_scale": self.loss_scale.value}
        figures.update(skipped_steps=self.loss_scale.skipped, objects_left_out=self.loader.objects_left_out)
        figures["checkpoint_wait"], self.saver.held_up = round(self.saver.held_up, 4), 0.0
        ended = self.state.position.step == self.steps_per_epoch
        if ended:
            figures["epoch_seconds"] = round(seconds, 3)
        log.losses(*self.state.position, named, {**figures, **speed})
        left = (self.last_step - self.state.global_step) * speed["step_seconds"]
        of = (self.plan.epochs, self.steps_per_epoch)
        print(console_line(self.state.position, of, named, {**figures, **speed}, left), flush=True)
        if ended:
            print(epoch_line(self.state.position.epoch, of, steps, seconds), flush=True)

    def evaluate_epoch(self, log: TrainLog) -> None:
        """Evaluates the newest checkpoint, and keeps it as best.ckpt if its mask AP is the highest so far."""
        self.saver.save_now()
        figures = self.evaluate(self.saver.newest)
        if figures is not None:
            epoch, _, global_step = self.state.position
            best = self.checkpoints.best_meta().get("best_score", -1.0)
            better = score_of(figures) > best
            if better:
                self.saver.save_best({**figures, "best_score": score_of(figures)})
            log.metrics({"epoch": epoch, "global_step": global_step, **figures})  # now the evaluation counts as done
            print(
                f"epoch {epoch}: bbox AP {figures['bbox_ap']:.4f}, segm AP {figures['segm_ap']:.4f} "
                + ("(best so far, kept as best.ckpt)" if better else f"(best {best:.4f})"),
                flush=True,
            )
        self.take_evaluation(figures)

    def take_evaluation(self, figures: dict[str, float] | None) -> None:
        """Has the run end here if its AP has not risen for long enough.

        Args:
            figures: Those of the newest checkpoint on rank 0, None if it has not been evaluated.
        """
        stopping = self.early_stopping
        if figures is not None:
            stopping.add(self.state.position.epoch, score_of(figures))
        if not stopping.patience:
            return
        self.stopped_early = bool(self.group.broadcast(b"stop" * stopping.due, "rank 0 to compare its evaluations"))
        if stopping.due:
            print(
                f"stopped early: AP has not risen for {stopping.patience} evaluations; the best, "
                f"{stopping.scores[stopping.best_epoch]:.4f} after epoch {stopping.best_epoch}, is kept as best.ckpt",
                flush=True,
            )

    @property
    def evaluation_due(self) -> bool:
        """True at the end of an epoch that the plan has evaluated."""
        epochs_done, inside = divmod(self.state.global_step, self.steps_per_epoch)
        return bool(self.plan.eval_epochs and epochs_done) and not inside and not epochs_done % self.plan.eval_epochs

    def evaluation_missing(self, log: TrainLog) -> bool:
        """Returns whether the checkpoint that was resumed was to be evaluated and has not been; all ranks agree."""
        if not self.state.resumed_at or not self.evaluation_due:
            return False
        missing = b"" if log.resumed_evaluation else b"missing"
        return bool(self.group.broadcast(missing, "rank 0 to open its log"))

    @property
    def finished(self) -> bool:
        """True when the last step of the plan is done, or further ones would not help."""
        return self.stopped_early or self.state.global_step >= self.last_step


def score_of(figures: dict[str, float]) -> float:
    """Returns the AP by which evaluations are compared: that of masks, or of boxes where there are no masks."""
    return figures["segm_ap"] if figures["segm_ap"] >= 0 else figures["bbox_ap"]
