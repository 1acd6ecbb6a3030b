"""A data set in the TXT format: one image a line, with boxes and no masks.

A line is ``path x1,y1,x2,y2,class x1,y1,x2,y2,class ...``, separated by white space; the path is relative to the image
folder. ``class`` is the index of the class in the configuration's list, where index 0 is the background: 1..K. An empty
line and one that starts with ``#`` is passed over. The image id is the line number, from 1.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from maskrcnn.data.sources.classes import ClassList
from maskrcnn.data.sources.json_stream import file_checksum
from maskrcnn.data.sources.report import Issue, Reason
from maskrcnn.data.sources.sample import Sample
from maskrcnn.data.sources.source import (
    UnusableImage,
    clip_box,
    file_size,
    find_image,
    last_part,
    make_sample,
    read_image,
    require_file,
    require_folder,
    shared_last_parts,
)
from maskrcnn.errors import DataError

_FIELDS = 5
_BYTES_PER_OBJECT = 28
_BYTES_PER_IMAGE = 200


class _Line(NamedTuple):
    number: int
    file_name: str
    objects: tuple[str, ...]


class TxtSource:
    """Images and boxes of a TXT file. Boxes train the box heads; the mask loss passes over these images."""

    def __init__(
        self,
        anno_path: str | Path,
        image_dir: str | Path,
        classes: Sequence[str],
        *,
        keep_empty: bool = False,
        exif: bool = True,
    ) -> None:
        """Reads ``anno_path``.

        Args:
            anno_path: the TXT file.
            image_dir: folder that the paths in it are relative to.
            classes: names in the order of their labels; the format has no names of its own.
            keep_empty: give images without objects, too.
            exif: apply EXIF orientations: the format lists no sizes that would tell.

        Raises:
            DataError: a file or folder is missing, no class is given, or the file lists no image.
        """
        self.anno_path = require_file(anno_path, "the TXT annotation file", "anno_path")
        self.image_dir = require_folder(image_dir, "the image folder", "image_dir")
        if not classes:
            raise DataError("the TXT format has no class names of its own: list them in coco_classes")
        self.classes = ClassList.from_names(classes)
        self._keep_empty, self._exif = keep_empty, exif
        self.issues: list[Issue] = []
        self._lines: list[_Line] = []
        seen: set[str] = set()
        try:
            with open(self.anno_path, encoding="utf-8-sig") as file:
                for number, line in enumerate(file, 1):
                    name, *objects = line.split() or ["#"]
                    if name.startswith("#"):
                        continue
                    if name in seen:
                        self.issues.append(Issue(Reason.DUPLICATE_IMAGE, f"line {number} ({name})"))
                        continue
                    seen.add(name)
                    self._lines.append(_Line(number, name, tuple(objects)))
        except UnicodeDecodeError:
            raise DataError(f"{self.anno_path} is not a UTF-8 text file") from None
        if not self._lines:
            raise DataError(f"{self.anno_path} lists no images")
        self._shared = shared_last_parts(line.file_name for line in self._lines)

    def __len__(self) -> int:
        """Returns the number of images listed."""
        return len(self._lines)

    def load(self, index: int) -> tuple[Sample | None, list[Issue]]:
        """Reads and checks one image with its boxes (see :class:`maskrcnn.data.sources.source.Source`)."""
        line = self._lines[index]
        where = f"line {line.number} ({line.file_name})"
        if not (line.objects or self._keep_empty):
            return None, [Issue(Reason.NO_OBJECTS, where)]
        try:
            image = read_image(self._path(line), exif=self._exif)
        except UnusableImage as error:
            return None, [Issue(error.reason, f"line {line.number}: {error.detail}")]
        issues: list[Issue] = []
        objects = []
        for text in line.objects:
            found, reason = self._object(text, image.height, image.width)
            if reason is not None:
                issues.append(Issue(reason, f"{where}: {text[:80]}"))
            if found is not None:
                objects.append(found)
        if not objects:
            kept = self._keep_empty and not line.objects
            issues.append(Issue(Reason.BACKGROUND if kept else Reason.NO_OBJECTS, where))
            if not kept:
                return None, issues
        if image.note is not None:
            issues.append(Issue(image.note, where))
        return make_sample(line.number, line.file_name, image, objects), issues

    def estimated_bytes(self) -> tuple[int, int]:
        """Returns about how large all rows together and the largest row will be, from the sizes of the files."""
        rows = []
        for line in self._lines:
            image = file_size(self._path(line))
            rows.append(image + len(line.objects) * _BYTES_PER_OBJECT + _BYTES_PER_IMAGE)
        return sum(rows), max(rows)

    def summary(self) -> dict[str, Any]:
        """Returns name, size and CRC-32 of the TXT file, and what it lists."""
        size, crc = file_checksum(self.anno_path)
        return {
            "annotation_file": self.anno_path.name,
            "annotation_bytes": size,
            "annotation_crc32": crc,
            "images": len(self._lines),
            "objects": sum(len(line.objects) for line in self._lines),
        }

    def _path(self, line: _Line) -> Path:
        fewest = 2 if last_part(line.file_name) in self._shared else 1
        return find_image(self.image_dir, line.file_name, fewest)

    def _object(self, text: str, height: int, width: int) -> tuple[tuple | None, Reason | None]:
        fields = text.split(",")
        try:
            if len(fields) != _FIELDS:
                raise ValueError
            box = tuple(map(float, fields[:4]))
            label = int(fields[4])
        except ValueError:
            return None, Reason.MALFORMED
        if not 1 <= label <= len(self.classes):
            return None, Reason.UNKNOWN_CATEGORY
        clipped, reason = clip_box(box, height, width)
        return (clipped, label, False, None) if clipped else None, reason
