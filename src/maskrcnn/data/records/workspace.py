"""A folder for files in the making: they appear under their names only when all of them are finished."""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from maskrcnn.errors import DataError

_LOCK = "lock"


@contextmanager
def workspace(folder: Path, name: str) -> Iterator[Path]:
    """The hidden folder ``.name.partial`` in ``folder``, empty, removed at the end however that comes.

    What a killed process left there is cleared by the next one. The lock goes with its process, so it is
    never left behind.

    Raises:
        DataError: ``folder`` cannot be written, or another process is at work on ``name``.
    """
    partial = folder / f".{name}.partial"
    try:
        partial.mkdir(parents=True, exist_ok=True)
        lock = open(partial / _LOCK, "w")  # noqa: SIM115 - closed below, which releases it
    except OSError as error:
        raise DataError(f"cannot write to {folder}: {error.strerror}; give another mindrecord_dir") from None
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise DataError(f"another process is converting {name} in {folder}: wait for it to end") from None
        try:
            for left in partial.iterdir():
                if left.name != _LOCK:
                    left.unlink()
            yield partial
        finally:
            shutil.rmtree(partial, ignore_errors=True)


def publish(partial: Path, folder: Path, names: Sequence[str]) -> None:
    """Move finished files into ``folder``; the last of ``names`` is the one that makes the others count.

    An older set is taken apart first by removing its last file, so no mixture of the two ever looks finished.
    """
    (folder / names[-1]).unlink(missing_ok=True)
    for name in names:
        os.replace(partial / name, folder / name)
