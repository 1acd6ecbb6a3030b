"""An annotation file in COCO format, of any size, read with memory for one image's annotations at a time."""

from __future__ import annotations

import os
import zlib
from array import array
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from maskrcnn.data.sources.classes import ClassList, category_names
from maskrcnn.data.sources.coco_entries import CocoImage, check_image
from maskrcnn.data.sources.json_stream import iter_elements, parse_bytes
from maskrcnn.data.sources.report import Issue, Reason, brief
from maskrcnn.data.sources.scalars import Identity, as_identity
from maskrcnn.data.sources.source import find_image, last_part, shared_last_parts
from maskrcnn.errors import DataError

_WITHOUT_ID = -(2**63)
_FIRST_TEXT = -(2**62)  # texts are numbered downwards from here; numbers as ids lie above


class CocoFile:
    """The index of an annotation file: its images and categories, and where each image's annotations lie.

    Attributes:
        path: the file.
        images: its usable images, in the order of the file.
        categories: its entries of ``categories``, as they are, each with an id and a name.
        category_identities: of their ids.
        category_names: of its classes, in the order of their ids.
        annotated: identities of the categories that objects have.
        issues: what is wrong with the file as a whole: malformed entries, ids that are there twice, annotations
            of no listed image.
        size: of the file, in bytes.
        crc32: of the file.
    """

    def __init__(self, path: str | Path) -> None:
        """Indexes ``path`` in one pass over it, with 28 bytes of memory for an annotation.

        Raises:
            DataError: it cannot be read, is no JSON, lists no image that could be used, or has no good categories.
        """
        self.path = Path(path)
        self.images: list[CocoImage] = []
        self.categories: list[Any] = []
        self.annotated: set[Identity] = set()
        self.issues: list[Issue] = []
        self.size = self.crc32 = 0
        self._numbers = _Numbers()
        table = _AnnotationTable()
        listed: set[int] = set()
        for key, element, place in iter_elements(path, ("images", "annotations", "categories"), self._add_to_checksum):
            if key == "images":
                self._add_image(element, listed)
            elif key == "annotations":
                self._add_annotation(element, place, table)
            else:
                self.categories.append(element)
        if not self.images:
            raise DataError(f"{path} lists no images{self._first_issue()}: it is not a COCO instances file")
        self.category_names = category_names(self.categories, str(path), self.annotated)
        self.category_identities = frozenset(as_identity(entry["id"]) for entry in self.categories)
        self._places = table.finish(listed, self._numbers, self.issues.append)
        self._shared = shared_last_parts(image.file_name for image in self.images)
        self._file = open(self.path, "rb")  # noqa: SIM115 - read as long as the index lives

    def __len__(self) -> int:
        """Returns the number of annotations that belong to an image."""
        return len(self._places)

    def classes(self, names: Sequence[str] | None = None) -> ClassList:
        """Returns the file's classes, all or those called ``names`` (see ``ClassList.from_categories``).

        Raises:
            DataError: one of ``names`` is not in the file, or is the name of two categories.
        """
        return ClassList.from_categories(self.categories, names, str(self.path), self.annotated)

    def find_classes(self, classes: ClassList) -> tuple[ClassList, list[str]]:
        """Returns a run's classes with the category ids of this file, and the names that it lacks (see ``in_file``).

        Raises:
            DataError: the file has none of the classes.
        """
        return classes.in_file(self.categories, str(self.path), self.annotated)

    def places(self, image: CocoImage) -> list[tuple[int, int]]:
        """Returns the byte ranges of an image's annotations, in the order of the file."""
        return self._places.of_image(self._numbers.number(image.identity))

    def annotations(self, image: CocoImage) -> list[dict[str, Any]]:
        """Reads an image's annotations, in the order of the file; may be called from several threads at once.

        Raises:
            DataError: the file has changed since it was indexed.
        """
        try:
            return [parse_bytes(os.pread(self._file.fileno(), end - start, start)) for start, end in self.places(image)]
        except ValueError:
            raise DataError(f"{self.path} changed while it was read; start again") from None

    def image_path(self, image: CocoImage, folder: Path) -> Path:
        """Returns the file of an image: its name in ``folder``, or the last parts of it (see ``find_image``)."""
        return find_image(folder, image.file_name, 2 if last_part(image.file_name) in self._shared else 1)

    def _add_to_checksum(self, chunk: bytes) -> None:
        self.size += len(chunk)
        self.crc32 = zlib.crc32(chunk, self.crc32)

    def _add_image(self, entry: Any, listed: set[int]) -> None:
        image, issue = check_image(entry)
        if image is not None:
            number = self._numbers.number(image.identity)
            if number in listed:
                issue = Issue(Reason.DUPLICATE_IMAGE, str(image))
            else:
                listed.add(number)
                self.images.append(image)
        if issue is not None:
            self.issues.append(issue)

    def _add_annotation(self, entry: Any, place: tuple[int, int], table: _AnnotationTable) -> None:
        image = as_identity(entry.get("image_id")) if isinstance(entry, dict) else None
        if image is None:
            missing = "no image_id" if isinstance(entry, dict) else "not an object"
            self.issues.append(Issue(Reason.MALFORMED, f"annotation entry {brief(entry)}: {missing}"))
            return
        identity = as_identity(entry.get("id"))
        number = _WITHOUT_ID if identity is None else self._numbers.number(identity)
        table.add(self._numbers.number(image), number, place)
        category = as_identity(entry.get("category_id"))
        if category is not None:
            self.annotated.add(category)

    def _first_issue(self) -> str:
        return f" that can be used ({self.issues[0].where})" if self.issues else ""


