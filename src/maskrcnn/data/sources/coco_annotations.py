"""All annotations of a COCO file at once, checked and completed: what an evaluation compares detections with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pycocotools import mask as mask_util

from maskrcnn.data.sources.coco_entries import CocoImage, CocoObject, check_object
from maskrcnn.data.sources.coco_file import CocoFile
from maskrcnn.data.sources.report import Issue, Reason, SkipReport, brief
from maskrcnn.data.sources.scalars import Identity, as_identity, as_number
from maskrcnn.data.sources.source import UnusableImage, read_image

Size = tuple[int, int]


@dataclass(frozen=True)
class CocoAnnotations:
    """A COCO annotation file in memory, everything in it fit to be used.

    Attributes:
        file: the index of the file: its classes, and where its images lie.
        images: dictionaries with ``id`` (as in the file), ``file_name``, ``height`` and ``width`` (None where nothing
            tells them), and LVIS's lists of categories; in the order of ``file.images``.
        annotations: dictionaries with ``id`` (1, 2, ...), ``image_id`` and ``category_id`` (as in ``images`` and
            ``categories``), ``bbox`` [x, y, width, height] (not clipped), ``iscrowd`` (0 or 1), ``area`` (the file's,
            or else that of the mask or the box) and ``segmentation`` (a compressed RLE, or None for a box only).
        categories: the file's dictionaries.
        report: what was found wrong, counted.
    """

    file: CocoFile
    images: list[dict[str, Any]]
    annotations: list[dict[str, Any]]
    categories: list[dict[str, Any]]
    report: SkipReport


def read_annotations(
    path: str | Path,
    *,
    image_dir: str | Path | None = None,
    sizes: Mapping[Identity, Size] | None = None,
    exif: bool = True,
    strict: bool = False,
) -> CocoAnnotations:
    """Reads a COCO annotation file by the rules of ``coco_entries``, the same as for training.

    Args:
        path: instances JSON file.
        image_dir: folder of the images, which say the sizes that the file does not say. The masks of an image whose
            size nothing tells cannot be used.
        sizes: (height, width) by ``as_identity`` of the image id, where neither says them.
        exif: whether EXIF orientations count for those sizes, see ``read_image``.
        strict: stop at the first fault instead of leaving it out and counting it.

    Raises:
        DataError: the file cannot be read, is no COCO instances file, or ``strict`` met a fault.
    """
    file = CocoFile(path)
    category_ids = {as_identity(entry["id"]): entry["id"] for entry in file.categories}
    report = SkipReport(strict)
    report.add(file.issues)
    images, annotations = [], []
    for image in file.images:
        size = _known_size(file, image, Path(image_dir) if image_dir else None, sizes or {}, exif)
        identity = {"id": image.id, "file_name": image.file_name, "height": size[0], "width": size[1]}
        images.append({**image.lists, **identity})
        for entry in file.annotations(image):
            found, issues = check_object(entry, file.category_identities, *size)
            report.add(issues)
            if found is not None:
                area, issue = _area(entry, found, size)
                report.add([issue] if issue else [])
                annotations.append(
                    {
                        "id": len(annotations) + 1,
                        "image_id": image.id,
                        "category_id": category_ids[found.category],
                        "bbox": [as_number(value) for value in entry["bbox"]],
                        "iscrowd": int(found.crowd),
                        "area": area,
                        "segmentation": found.rle and {"size": list(size), "counts": found.rle.decode("ascii")},
                    }
                )
    return CocoAnnotations(file, images, annotations, file.categories, report)


def _known_size(
    file: CocoFile, image: CocoImage, image_dir: Path | None, sizes: Mapping[Identity, Size], exif: bool
) -> tuple[int | None, int | None]:
    """The listed size of an image, or else that of its file, or else that of the masks found in it."""
    if image.height is not None and image.width is not None:
        return image.height, image.width
    if image_dir is not None:
        try:
            found = read_image(file.image_path(image, image_dir), image.height, image.width, exif)
        except UnusableImage:  # it is reported when the image itself is read
            pass
        else:
            return found.height, found.width
    return sizes.get(image.identity, (None, None))


def _area(entry: dict[str, Any], found: CocoObject, size: tuple[int | None, int | None]) -> tuple[float, Issue | None]:
    """The file's area of an object, or else that of its mask or of its box."""
    given = as_number(entry.get("area"))
    if given is not None and given >= 0:
        return given, None
    if found.rle is not None:
        area = float(mask_util.area({"size": list(size), "counts": found.rle}))
    else:
        x1, y1, x2, y2 = found.box
        area = (x2 - x1) * (y2 - y1)
    if entry.get("area") is None:
        return area, None
    where = f"annotation {brief(entry.get('id', '?'))} of image {brief(entry.get('image_id'))}"
    return area, Issue(Reason.BAD_AREA, f"{where}, area {brief(entry['area'])}")
