"""The checkpoints of a run: which are kept, which is the newest good one, and whether there is room for another."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from maskrcnn.checkpoint.format import load_meta, save_checkpoint
from maskrcnn.errors import CheckpointError

BEST_NAME = "best.ckpt"
MIB = 2**20
SPARE = 64 * MIB  # stays free beside a checkpoint, for the logs and results that share its disk


class CheckpointFolder:
    """Checkpoints of one run: ``maskrcnn-{epoch}_{step}.ckpt``, the newest of them, and ``best.ckpt``.

    ``epoch`` counts from 1 and ``step`` within the epoch, as in the model zoo's names.

    Args:
        folder: Where they lie.
        keep: How many of the newest are kept.
    """

    PATTERN = re.compile(r"maskrcnn-(\d+)_(\d+)\.ckpt")

    def __init__(self, folder: str | Path, keep: int) -> None:
        self.folder = Path(folder)
        self.keep = max(keep, 1)

    def prepare(self) -> None:
        """Creates the folder, proves that it can be written, and removes what killed runs left half written.

        Raises:
            CheckpointError: It cannot be written.
        """
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            probe = self.folder / f".write_test.{os.getpid()}.tmp"
            probe.touch()
            probe.unlink()
            for leftover in self.folder.glob(".*.ckpt.*.tmp"):
                leftover.unlink(missing_ok=True)
        except OSError as error:
            raise CheckpointError(
                f"save_checkpoint_path {self.folder} cannot be written: {error.strerror}; choose another"
            ) from error

    def require_space(self, size: int) -> None:
        """Makes sure that another checkpoint fits.

        The oldest checkpoint goes only after the newest has come, so there must be room for one more than are kept.

        Args:
            size: Bytes of a checkpoint.

        Raises:
            CheckpointError: It would not leave ``SPARE`` bytes free.
        """
        try:
            free = shutil.disk_usage(self.folder).free
        except OSError as error:
            raise CheckpointError(f"save_checkpoint_path {self.folder} cannot be used: {error.strerror}") from error
        if free < size + SPARE:
            raise CheckpointError(
                f"the disk of save_checkpoint_path {self.folder} is full: {free / MIB:.0f} MiB are free, a checkpoint "
                f"takes {size / MIB:.0f} and {SPARE / MIB:.0f} stay free; earlier checkpoints are untouched: "
                "make room, lower keep_checkpoint_max or choose another folder"
            )

    def listed(self) -> list[Path]:
        """Returns the checkpoints by name, oldest first; not checked."""
        if not self.folder.is_dir():
            return []
        return sorted((p for p in self.folder.iterdir() if self.PATTERN.fullmatch(p.name)), key=self._position)

    def newest(self) -> Path | None:
        """Returns the newest checkpoint that passes its integrity check, None if there is none."""
        for path in reversed(self.listed()):
            try:
                load_meta(path)
                return path
            except CheckpointError as error:
                print(f"skipping a checkpoint: {error}")
        return None

    def go_on_from(self, path: Path, epoch: int, step: int) -> Path:
        """Makes the checkpoint that a run continues from the newest.

        Checkpoints of later positions, which the run leaves behind, become ``*.previous``. Where the run counts
        otherwise than the one before (another number of images a step), the checkpoint is renamed, so that the order of
        the names stays the order of the checkpoints.

        Args:
            path: The checkpoint.
            epoch: Its epoch, as the run counts.
            step: Its step in the epoch, as the run counts.

        Returns:
            The path it has then.

        Raises:
            CheckpointError: A checkpoint cannot be renamed.
        """
        here = self.folder / f"maskrcnn-{epoch}_{step}.ckpt"
        ours = path.resolve().parent == self.folder.resolve() and self.PATTERN.fullmatch(path.name) is not None
        try:
            for other in self.listed():
                later = self._position(other) > (epoch, step) or (other.name == here.name and ours)
                if later and other.name != path.name:
                    aside = other.with_name(other.name + ".previous")
                    other.replace(aside)
                    print(f"{other.name} is not what this run continues: set aside as {aside.name}", flush=True)
            if ours and path.name != here.name:
                path.replace(here)
                print(f"{path.name} is {here.name} as this run counts: renamed", flush=True)
        except OSError as error:
            raise CheckpointError(f"cannot rename checkpoints in {self.folder}: {error.strerror}") from error
        return here if ours else path

    def _position(self, path: Path) -> tuple[int, int]:
        match = self.PATTERN.fullmatch(path.name)
        return int(match[1]), int(match[2])

    def save(self, params: Mapping[str, np.ndarray], meta: Mapping, epoch: int, step: int) -> Path:
        """Writes ``maskrcnn-{epoch}_{step}.ckpt``, then deletes the oldest beyond ``keep``; returns its path."""
        path = self._write(f"maskrcnn-{epoch}_{step}.ckpt", params, meta)
        for old in self.listed()[: -self.keep]:
            if old != path:
                try:
                    old.unlink(missing_ok=True)
                except OSError as error:
                    print(f"cannot delete the old checkpoint {old}: {error.strerror}", flush=True)
        return path

    def save_best(self, params: Mapping[str, np.ndarray], meta: Mapping) -> Path:
        """Writes ``best.ckpt``, which newer checkpoints never delete; returns its path."""
        return self._write(BEST_NAME, params, meta)

    def best_meta(self) -> dict:
        """Returns the metadata of ``best.ckpt``, {} if there is none; a damaged one is named, and counts as none."""
        path = self.folder / BEST_NAME
        try:
            return load_meta(path) if path.exists() else {}
        except CheckpointError as error:
            print(f"skipping a checkpoint: {error}", flush=True)
            return {}

    def _write(self, name: str, params: Mapping[str, np.ndarray], meta: Mapping) -> Path:
        self.require_space(sum(array.nbytes for array in params.values()))
        for param, array in params.items():
            if not np.isfinite(array).all():  # it could not be resumed from, and would drive out those that can
                raise CheckpointError(f"{name} is not saved: {param} is not finite; earlier checkpoints are untouched")
        save_checkpoint(self.folder / name, params.items(), meta)
        return self.folder / name
