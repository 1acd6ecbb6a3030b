"""The annotations that results are scored against: a COCO-format file, read by the same rules as for training."""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from maskrcnn.data.sources.classes import ClassList
from maskrcnn.data.sources.coco_annotations import read_annotations
from maskrcnn.data.sources.coco_file import CocoFile
from maskrcnn.data.sources.report import SkipReport
from maskrcnn.data.sources.scalars import Identity, as_identity
from maskrcnn.errors import DataError, EvaluationError
from maskrcnn.inference.results import CategoryId, ImageId


@dataclass(frozen=True)
class GroundTruth:
    """Images, annotations and categories as COCO's dictionaries, everything in them fit to be used.

    Attributes:
        path: The annotation file.
        images: With ``id``, ``file_name``, ``height`` and ``width``; the sizes are None where nothing tells them.
        annotations: With ``id`` (1, 2, ...), ``image_id``, ``category_id``, ``bbox``, ``area``, ``iscrowd`` and
            ``segmentation``, a compressed RLE, or None for an object that counts for boxes only.
        categories: As the file has them.
        report: What was found wrong in the file, counted.
        file: Where images lie, and which categories are classes.
    """

    path: Path
    images: list[dict[str, Any]]
    annotations: list[dict[str, Any]]
    categories: list[dict[str, Any]]
    report: SkipReport
    file: CocoFile

    @property
    def class_names(self) -> tuple[str, ...]:
        """The names of all classes of the file, by their ids."""
        return self.file.category_names

    def find_classes(self, names: Sequence[str], category_ids: Sequence[CategoryId] | None = None) -> ClassList:
        """Returns a model's classes with the ids that they have in this file.

        A class of which the file has no category gets an id that no category has.

        Args:
            names: The classes, that of label 1 first.
            category_ids: Their ids in the data set the model was trained on, if they are known.

        Raises:
            DataError: The file has none of the classes, or two categories of one name.
        """
        own = ClassList(tuple(names), tuple(category_ids or range(1, len(names) + 1)))
        return self.file.find_classes(own)[0]

    def lacking(self, classes: ClassList) -> list[str]:
        """Returns the names of the classes that are no category of this file."""
        listed = self.file.category_identities
        return [name for name, own in zip(classes.names, classes.category_ids) if as_identity(own) not in listed]

    def objects_of(
        self, category_ids: Collection[CategoryId], image_ids: Collection[ImageId] | None = None
    ) -> list[dict[str, Any]]:
        """Returns the annotations of some classes in some images, crowd regions among them.

        Args:
            category_ids: The classes.
            image_ids: The images; None means all.

        Raises:
            EvaluationError: There is no object to be found among them.
        """
        categories = set(category_ids)
        images = {image["id"] for image in self.images} if image_ids is None else set(image_ids)
        chosen = [
            annotation
            for annotation in self.annotations
            if annotation["category_id"] in categories and annotation["image_id"] in images
        ]
        if all(annotation["iscrowd"] for annotation in chosen):
            raise EvaluationError(
                f"{self.path} has no object of the run's {len(categories)} classes in the {len(images)} images "
                "to evaluate: check coco_classes and the annotation file"
            )
        return chosen


def load_ground_truth(
    path: str | os.PathLike[str],
    *,
    image_dir: str | os.PathLike[str] | None = None,
    sizes: Mapping[Identity, tuple[int, int]] | None = None,
    exif: bool = True,
    strict: bool = False,
) -> GroundTruth:
    """Reads a COCO-format annotation file. What cannot be used of it is left out and counted, as in training.

    Args:
        path: The file.
        image_dir: The folder of its images, which say the sizes that the file does not say.
        sizes: (height, width) by ``as_identity`` of the image id, where neither says them.
        exif: Whether images without a size count as rotated by their EXIF orientation.
        strict: Whether the first fault is an error instead.

    Raises:
        DataError: It cannot be read, is no annotation file, has no usable object, or ``strict`` met a fault.
    """
    path = Path(path)
    if not path.is_file():
        raise DataError(f"there is no annotation file {path}: check ann_file, or coco_root and val_data_type")
    found = read_annotations(path, image_dir=image_dir, sizes=sizes, exif=exif, strict=strict)
    if not found.annotations:
        lines = found.report.lines()
        why = f"; {lines[0]}" if lines else ""
        raise DataError(f"{path} has no annotations that can be used: there is nothing to evaluate against{why}")
    return GroundTruth(path, found.images, found.annotations, found.categories, found.report, found.file)
