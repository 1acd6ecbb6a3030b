"""A data set in COCO format: an instances JSON file and a folder of images."""

from __future__ import annotations

import os
import zlib
from array import array
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from maskrcnn.data.sources.classes import ClassList
from maskrcnn.data.sources.json_stream import iter_elements, parse_bytes
from maskrcnn.data.sources.report import Issue, Reason
from maskrcnn.data.sources.sample import Sample
from maskrcnn.data.sources.segmentation import encode_segmentation
from maskrcnn.data.sources.source import (
    UnusableImage,
    clip_box,
    file_size,
    make_sample,
    read_image,
    require_file,
    require_folder,
)
from maskrcnn.errors import DataError

_IDS = range(-(2**62), 2**62)
_WITHOUT_ID = -(2**63)
# a generous size of one object in a record: box, label and the RLE of a typical outline; longer outlines are
# longer in the annotation file, too
_BYTES_PER_OBJECT = 400
_BYTES_PER_IMAGE = 200


class _Image(NamedTuple):
    id: int
    file_name: str
    height: int | None
    width: int | None


class CocoSource:
    """Images and objects of a COCO instances file, read with memory for one image's annotations at a time.

    One pass over the file finds where each annotation lies (28 bytes each); ``load`` reads an image's
    annotations
    from there. How COCO's fields are understood:

    - ``bbox`` is x, y, width, height; the box is x, y, x + width, y + height, clipped to the image.
    - ``iscrowd`` 1 marks a region to ignore. An image whose only objects are crowd regions is left out.
    - ``segmentation`` is a list of polygons or an RLE, compressed or not. Without one (missing, null or an
      empty list) the object is kept for its box. One that is there but unusable makes the object be
      skipped.
    - An object of a category that is listed in the file, but not among ``classes``, is no fault.
    """

    def __init__(
        self, ann_file: str | Path, image_dir: str | Path, classes: Sequence[str] | ClassList | None = None
    ) -> None:
        """Index ``ann_file``.

        Args:
            ann_file: instances JSON file.
            image_dir: folder that the ``file_name`` of each image is relative to.
            classes: names in the order of their labels; None or empty takes the file's categories by id.

        Raises:
            DataError: a file or folder is missing, or the file is no COCO instances file.
        """
        self.ann_file = require_file(ann_file, "the annotation file", "coco_root and instance_set")
        self.image_dir = require_folder(image_dir, "the image folder", "coco_root and train_data_type")
        self.issues: list[Issue] = []
        self._checksum = _Checksum()
        self._images: list[_Image] = []
        self._seen_images: set[int] = set()
        categories: list[Any] = []
        table = _AnnotationTable()
        for key, element, place in iter_elements(
            self.ann_file, ("images", "annotations", "categories"), self._checksum.update
        ):
            if key == "images":
                self._add_image(element)
            elif key == "annotations":
                self._issue(table.add(element, place))
            else:
                categories.append(element)
        if not self._images:
            raise DataError(f"{self.ann_file} lists no images: it is not a COCO instances file")
        names = classes.names if isinstance(classes, ClassList) else classes
        self.classes = ClassList.from_categories(categories, names, str(self.ann_file))
        self._known_categories = frozenset(entry["id"] for entry in categories)
        self._category_names = ClassList.from_categories(categories).names
        self._objects = table.finish(self._seen_images, self._issue)
        self._seen_images.clear()
        self._file = open(self.ann_file, "rb")  # noqa: SIM115 - read by load() as long as the source lives

    def __len__(self) -> int:
        return len(self._images)

    def load(self, index: int) -> tuple[Sample | None, list[Issue]]:
        """Read and check one image with its objects (see :class:`maskrcnn.data.sources.source.Source`)."""
        entry = self._images[index]
        annotations = [self._read(place) for place in self._objects.places(entry.id)]
        where = f"image {entry.id} ({entry.file_name})"
        if not annotations:
            return None, [Issue(Reason.NO_OBJECTS, where)]
        try:
            image = read_image(self.image_dir / entry.file_name, entry.height, entry.width)
        except UnusableImage as error:
            return None, [Issue(error.reason, f"image {entry.id}: {error.detail}")]
        issues: list[Issue] = []
        objects = []
        for annotation in annotations:
            found, issue = self._object(annotation, *image[1:])
            if issue is not None:
                issues.append(issue)
            if found is not None:
                objects.append(found)
        if all(crowd for _, _, crowd, _ in objects):
            return None, [*issues, Issue(Reason.NO_OBJECTS, where)]
        return make_sample(entry.id, entry.file_name, image, objects), issues

    def estimated_bytes(self) -> tuple[int, int]:
        """About how large all rows together and the largest row will be, from the sizes of the files."""
        total = largest = 0
        for image in self._images:
            lengths = [end - start for start, end in self._objects.places(image.id)]
            objects = max(sum(lengths), len(lengths) * _BYTES_PER_OBJECT)
            row = file_size(self.image_dir / image.file_name) + objects + _BYTES_PER_IMAGE
            total, largest = total + row, max(largest, row)
        return total, largest

    def summary(self) -> dict[str, Any]:
        """Name, size and CRC-32 of the annotation file, and what it lists, with the classes that are not used."""
        return {
            "annotation_file": self.ann_file.name,
            "annotation_bytes": self._checksum.size,
            "annotation_crc32": self._checksum.crc,
            "images": len(self._images),
            "objects": len(self._objects),
            "categories": self._category_names,
        }

    def _issue(self, issue: Issue | None) -> None:
        if issue is not None:
            self.issues.append(issue)

    def _add_image(self, entry: Any) -> None:
        if not _is_image(entry):
            self._issue(Issue(Reason.MALFORMED, f"image entry {_brief(entry)}"))
        elif entry["id"] in self._seen_images:
            self._issue(Issue(Reason.DUPLICATE_IMAGE, f"image {entry['id']} ({entry['file_name']})"))
        else:
            self._seen_images.add(entry["id"])
            self._images.append(_Image(entry["id"], entry["file_name"], entry.get("height"), entry.get("width")))

    def _read(self, place: tuple[int, int]) -> dict:
        start, end = place
        try:
            return parse_bytes(os.pread(self._file.fileno(), end - start, start))
        except ValueError:
            raise DataError(f"{self.ann_file} changed while it was read; start again") from None

    def _object(self, annotation: dict, height: int, width: int) -> tuple[tuple | None, Issue | None]:
        """One annotation to (box, label, crowd, rle) and what there is to report about it."""
        where = f"annotation {annotation.get('id', '?')} of image {annotation['image_id']}"
        category, crowd = annotation.get("category_id"), annotation.get("iscrowd", 0)
        if type(category) is not int or category not in self._known_categories:
            return None, Issue(Reason.UNKNOWN_CATEGORY, f"{where}, category_id {category!r}")
        if crowd not in (0, 1):
            return None, Issue(Reason.MALFORMED, f"{where}, iscrowd {crowd!r}")
        label = self.classes.label_of(category)
        if label is None:
            return None, Issue(Reason.OTHER_CLASS, f"{where}, category_id {category}")
        corners = _corners(annotation.get("bbox"))
        box, reason = (None, Reason.BAD_BOX) if corners is None else clip_box(corners, height, width)
        issue = None if reason is None else Issue(reason, f"{where}, bbox {_brief(annotation.get('bbox'))}")
        if box is None:
            return None, issue
        segmentation = annotation.get("segmentation")
        if segmentation is None or segmentation == []:
            return (box, label, bool(crowd), None), issue or Issue(Reason.BOX_ONLY, where)
        try:
            rle = encode_segmentation(segmentation, height, width)
        except ValueError as error:
            return None, Issue(Reason.BAD_MASK, f"{where}: {error}")
        return (box, label, bool(crowd), rle), issue


