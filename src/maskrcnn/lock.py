"""Locks that keep a second process out of a folder, and name the first."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import socket
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO

import psutil

# What file systems that cannot lock answer.
_NO_LOCKS = (errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL)
_SAME_START = 1.0  # seconds by which two readings of a process's start may differ


@dataclass(frozen=True)
class Holder:
    """The process that holds a lock."""

    pid: int
    host: str
    boot: str  # identifies the start of the host's system
    started: float  # of the process, seconds since 1970
    since: str  # when it took the lock

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host} (since {self.since})"

    @classmethod
    def this_process(cls) -> Holder:
        """Returns the description of this process."""
        started = psutil.Process().create_time()
        return cls(os.getpid(), socket.gethostname(), _boot(), started, time.strftime("%Y-%m-%d %H:%M:%S"))

    def is_gone(self) -> bool:
        """Returns whether the process is known to have ended; False for one on another host, which cannot be asked."""
        if self.host != socket.gethostname():
            return False
        if self.boot != _boot():
            return True
        try:
            return abs(psutil.Process(self.pid).create_time() - self.started) > _SAME_START
        except psutil.NoSuchProcess:
            return True
        except psutil.AccessDenied:
            return False


class AlreadyLocked(Exception):
    """A lock that another process holds, or may hold; the message names that process as far as it is known."""


@contextlib.contextmanager
def locked(path: Path) -> Iterator[Holder | None]:
    """Holds a lock while the block runs.

    The system lets go of the lock when the process ends, however that comes. Where the file system knows no locks, what
    the file says decides: a process that has ended, or ran before the host was started anew, holds it no more.

    Args:
        path: The file of the lock, in a folder that is there; it is removed at the end.

    Yields:
        The process that held the lock before and ended without giving it back, None if there is none.

    Raises:
        AlreadyLocked: Another process holds it.
        OSError: The file cannot be written.
    """
    file, before = _acquire(path)
    with file:
        try:
            file.seek(0)
            file.truncate()
            json.dump(asdict(Holder.this_process()), file)
            file.flush()
            yield before
        finally:
            with contextlib.suppress(OSError):  # the folder may be gone, or not be writable any more
                path.unlink()


def _acquire(path: Path) -> tuple[IO[str], Holder | None]:
    """Returns the open and locked file, and the process that it still names."""
    while True:
        file = open(path, "a+", encoding="utf-8")  # noqa: SIM115 - the caller closes it, which unlocks it
        try:
            holder = _read(file)
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise AlreadyLocked(holder or "another process") from None
            except OSError as error:
                if error.errno not in _NO_LOCKS:
                    raise
                if holder and not holder.is_gone():
                    raise AlreadyLocked(f"{holder}, or remove {path} if that is gone") from None
            if _is_file(file, path):
                return file, _read(file)
        except BaseException:
            file.close()
            raise
        file.close()  # its holder has removed it meanwhile: the name may be another process's by now


def _is_file(file: IO[str], path: Path) -> bool:
    """Returns whether ``path`` is still the open file."""
    try:
        return os.path.samestat(os.fstat(file.fileno()), os.stat(path))
    except FileNotFoundError:
        return False


def _read(file: IO[str]) -> Holder | None:
    """Returns the process that a lock's file names, None for an empty, half-written or foreign one."""
    file.seek(0)
    try:
        holder = Holder(**json.load(file))
    except (ValueError, TypeError, RecursionError):
        return None
    numbers = type(holder.pid) is int and 0 < holder.pid < 2**31 and isinstance(holder.started, (int, float))
    return holder if numbers and isinstance(holder.host, str) else None


def _boot() -> str:
    """Returns what identifies the start of the system."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return str(round(psutil.boot_time()))
