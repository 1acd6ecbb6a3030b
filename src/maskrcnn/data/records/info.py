"""The description that lies beside a record: what it holds, how it was made, and whether it is whole.

It is written last, so a record without it was not finished.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from maskrcnn.data.sources.classes import ClassList
from maskrcnn.data.sources.json_stream import file_checksum
from maskrcnn.errors import DataError

FORMAT = "maskrcnn-record"
VERSION = 2
READABLE = (1, 2)  # version 1 has no EXIF orientations: pixels are taken as stored
_REMEDY = "delete it and convert again"


@dataclass(frozen=True)
class RecordInfo:
    """What a finished record holds.

    Attributes:
        path: the ``.mindrecord`` file.
        classes: names and category ids of labels 1..K.
        sizes: int32 [n, 2], height and width of each row's image.
        objects: number of objects in all rows, crowd regions included.
        settings: what the run that made it was asked for.
        source: what identifies the data set it was made from.
        report: counts, by reason, of what was left out or changed.
        file_bytes: size of each of the record's files by name.
        checksums: number and CRC-32 of the first bytes of each file: all of the index, and the header of
        the data file. Damage there makes MindRecord's reader abort the process; rows have checksums of
        their own.
        labels: the classes of the objects of each row's image, each once, crowd regions left out; None in records of
        earlier versions.
    """

    path: Path
    classes: ClassList
    sizes: np.ndarray
    objects: int
    settings: dict[str, Any]
    source: dict[str, Any]
    report: dict[str, dict]
    file_bytes: dict[str, int]
    checksums: dict[str, tuple[int, int]]
    labels: list[list[int]] | None = None

    def __len__(self) -> int:
        """Returns the number of rows."""
        return len(self.sizes)

    @property
    def faults(self) -> int:
        """The number of faulty inputs that were skipped when the record was made."""
        return sum(entry["count"] for entry in self.report.values() if entry["fault"])


def info_path(path: str | Path) -> Path:
    """Returns ``name.json`` beside ``name.mindrecord``."""
    return Path(path).with_suffix(".json")


def index_path(path: str | Path) -> Path:
    """Returns ``name.mindrecord.db``, which MindRecord writes beside ``name.mindrecord``."""
    return Path(f"{path}.db")


def write_info(folder: Path, info: RecordInfo) -> None:
    """Writes the description of ``info.path`` into ``folder``."""
    content = {
        "format": FORMAT,
        "version": VERSION,
        "name": info.path.name,
        "images": len(info),
        "objects": info.objects,
        "classes": info.classes.names,
        "category_ids": info.classes.category_ids,
        "settings": info.settings,
        "source": info.source,
        "report": info.report,
        "file_bytes": info.file_bytes,
        "checksums": info.checksums,
        "sizes": info.sizes.tolist(),
        "labels": info.labels,
    }
    info_path(folder / info.path.name).write_text(json.dumps(content, separators=(",", ":")), encoding="utf-8")


def read_info(path: str | Path) -> RecordInfo:
    """Reads and checks the description of the record ``path`` (a ``.mindrecord`` file).

    Raises:
        DataError: the record is missing, unfinished, damaged, renamed, or of another version of the format.
    """
    path = Path(path)
    description = info_path(path)
    if not description.is_file():
        if path.is_file():
            raise DataError(f"the record {path} was not finished ({description.name} is missing): {_REMEDY}")
        raise DataError(f"there is no record {path}: convert the data set first")
    try:
        content = json.loads(description.read_text(encoding="utf-8"))
        if content["format"] != FORMAT:
            raise ValueError("another format")
        version = content["version"]
        if version in READABLE:
            name = content["name"]
            info = RecordInfo(
                path=path,
                classes=ClassList(tuple(content["classes"]), tuple(content["category_ids"])),
                sizes=np.array(content["sizes"], np.int32).reshape(content["images"], 2),
                objects=int(content["objects"]),
                settings=content["settings"],
                source=content["source"],
                report=content["report"],
                file_bytes=content["file_bytes"],
                checksums={file: (int(size), int(crc)) for file, (size, crc) in content["checksums"].items()},
                labels=content.get("labels"),
            )
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(f"{description} is damaged or describes no record ({error}): {_REMEDY}") from None
    if version not in READABLE:
        raise DataError(f"the record {path} has format version {version}, this program needs {VERSION}: {_REMEDY}")
    if name != path.name:
        # MindRecord's index names the data file: reading a renamed copy would silently read the original
        raise DataError(f"the record {path} was made as {name} and cannot be renamed: rename it back")
    for file, expected in info.file_bytes.items():
        found = path.with_name(file).stat().st_size if path.with_name(file).is_file() else None
        if found != expected:
            state = "is missing" if found is None else f"has {found} bytes instead of {expected}"
            raise DataError(f"the record {path} is damaged: {file} {state}; {_REMEDY}")
    for file, (size, crc) in info.checksums.items():
        if file_checksum(path.with_name(file), size) != (size, crc):
            raise DataError(f"the record {path} is damaged: the contents of {file} have changed; {_REMEDY}")
    return info


def check_info(info: RecordInfo, classes: ClassList | None, settings: dict[str, Any]) -> None:
    """Checks that a record was made for this run.

    Args:
        info: the record's description.
        classes: the run's classes; only the names count. None: whatever the record has.
        settings: what the run asks for; each must be what the record was made with.

    Raises:
        DataError: it was made with other classes or settings; the message names the first difference.
    """
    difference = None if classes is None else info.classes.difference(classes)
    for key, wanted in settings.items():
        # records of earlier versions have no empty images, and serve either choice about EXIF orientations
        made_with = info.settings.get(key, {"keep_empty": False, "exif": wanted}.get(key))
        if difference is None and made_with != wanted:
            difference = f"{key} is {made_with!r} instead of {wanted!r}"
    if difference is not None:
        raise DataError(
            f"the record {info.path} was made for another run: {difference}; "
            "delete it to convert again, or give another mindrecord_dir"
        )
