"""A folder for files in the making: they appear under their names only when all of them are finished."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from maskrcnn.errors import DataError
from maskrcnn.lock import AlreadyLocked, locked

_LOCK = "lock"


@contextmanager
def workspace(folder: Path, name: str) -> Iterator[Path]:
    """Makes the hidden folder ``.name.partial`` in ``folder``, empty, and removes it at the end however that comes.

    What a killed process left there is cleared by the next one.

    Yields:
        The folder.

    Raises:
        DataError: ``folder`` cannot be written, or another process is at work on ``name``.
    """
    partial = folder / f".{name}.partial"
    with ExitStack() as stack:
        try:
            partial.mkdir(parents=True, exist_ok=True)
            stack.enter_context(locked(partial / _LOCK))
        except AlreadyLocked as holder:
            raise DataError(
                f"another process is converting {name} in {folder} ({holder}): wait for it to end"
            ) from None
        except OSError as error:
            raise DataError(f"cannot write to {folder}: {error.strerror}; give another mindrecord_dir") from None
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
