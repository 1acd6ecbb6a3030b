"""One large file over HTTP: goes on where it stopped, and is whole and checked or not there."""

from __future__ import annotations

import hashlib
import socket
import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from http.client import HTTPException, HTTPResponse
from pathlib import Path
from typing import NamedTuple

from tqdm import tqdm

from maskrcnn.errors import DataError
from maskrcnn.files import move_into_place

PARTIAL = ".part"
_CHUNK = 1 << 20
_PAUSES = (1, 2, 5, 10, 30, 60)  # seconds before each new attempt without any progress
_GONE = (400, 401, 403, 404, 410)  # answers that no new attempt changes
_NO_RANGE = 416


class Archive(NamedTuple):
    """A file to fetch: its address, its name, its size in bytes and its MD5 sum."""

    url: str
    name: str
    size: int
    md5: str


class NoProgress(Exception):
    """An attempt that ended before the file was whole; the message says why."""


def partial_size(archive: Archive, folder: Path) -> int:
    """Returns how many bytes of a file are there already; all of them if it is whole."""
    if (folder / archive.name).is_file():
        return archive.size
    part = folder / (archive.name + PARTIAL)
    return min(part.stat().st_size, archive.size) if part.is_file() else 0


def fetch(
    archive: Archive,
    folder: Path,
    *,
    timeout: float = 60.0,
    pauses: tuple[float, ...] = _PAUSES,
    sleep: Callable[[float], None] = time.sleep,
    progress: bool = False,
) -> Path:
    """Downloads a file into ``folder``, unless it is there; what an earlier attempt has left is used.

    Args:
        archive: what to fetch.
        folder: where to; it exists.
        timeout: seconds without a byte after which an attempt ends.
        pauses: seconds to wait before each new attempt; an attempt that brought bytes starts them anew.
        sleep: what waits.
        progress: show a progress bar.

    Raises:
        DataError: the server does not have the file, does not answer, or sends something else.
    """
    target, part = folder / archive.name, folder / (archive.name + PARTIAL)
    if target.is_file():
        return target
    attempt = 0
    with tqdm(total=archive.size, desc=archive.name, unit="B", unit_scale=True, disable=not progress) as bar:
        while True:
            before = part.stat().st_size if part.is_file() else 0
            bar.update(min(before, archive.size) - bar.n)
            if before >= archive.size:
                break
            try:
                _attempt(archive, part, timeout, bar)
            except NoProgress as why:
                more = part.is_file() and part.stat().st_size > before
                attempt = 1 if more else attempt + 1
                if attempt > len(pauses):
                    raise DataError(
                        f"{archive.url} cannot be fetched: {why}; {before:,} of {archive.size:,} bytes are kept, run "
                        "the same command to go on"
                    ) from None
                sleep(pauses[attempt - 1])
    _check(archive, part)
    move_into_place(part, target)
    return target


def _attempt(archive: Archive, part: Path, timeout: float, bar: tqdm) -> None:
    """Appends what the server sends to ``part``.

    Raises:
        NoProgress: the connection ended too early.
        DataError: the server does not have the file, or sends another one.
    """
    start = part.stat().st_size if part.is_file() else 0
    headers = {"User-Agent": "maskrcnn", "Range": f"bytes={start}-"} if start else {"User-Agent": "maskrcnn"}
    try:
        with urllib.request.urlopen(urllib.request.Request(archive.url, headers=headers), timeout=timeout) as answer:
            if start and answer.status != 206:  # the server knows no ranges: from the beginning
                start = 0
            _check_length(archive, answer, start)
            with open(part, "ab" if start else "wb") as file:
                bar.update(start - bar.n)
                while chunk := answer.read1(min(_CHUNK, archive.size - start + 1)):
                    file.write(chunk)
                    start += len(chunk)
                    bar.update(len(chunk))
                    if start > archive.size:
                        break
    except urllib.error.HTTPError as error:
        if error.code == _NO_RANGE:
            part.unlink()
        if error.code in _GONE:
            raise DataError(
                f"{archive.url} cannot be fetched: the server answers {error.code} {error.reason}"
            ) from None
        raise NoProgress(f"the server answers {error.code} {error.reason}") from None
    except (urllib.error.URLError, HTTPException, socket.timeout, ConnectionError, ssl.SSLError) as error:
        reason = getattr(error, "reason", None) or error or type(error).__name__
        raise NoProgress(str(reason) or type(error).__name__) from None
    except ValueError as error:
        raise DataError(f"{archive.url} is no address of a file: {error}") from None
    if start < archive.size:
        raise NoProgress(f"the connection ended after {start:,} bytes")


def _check_length(archive: Archive, answer: HTTPResponse, start: int) -> None:
    """Refuses a file of another length before it is fetched."""
    length = answer.headers.get("Content-Length")
    if length is not None and length.isdecimal() and start + int(length) != archive.size:
        raise DataError(
            f"{archive.url} has {start + int(length):,} bytes, not the {archive.size:,} of {archive.name}: it is "
            "another file, or the server's page for errors"
        )


def _check(archive: Archive, part: Path) -> None:
    """Refuses a file of another content, and removes it so that the next run begins anew."""
    digest = hashlib.md5(usedforsecurity=False)
    size = 0
    with open(part, "rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
            size += len(chunk)
    if size != archive.size or digest.hexdigest() != archive.md5:
        part.unlink()
        raise DataError(
            f"{archive.name} arrived damaged: {size:,} bytes with MD5 {digest.hexdigest()}, not {archive.size:,} with "
            f"{archive.md5}; it was removed, run the same command to fetch it again"
        )
