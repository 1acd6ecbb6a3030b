"""When the state of a run goes to disk, so that no end of the run loses more than it has to."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import numpy as np

from maskrcnn.checkpoint.folder import CheckpointFolder
from maskrcnn.checkpoint.writer import CheckpointWriter
from maskrcnn.errors import CheckpointError, DataError, TrainingError


class Saver:
    """Decides when the state is saved: every so many steps, at the end of the run, and before it ends with an error.

    Args:
        folder: Where checkpoints go; None: nothing is ever saved.
        state: Gives the names and values of a checkpoint of the current step.
        meta: Gives its metadata, with ``epoch`` and ``step`` (from 1), which name the file, and ``global_step``.
        every: Steps between checkpoints; 0: only where one is asked for.
    """

    def __init__(
        self,
        folder: CheckpointFolder | None,
        state: Callable[[], Iterable[tuple[str, np.ndarray]]],
        meta: Callable[[], dict],
        every: int = 0,
    ) -> None:
        self.folder, self.meta, self.every = folder, meta, every
        self.writer = CheckpointWriter(folder, state) if folder else None
        self.resumed_from: Path | None = None
        self.saved_step = 0  # the global step of the latest save or resume
        self.sound = True  # the weights are worth saving
        self.held_up = 0.0  # seconds that saving held up the training, since it was last set to 0
        self._due = self._was_late = False

    @property
    def newest(self) -> Path | None:
        """The newest checkpoint that is whole and on disk, or the one that the run continues."""
        return (self.writer and self.writer.newest) or self.resumed_from

    def resumed(self, path: Path, global_step: int) -> None:
        """Takes note that the run continues ``path``."""
        self.resumed_from, self.saved_step = path, global_step

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        """Makes sure that at the end of the block, an error or not, all that can be saved is on disk.

        Two signals end the program in the middle of a save: that checkpoint is not there then, those before are.
        """
        if self.writer:
            self.writer.prepare()
            if self.resumed_from:
                meta = self.meta()
                self.writer.newest = self.folder.go_on_from(self.resumed_from, meta["epoch"], meta["step"])
        try:
            yield
            self.save_now()
        except (DataError, TrainingError, OSError):  # the last: nothing can be printed any more
            self._rescue()
            raise
        except Exception:
            self.settle()
            raise

    def after_step(self, global_step: int) -> None:
        """Begins to save if it is time to; raises what went wrong with the save before.

        Training does not wait for the disk here: a save that falls due while the one before is still being written
        is taken after the first step at which that is done.
        """
        if not self.writer:
            return
        self.writer.check()
        self._due |= self.every > 0 and global_step % self.every == 0
        if not self._due:
            return
        if not self.writer.busy:
            self._begin()
        elif not self._was_late:
            self._was_late = True
            print("a checkpoint comes late: writing one takes longer than the steps between two", flush=True)

    def save_now(self) -> None:
        """Returns when the current step is on disk."""
        if not self.writer:
            return
        if self.saved_step != self.meta()["global_step"]:
            self._begin()
        self.writer.wait()

    def save_best(self, figures: dict) -> None:
        """Returns when the current step is on disk as best.ckpt, with ``figures`` in its metadata."""
        self.writer.save_best({**self.meta(), **figures})
        self.writer.wait()

    def settle(self) -> None:
        """Waits for what is being written while an error ends the run, which a second one must not hide."""
        try:
            if self.writer:
                self.writer.wait()
        except CheckpointError as error:
            print(f"error: {error}", flush=True)

    def _begin(self) -> None:
        meta = self.meta()
        self.held_up += self.writer.save(meta, meta["epoch"], meta["step"])
        self.saved_step, self._due = meta["global_step"], False

    def _rescue(self) -> None:
        """Saves the steps done before the error that ends the run, unless it is one of the weights."""
        self.settle()
        if not self.writer or not self.sound:
            return
        if self.saved_step != self.meta()["global_step"]:
            self._begin()
            self.settle()
        if self.newest:
            print(f"continue with --resume {self.newest}", flush=True)