class _Numbers:
    """A 64-bit number for every identity: the number itself, or the next free one for a text."""

    def __init__(self) -> None:
        self._numbers: dict[str, int] = {}
        self._texts: list[str] = []

    def number(self, identity: Identity) -> int:
        if isinstance(identity, int):
            return identity
        number = self._numbers.setdefault(identity, _FIRST_TEXT - len(self._texts))
        if len(self._numbers) > len(self._texts):
            self._texts.append(identity)
        return number

    def identity(self, number: int) -> Identity:
        """Returns what ``number`` stands for."""
        return self._texts[_FIRST_TEXT - number] if number <= _FIRST_TEXT else number


class _AnnotationTable:
    """Where each annotation lies in the file, grouped by image once all are known."""

    def __init__(self) -> None:
        self._image = array("q")
        self._id = array("q")
        self._start = array("q")
        self._length = array("i")

    def add(self, image: int, identity: int, place: tuple[int, int]) -> None:
        self._image.append(image)
        self._id.append(identity)
        self._start.append(place[0])
        self._length.append(place[1] - place[0])

    def finish(self, images: set[int], numbers: _Numbers, report: Callable[[Issue], None]) -> _AnnotationTable:
        """Leaves out what is there twice or belongs to no image, telling ``report``, and sorts by image."""
        image, identity = np.array(self._image, np.int64), np.array(self._id, np.int64)
        order = np.argsort(identity, kind="stable")
        again = np.zeros(image.size, bool)
        again[order[1:]] = (np.diff(identity[order]) == 0) & (identity[order[1:]] != _WITHOUT_ID)
        orphan = ~np.isin(image, np.fromiter(images, np.int64, len(images)))
        for i in np.flatnonzero(again | orphan):
            reason = Reason.DUPLICATE_ANNOTATION if again[i] else Reason.ORPHAN
            name = "?" if identity[i] == _WITHOUT_ID else numbers.identity(identity[i])
            report(Issue(reason, f"annotation {name} of image {numbers.identity(image[i])}"))
        kept = np.flatnonzero(~(again | orphan))
        kept = kept[np.argsort(image[kept], kind="stable")]
        self._image = image[kept]
        self._start = np.array(self._start, np.int64)[kept]
        self._length = np.array(self._length, np.int64)[kept]
        del self._id
        return self

    def __len__(self) -> int:
        return len(self._image)

    def of_image(self, number: int) -> list[tuple[int, int]]:
        first, last = np.searchsorted(self._image, (number, number + 1))
        starts, lengths = self._start[first:last].tolist(), self._length[first:last].tolist()
        return [(start, start + length) for start, length in zip(starts, lengths)]
