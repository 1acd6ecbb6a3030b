"""What a run says and leaves in its log folder: loss log of the original format, metrics as JSON lines, TensorBoard."""

from __future__ import annotations

import json
import re
import resource
import shutil
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from statistics import median
from typing import Any, TextIO

import numpy as np

from maskrcnn.checkpoint.state import Position
from maskrcnn.errors import TrainingError
from maskrcnn.files import whole_file

EVENTS = "tensorboard"
LOSS_NAMES = ("rpn_cls_loss", "rpn_reg_loss", "rcnn_cls_loss", "rcnn_reg_loss", "rcnn_mask_loss")
LOSS_LINE = re.compile(r"epoch:(\d+) step:(\d+) ,.*total_loss:\S+")


def named_losses(losses: np.ndarray, names: Sequence[str] = LOSS_NAMES) -> dict[str, float]:
    """Returns the losses, their sums for the RPN and the heads, and their total, in the order of the log.

    Args:
        losses: What the training step returns, float32 [losses].
        names: Their names; those of the RPN begin with "rpn".
    """
    values = [float(loss) for loss in losses]
    rpn = sum(name.startswith("rpn") for name in names)
    parts = {"rpn_loss": sum(values[:rpn]), "rcnn_loss": sum(values[rpn:])}
    return {**parts, **dict(zip(names, values)), "total_loss": sum(values)}


def loss_line(epoch: int, step: int, losses: dict[str, float]) -> str:
    """Returns a line of loss_{rank}.log; ``epoch`` and ``step`` (within the epoch) count from 1."""
    return f"epoch:{epoch} step:{step} ," + ", ".join(f"{name}:{value:.5f}" for name, value in losses.items())


def console_line(
    position: Position, of: tuple[int, int], losses: dict[str, float], figures: dict[str, float], seconds_left: float
) -> str:
    """Returns the line that the console shows for a step.

    Args:
        position: The step.
        of: Number of epochs, and of steps in each.
        losses: See ``named_losses``.
        figures: Learning rate, speed and the like, by their names in metrics.jsonl.
        seconds_left: Expected time to the end of the run.
    """
    return (
        f"epoch {position.epoch}/{of[0]} step {position.step}/{of[1]} "
        f"loss {losses['total_loss']:.4f} (rpn {losses['rpn_loss']:.4f} rcnn {losses['rcnn_loss']:.4f}) "
        f"lr {figures['lr']:.6f} {figures['step_seconds']:.2f} s/step {figures['images_per_second']:.2f} images/s "
        f"data wait {figures['data_wait']:.0%} memory {figures['memory_gib']:.2f} GiB ETA {duration(seconds_left)}"
        + (f" skipped {figures['skipped_steps']}" if figures["skipped_steps"] else "")
    )


def epoch_line(epoch: int, of: tuple[int, int], steps: int, seconds: float) -> str:
    """Returns the line that the console shows at the end of an epoch.

    Args:
        epoch: The epoch, from 1.
        of: Number of epochs, and of steps in each.
        steps: Steps that this process has done; fewer than those of the epoch if it has resumed in it.
        seconds: What they took, without evaluations.
    """
    count = f"{steps} steps" if steps == of[1] else f"the last {steps} of {of[1]} steps"
    return f"epoch {epoch}/{of[0]} took {duration(seconds)} for {count}, {seconds / steps:.2f} s/step"


class TrainLog:
    """Log files of a run: ``loss_{rank}.log`` and, on rank 0, ``metrics.jsonl`` and TensorBoard events, if installed.

    A new run sets the files of an earlier one aside as ``*.previous``; a resumed run cuts off what was written after
    the checkpoint, so that the files read as if there had been no interruption.

    Args:
        folder: Where the files lie; made if it is not there.
        rank: This process's.
        resumed_at: Position of the checkpoint that the run continues; None starts anew.

    Raises:
        TrainingError: A file cannot be written.
    """

    def __init__(self, folder: str | Path, rank: int = 0, resumed_at: Position | None = None) -> None:
        self.folder = Path(folder)
        loss_file, metrics_file = self.folder / f"loss_{rank}.log", self.folder / "metrics.jsonl"
        self.resumed_evaluation: dict[str, Any] | None = None  # of the step that the run continues from
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            if resumed_at is None:
                _set_aside(loss_file)
                if rank == 0:
                    _set_aside(metrics_file)
                    _set_aside(self.folder / EVENTS)
            else:
                epoch, step, global_step = resumed_at
                _keep_lines(loss_file, lambda line: _position(line) <= (epoch, step))
                if rank == 0:
                    _keep_lines(metrics_file, lambda line: _global_step(line) <= global_step)
                    self.resumed_evaluation = _evaluation(metrics_file, global_step)
            self._loss: TextIO = open(loss_file, "a", buffering=1, encoding="utf-8")  # noqa: SIM115
            self._metrics: TextIO | None = None
            if rank == 0:
                self._metrics = open(metrics_file, "a", buffering=1, encoding="utf-8")  # noqa: SIM115
        except OSError as error:
            raise TrainingError(f"log_dir {self.folder} cannot be written: {error.strerror}; choose another") from error
        self._events = _event_writer(self.folder, resumed_at) if rank == 0 else None
        self._failed = False

    def losses(self, epoch: int, step: int, global_step: int, losses: dict[str, float], extra: dict) -> None:
        """Logs the losses at a position (all count from 1); ``extra`` figures go to metrics.jsonl only."""
        self._write(self._loss, loss_line(epoch, step, losses))
        self.metrics({"epoch": epoch, "step": step, "global_step": global_step, **losses, **extra})

    def metrics(self, record: dict) -> None:
        """Appends a record with a ``global_step`` to metrics.jsonl, and its floats to TensorBoard."""
        if self._metrics is not None:
            self._write(self._metrics, json.dumps(record))
        if self._events is not None:
            for name, value in record.items():
                if isinstance(value, float):
                    self._events.add_scalar(name, value, record["global_step"])

    def close(self) -> None:
        """Closes all files."""
        for file in (self._loss, self._metrics, self._events):
            try:
                if file is not None:
                    file.close()
            except OSError as error:  # a file that could not be written before fails again
                if not self._failed:
                    raise TrainingError(f"cannot write to log_dir {self.folder}: {error.strerror}") from error

    def _write(self, file: TextIO, line: str) -> None:
        try:
            file.write(line + "\n")
        except OSError as error:
            self._failed = True
            raise TrainingError(f"cannot write {file.name}: {error.strerror}; make room, then --resume") from error


