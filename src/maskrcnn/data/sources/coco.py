"""A data set in COCO format, to train on: an instances JSON file and a folder of images."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from maskrcnn.data.sources.coco_entries import CocoImage, check_object
from maskrcnn.data.sources.coco_file import CocoFile
from maskrcnn.data.sources.report import Issue, Reason
from maskrcnn.data.sources.sample import Sample
from maskrcnn.data.sources.source import (
    UnusableImage,
    file_size,
    make_sample,
    read_image,
    require_file,
    require_folder,
)

# a generous size of one object in a record: box, label and the RLE of a typical outline; longer outlines are longer in
# the annotation file, too
_BYTES_PER_OBJECT = 400
_BYTES_PER_IMAGE = 200


class CocoSource:
    """Images and objects of a COCO instances file, read with memory for one image's annotations at a time.

    ``coco_entries`` says how the fields are understood. An object of a category that is listed in the file, but not
    among ``classes``, is no fault. An image without objects, or with crowd regions only, has nothing to learn from
    but what is not there: it is left out unless ``keep_empty``.
    """

    def __init__(
        self,
        ann_file: str | Path,
        image_dir: str | Path,
        classes: Sequence[str] | None = None,
        *,
        keep_empty: bool = False,
        exif: bool = True,
    ) -> None:
        """Indexes ``ann_file``.

        Args:
            ann_file: instances JSON file.
            image_dir: folder that the ``file_name`` of each image is relative to.
            classes: names in the order of their labels; None or empty takes the file's categories by id.
            keep_empty: give images without objects, too.
            exif: apply EXIF orientations where the listed sizes leave it open.

        Raises:
            DataError: a file or folder is missing, or the file is no COCO instances file.
        """
        path = require_file(ann_file, "the annotation file", "coco_root and instance_set")
        self.image_dir = require_folder(image_dir, "the image folder", "coco_root and train_data_type")
        self._keep_empty, self._exif = keep_empty, exif
        self._file = CocoFile(path)
        self.issues = self._file.issues
        self.classes = self._file.classes(classes)

    def __len__(self) -> int:
        """Returns the number of images listed."""
        return len(self._file.images)

    def load(self, index: int) -> tuple[Sample | None, list[Issue]]:
        """Reads and checks one image with its objects (see :class:`maskrcnn.data.sources.source.Source`)."""
        entry = self._file.images[index]
        annotations = self._file.annotations(entry)
        if not (annotations or self._keep_empty):
            return None, [Issue(Reason.NO_OBJECTS, str(entry))]
        try:
            path = self._file.image_path(entry, self.image_dir)
            image = read_image(path, entry.height, entry.width, self._exif)
        except UnusableImage as error:
            return None, [Issue(error.reason, f"image {entry.id}: {error.detail}")]
        issues: list[Issue] = []
        objects = []
        for annotation in annotations:
            found, wrong = check_object(
                annotation, self._file.category_identities, image.height, image.width, self.classes
            )
            issues += wrong
            if found is not None:
                objects.append((found.box, self.classes.label_of(found.category), found.crowd, found.rle))
        if all(crowd for _, _, crowd, _ in objects):
            # objects that cannot be used are there all the same: such an image is no example of background
            kept = self._keep_empty and not any(issue.reason.fault for issue in issues)
            issues.append(Issue(Reason.BACKGROUND if kept else Reason.NO_OBJECTS, str(entry)))
            if not kept:
                return None, issues
        if image.note is not None:
            issues.append(Issue(image.note, str(entry)))
        return make_sample(self._number(entry, index), entry.file_name, image, objects), issues

    def estimated_bytes(self) -> tuple[int, int]:
        """Returns about how large all rows together and the largest row will be, from the sizes of the files."""
        total = largest = 0
        for image in self._file.images:
            lengths = [end - start for start, end in self._file.places(image)]
            objects = max(sum(lengths), len(lengths) * _BYTES_PER_OBJECT)
            row = file_size(self._file.image_path(image, self.image_dir)) + objects + _BYTES_PER_IMAGE
            total, largest = total + row, max(largest, row)
        return total, largest

    def summary(self) -> dict[str, Any]:
        """Returns name, size and CRC-32 of the annotation file, and all that it lists, used or not."""
        return {
            "annotation_file": self._file.path.name,
            "annotation_bytes": self._file.size,
            "annotation_crc32": self._file.crc32,
            "images": len(self),
            "objects": len(self._file),
            "categories": self._file.category_names,
        }

    @staticmethod
    def _number(image: CocoImage, index: int) -> int:
        """The number that stands for the image in messages of training: its id, or its place in the list if a text."""
        return image.identity if isinstance(image.identity, int) else index + 1