class _AnnotationTable:
    """Where each annotation lies in the file, grouped by image once all are known."""

    def __init__(self) -> None:
        self._image = array("q")
        self._id = array("q")
        self._start = array("q")
        self._length = array("i")

    def add(self, entry: Any, place: tuple[int, int]) -> Issue | None:
        if not isinstance(entry, dict) or not _is_id(entry.get("image_id")):
            return Issue(Reason.MALFORMED, f"annotation entry {_brief(entry)}")
        identity = entry.get("id")
        self._image.append(entry["image_id"])
        self._id.append(identity if _is_id(identity) else _WITHOUT_ID)
        self._start.append(place[0])
        self._length.append(place[1] - place[0])
        return None

    def finish(self, images: set[int], report) -> _AnnotationTable:
        """Leave out what is there twice or belongs to no image, telling ``report``, and sort by image."""
        image, identity = np.array(self._image, np.int64), np.array(self._id, np.int64)
        order = np.argsort(identity, kind="stable")
        again = np.zeros(image.size, bool)
        again[order[1:]] = (np.diff(identity[order]) == 0) & (identity[order[1:]] != _WITHOUT_ID)
        orphan = ~np.isin(image, np.fromiter(images, np.int64, len(images)))
        for i in np.flatnonzero(again | orphan):
            reason = Reason.DUPLICATE_ANNOTATION if again[i] else Reason.ORPHAN
            report(Issue(reason, f"annotation {identity[i]} of image {image[i]}"))
        kept = np.flatnonzero(~(again | orphan))
        kept = kept[np.argsort(image[kept], kind="stable")]
        self._image = image[kept]
        self._start = np.array(self._start, np.int64)[kept]
        self._length = np.array(self._length, np.int64)[kept]
        del self._id
        return self

    def __len__(self) -> int:
        return len(self._image)

    def places(self, image_id: int) -> list[tuple[int, int]]:
        """Byte ranges of an image's annotations, in the order of the file."""
        first, last = np.searchsorted(self._image, (image_id, image_id + 1))
        starts, lengths = self._start[first:last].tolist(), self._length[first:last].tolist()
        return [(start, start + length) for start, length in zip(starts, lengths)]


class _Checksum:
    def __init__(self) -> None:
        self.size = self.crc = 0

    def update(self, chunk: bytes) -> None:
        self.size += len(chunk)
        self.crc = zlib.crc32(chunk, self.crc)


def _is_id(value: Any) -> bool:
    return type(value) is int and value in _IDS


def _is_image(entry: Any) -> bool:
    """Whether an entry of ``images`` has a usable id and file name, and no impossible size."""
    if not isinstance(entry, dict) or not _is_id(entry.get("id")):
        return False
    name = entry.get("file_name")
    if not isinstance(name, str) or not name or "\0" in name:
        return False
    try:
        name.encode()
    except UnicodeEncodeError:  # half a surrogate pair
        return False
    return all(entry.get(side) is None or type(entry[side]) is int for side in ("height", "width"))


def _corners(bbox: Any) -> tuple[float, float, float, float] | None:
    if not isinstance(bbox, list) or len(bbox) != 4 or any(type(v) not in (int, float) for v in bbox):
        return None
    try:
        x, y, width, height = map(float, bbox)
    except OverflowError:
        return None
    return x, y, x + width, y + height


def _brief(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."