def _event_writer(folder: Path, resumed_at: Position | None) -> Any:
    """Returns a TensorBoard SummaryWriter from tensorboardX or torch, None if neither is installed."""
    try:
        from tensorboardX import SummaryWriter
    except ImportError:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError:
            return None
    return SummaryWriter(str(folder / EVENTS), purge_step=resumed_at[-1] + 1 if resumed_at else None)


def _set_aside(path: Path) -> None:
    """Renames a file or folder of an earlier run to ``*.previous``, in place of what had that name."""
    if not path.exists():
        return
    previous = path.with_name(path.name + ".previous")
    if previous.is_dir():
        shutil.rmtree(previous)
    path.replace(previous)


def _keep_lines(file: Path, wanted: Callable[[str], bool]) -> None:
    """Rewrites ``file`` with the wanted lines only; ``wanted`` raises ValueError for a half-written one."""
    if not file.exists():
        return
    kept = []
    for line in file.read_text(encoding="utf-8").splitlines():
        try:
            if wanted(line):
                kept.append(line + "\n")
        except ValueError:
            continue
    with whole_file(file, "w") as out:
        out.writelines(kept)


def _position(line: str) -> tuple[int, int]:
    match = LOSS_LINE.fullmatch(line)
    if match is None:
        raise ValueError(line)
    return int(match[1]), int(match[2])


def _global_step(line: str) -> int:
    return json.loads(line)["global_step"]


def _evaluation(file: Path, global_step: int) -> dict[str, Any] | None:
    """Returns the record of the evaluation after a step, None if there is none."""
    lines = file.read_text(encoding="utf-8").splitlines() if file.exists() else []
    records = (json.loads(line) for line in lines)
    return next((one for one in records if "bbox_ap" in one and one["global_step"] == global_step), None)


class Progress:
    """Speed over the last steps, from which the time left follows; a step that compiles is left out."""

    WINDOW = 50

    def __init__(self) -> None:
        self._canvases: set[tuple[int, ...]] = set()
        self._compiling = (0.0, 0.0)
        self._steps: deque[tuple[float, float]] = deque(maxlen=self.WINDOW)

    def add(self, canvas: tuple[int, ...], waited: float, total: float) -> None:
        """Takes note of a step.

        Args:
            canvas: Shape of its images; the first step of a shape compiles.
            waited: Seconds that its batch was waited for.
            total: Seconds that it took, waiting included.
        """
        if canvas in self._canvases:
            self._steps.append((waited, total))
        else:  # the first of its shape
            self._canvases.add(canvas)
            self._compiling = (waited, total)

    def figures(self, images: int) -> dict[str, float]:
        """Returns the speed of the last steps.

        Args:
            images: Images of a step.

        Returns:
            Seconds a step, images a second, share of the time spent waiting for data, and peak memory in GiB. Medians,
            so that a checkpoint or an evaluation between two steps does not count.
        """
        steps = self._steps or [self._compiling]
        seconds = median(total for _, total in steps)
        waited = sum(waited for waited, _ in steps) / sum(total for _, total in steps)
        return {
            "step_seconds": round(seconds, 4),
            "images_per_second": round(images / seconds, 3),
            "data_wait": round(waited, 4),
            "memory_gib": round(peak_memory() / 2**30, 3),
        }


def timed(batches: Iterator[Any]) -> Iterator[tuple[Any, float, float]]:
    """Yields every batch with the seconds that it was waited for, and the time at which the waiting began."""
    while True:
        began = time.perf_counter()
        batch = next(batches, None)
        if batch is None:
            return
        yield batch, time.perf_counter() - began, began


def peak_memory() -> int:
    """Returns the largest resident size of this process so far, in bytes."""
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def duration(seconds: float) -> str:
    """Returns seconds as h:mm:ss."""
    minutes, seconds = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02d}:{seconds:02d}"
