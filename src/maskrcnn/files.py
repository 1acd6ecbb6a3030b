"""Files and folders that are whole or not there, whatever happens meanwhile, and their checksums."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from maskrcnn.errors import MaskRCNNError

_BLOCK = 2**22  # bytes read at once


@contextlib.contextmanager
def whole_file(path: Path, mode: str = "wb") -> Iterator[IO]:
    """Opens a hidden file beside ``path`` that takes its place when the block ends.

    After an error, a kill or a power failure ``path`` is either as it was before or complete.

    Args:
        path: the file to be written; its folder exists.
        mode: "wb", or "w" for text in UTF-8.

    Yields:
        The open file.

    Raises:
        OSError: it cannot be written, or the disk is full.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with open(temporary, mode, encoding=None if "b" in mode else "utf-8") as file:
            yield file
        move_into_place(temporary, path)
    finally:
        # After the rename there is nothing left to remove; in a folder that cannot be written any more it has to stay.
        with contextlib.suppress(OSError):
            temporary.unlink()


def move_into_place(temporary: Path, path: Path) -> None:
    """Renames a finished file to ``path``, in place of what has that name, so that it outlasts a power failure.

    Args:
        temporary: a file on the same file system.
        path: its final name.

    Raises:
        OSError: it cannot be renamed, or its content cannot be written to the disk.
    """
    _sync(temporary)  # else the new name may reach the disk before the content
    os.replace(temporary, path)
    _sync(path.parent)


@contextlib.contextmanager
def whole_folder(path: Path) -> Iterator[Path]:
    """Makes a hidden folder beside ``path`` that becomes ``path`` when the block ends, and is removed if it fails.

    What a killed process has left there is cleared first.

    Args:
        path: the folder to be made; it is not there, or empty.

    Yields:
        The folder to write to.

    Raises:
        OSError: it cannot be written.
    """
    partial = path.with_name(f".{path.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    try:
        partial.mkdir(parents=True)
        yield partial
        os.replace(partial, path)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def write_json(path: str | os.PathLike[str], value: Any, indent: int | None = None) -> None:
    """Writes a value as JSON in UTF-8, with the folder that it goes into; the file is whole or as it was before.

    Args:
        path: The file.
        value: What JSON can hold. Bytes of file names that are no UTF-8, which Python keeps as lone surrogates, become
            escapes, so that reading the file gives the same name back.
        indent: Spaces to a level; None writes one line.

    Raises:
        MaskRCNNError: The file cannot be written.
    """
    path = Path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with whole_file(path) as file:
            text = io.TextIOWrapper(file, encoding="utf-8", errors="backslashreplace")
            json.dump(value, text, ensure_ascii=False, allow_nan=False, indent=indent)
            text.write("\n")
            text.detach()
    except OSError as error:
        raise MaskRCNNError(f"cannot write {path}: {error.strerror or error}") from error


def sha256(path: Path) -> str:
    """Returns the checksum of a file, as sha256sum prints it.

    Raises:
        MaskRCNNError: the file cannot be read.
    """
    digest = hashlib.sha256()
    try:
        with open(path, "rb") as file:
            while block := file.read(_BLOCK):
                digest.update(block)
    except OSError as error:
        raise MaskRCNNError(f"{path} cannot be read: {error.strerror or error}") from error
    return digest.hexdigest()


def _sync(path: Path) -> None:
    """Has a file's content, or a folder's names, written to the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
