"""What lies in an image folder: names, sizes and times, which show a change after a conversion at little cost."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from maskrcnn.data.sources.image_file import IMAGE_SUFFIXES

_DIGEST_BYTES = 16


@dataclass(frozen=True)
class FolderFingerprint:
    """Image files of a folder and its subfolders.

    Attributes:
        files: their number.
        names_and_sizes: sum of the digests of every file's name and size, in hexadecimal digits.
        times: sum of the digests of every file's name and time of change.
        newest: latest time of change, nanoseconds since 1970.
    """

    files: int
    names_and_sizes: str
    times: str
    newest: int

    @classmethod
    def of(cls, folder: Path) -> FolderFingerprint | None:
        """Returns the fingerprint of a folder as it is now, None where there is none."""
        return _scan(folder, 0)[0] if folder.is_dir() else None

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> FolderFingerprint:
        """Returns the fingerprint that ``to_json`` has written."""
        return cls(**content)

    def to_json(self) -> dict[str, Any]:
        """Returns plain numbers and texts."""
        return asdict(self)

    def compare(self, folder: Path) -> tuple[str | None, str | None]:
        """Compares a folder, as it is now, with this fingerprint of it.

        Where names and sizes agree, and either all files or none have changed since, the folder was copied, or its
        times set back: the images are the same.

        Returns:
            What has changed, as the end of a sentence, and a note on what only looks changed; each None if there is
            nothing to say.
        """
        now, newer = _scan(folder, self.newest)
        instance = f", for instance {newer[0]}" if newer else ""
        if now.files != self.files:
            more = now.files - self.files
            return f"it has {abs(more)} image files {'more' if more > 0 else 'less'} than then{instance}", None
        if now.names_and_sizes != self.names_and_sizes:
            return f"image files have other names or sizes than then{instance}", None
        if now.times == self.times:
            return None, None
        if 0 < len(newer) < now.files:
            return f"{len(newer)} image files have been written since{instance}", None
        return None, "its image files have other times than then, but the same names and sizes"


def _scan(folder: Path, since: int) -> tuple[FolderFingerprint, list[str]]:
    """Returns the fingerprint of a folder and the names of the files that have changed after ``since``."""
    files = names_and_sizes = times = newest = 0
    newer = []
    for name, size, changed in _image_files(str(folder)):
        files += 1
        names_and_sizes += _digest(name, size)
        times += _digest(name, changed)
        newest = max(newest, changed)
        if changed > since:
            newer.append(name)
    # Sums do not depend on the order in which the system lists a folder, and need no list.
    digits = 2 * _DIGEST_BYTES
    sums = (f"{total % 2 ** (8 * _DIGEST_BYTES):0{digits}x}" for total in (names_and_sizes, times))
    return FolderFingerprint(files, *sums, newest), newer


def _image_files(folder: str) -> Iterator[tuple[str, int, int]]:
    """Yields name relative to ``folder``, size in bytes and time of change in nanoseconds of every image file."""
    waiting, seen = [""], set()
    while waiting:
        part = waiting.pop()
        with os.scandir(os.path.join(folder, part)) as entries:
            for entry in entries:
                name = os.path.join(part, entry.name)
                if entry.name.lower().endswith(IMAGE_SUFFIXES):
                    try:
                        status = entry.stat()
                    except OSError:  # a link to nothing
                        continue
                    yield name, status.st_size, status.st_mtime_ns
                elif entry.is_dir():
                    status = entry.stat()
                    if (status.st_dev, status.st_ino) not in seen:  # links may go in circles
                        seen.add((status.st_dev, status.st_ino))
                        waiting.append(name)


def _digest(name: str, number: int) -> int:
    data = f"{number} ".encode() + os.fsencode(name)
    return int.from_bytes(hashlib.blake2b(data, digest_size=_DIGEST_BYTES).digest(), "big")
