"""Checkpoints written beside the training: it waits for a copy of the state, not for the disk."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np

from maskrcnn.checkpoint.folder import CheckpointFolder


class CheckpointWriter:
    """Thread that saves the state of a run.

    ``save`` copies the state into memory that is allocated once and returns; the thread encodes, writes, checks and
    renames. There is one copy and one thread, so one checkpoint is written at a time: who must not be held up asks
    ``busy`` first. What goes wrong in the thread is raised by the next ``check``, ``save`` or ``wait``.

    Args:
        folder: Where checkpoints go.
        state: Gives the names and values of all that is to be saved, the same names and shapes every time.
    """

    def __init__(self, folder: CheckpointFolder, state: Callable[[], Iterable[tuple[str, np.ndarray]]]) -> None:
        self.folder, self._state = folder, state
        self.newest: Path | None = None  # the latest checkpoint that is whole and on disk
        self._copy: dict[str, np.ndarray] = {}
        self._thread: threading.Thread | None = None
        self._error: Exception | None = None

    def prepare(self) -> None:
        """Allocates the copy.

        Raises:
            CheckpointError: The disk has no room for a single checkpoint.
        """
        # by copying, not by np.empty: the first touch of new memory takes far longer than the copy itself
        self._copy = {name: array.copy() for name, array in self._state()}
        self.folder.require_space(sum(array.nbytes for array in self._copy.values()))

    @property
    def busy(self) -> bool:
        """True while a checkpoint is being written."""
        return self._thread is not None and self._thread.is_alive()

    def save(self, meta: dict, epoch: int, step: int) -> float:
        """Begins to write the checkpoint of a position; returns the seconds that the caller was held up.

        Waits for the checkpoint before it, if that is still being written.
        """
        return self._begin(lambda: self.folder.save(self._copy, meta, epoch, step))

    def save_best(self, meta: dict) -> float:
        """Does the same as ``save``, into best.ckpt; ``newest`` stays as it is."""

        def write() -> Path | None:
            self.folder.save_best(self._copy, meta)
            return self.newest

        return self._begin(write)

    def check(self) -> None:
        """Raises what went wrong in the thread, without waiting for it."""
        if self._error is not None:
            self.wait()

    def wait(self) -> None:
        """Returns when nothing is being written any more; raises what went wrong."""
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        if self._error is not None:
            error, self._error = self._error, None
            raise error

    def _begin(self, write: Callable[[], Path | None]) -> float:
        start = time.perf_counter()
        self.wait()
        for name, array in self._state():
            np.copyto(self._copy[name], array)

        def run() -> None:
            try:
                self.newest = write()
            except Exception as error:  # raised again by wait
                self._error = error

        # a daemon: a second signal, or a crash, ends the program at once and leaves the file under its temporary name
        self._thread = threading.Thread(target=run, name="checkpoint-writer", daemon=True)
        self._thread.start()
        return time.perf_counter() - start
