"""The images and objects of one split, as arrays, with what is suspicious about each object."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from pycocotools import mask as coco_mask
from tqdm import tqdm

from maskrcnn.data.inspection.findings import Kind
from maskrcnn.data.inspection.fingerprint import fingerprint
from maskrcnn.data.sources.coco_entries import CocoImage, CocoObject, check_object
from maskrcnn.data.sources.coco_file import CocoFile
from maskrcnn.data.sources.report import Issue, SkipReport
from maskrcnn.data.sources.scalars import as_identity
from maskrcnn.data.sources.source import UnusableImage, read_image
from maskrcnn.threads import map_in_order

_SAME = 0.9  # intersection over union from which two objects are at one place
_MISFIT = 0.8  # intersection over union of a box and the bounds of its mask below which they do not fit
_MISFIT_PIXELS = 2.0  # unless no side differs by more: tools round
_NARROWEST = 2.0
_WHOLE = 0.95
_AHEAD = 16  # images for each thread


class Suspicion(NamedTuple):
    """An object that is suspicious: its place in the arrays, why, and what to call it."""

    index: int
    kind: Kind
    where: str


@dataclass
class SplitLabels:
    """One split of a data set.

    Attributes:
        name: "train" or "val".
        classes: names, in the order of the labels.
        images: its usable images.
        paths: their files.
        sizes: int [m, 2], height and width.
        fingerprints: uint64 [m] (see ``fingerprint``), 0 where there is none.
        thumbnails: uint8 [m, 32, 32].
        image: int [n], the image of each object.
        label: int [n], its class, from 0.
        boxes: float [n, 4], x1, y1, x2, y2 in pixels of the image.
        area: float [n], pixels of its mask, or of its box without one.
        crowd: bool [n].
        has_mask: bool [n].
        segmentations: n compressed run-length counts, None without a mask.
        suspicious: what is suspicious.
        report: faults of the reader.
        faults: a line for each fault.
    """

    name: str
    classes: tuple[str, ...]
    images: list[CocoImage]
    paths: list[Path]
    sizes: np.ndarray
    fingerprints: np.ndarray
    thumbnails: np.ndarray
    image: np.ndarray
    label: np.ndarray
    boxes: np.ndarray
    area: np.ndarray
    crowd: np.ndarray
    has_mask: np.ndarray
    segmentations: list[bytes | None]
    suspicious: list[Suspicion] = field(default_factory=list)
    report: SkipReport = field(default_factory=SkipReport)
    faults: list[str] = field(default_factory=list)

    def per_image(self) -> np.ndarray:
        """Returns the number of objects, without crowds, of each image: int [m]."""
        return np.bincount(self.image[~self.crowd], minlength=len(self.images))

    def objects_of(self, image: int) -> np.ndarray:
        """Returns the indices of an image's objects."""
        return np.flatnonzero(self.image == image)


class _Read(NamedTuple):
    image: CocoImage
    path: Path
    size: tuple[int, int] | None
    fingerprint: int
    thumbnail: np.ndarray
    objects: list[CocoObject]
    names: list[str]
    issues: list[Issue]


def read_split(name: str, ann_file: Path, image_dir: Path, workers: int = 2, progress: bool = False) -> SplitLabels:
    """Reads a split and decodes its images.

    Args:
        name: what to call it.
        ann_file: instances JSON file.
        image_dir: folder of its images.
        workers: threads.
        progress: show a progress bar.

    Raises:
        DataError: the annotation file cannot be used.
    """
    file = CocoFile(ann_file)
    classes = file.classes().names
    category_names = {as_identity(entry["id"]): str(entry["name"]).strip() for entry in file.categories}
    labels = {identity: classes.index(n) for identity, n in category_names.items() if n in classes}
    report, faults = SkipReport(), []
    read = map_in_order(
        partial(_read_image, file=file, image_dir=image_dir),
        file.images,
        workers=workers,
        ahead=_AHEAD * workers,
        name="check",
    )
    kept: list[_Read] = []
    rows: list[tuple[int, int, CocoObject]] = []
    suspicious: list[Suspicion] = []
    issues = list(file.issues)
    for item in tqdm(read, total=len(file.images), desc=f"check {name}", unit="image", disable=not progress):
        issues += item.issues
        if item.size is None:
            continue
        first = len(rows)
        for found in item.objects:
            rows.append((len(kept), labels.get(found.category, -1), found))
        kept.append(item)
        suspicious += [
            Suspicion(first + index, kind, f"{name} {where}") for index, kind, where in _suspicions(item, labels)
        ]
    report.add(issues)
    faults = [f"{name} {issue}" for issue in issues if issue.reason.fault]
    objects = [found for _, _, found in rows]
    rles = [{"size": list(kept[i].size), "counts": o.rle} if o.rle else None for i, _, o in rows]
    boxes = np.array([o.box for o in objects], np.float64).reshape(-1, 4)
    box_area = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    return SplitLabels(
        name=name,
        classes=classes,
        images=[item.image for item in kept],
        paths=[item.path for item in kept],
        sizes=np.array([item.size for item in kept], np.int64).reshape(-1, 2),
        fingerprints=np.array([item.fingerprint for item in kept], np.uint64),
        thumbnails=np.array([item.thumbnail for item in kept], np.uint8).reshape(-1, 32, 32),
        image=np.array([i for i, _, _ in rows], np.int64),
        label=np.array([label for _, label, _ in rows], np.int64),
        boxes=boxes,
        area=np.array([float(coco_mask.area(r)) if r else a for r, a in zip(rles, box_area)], np.float64),
        crowd=np.array([o.crowd for o in objects], bool),
        has_mask=np.array([o.rle is not None for o in objects], bool),
        segmentations=[o.rle for o in objects],
        suspicious=suspicious,
        report=report,
        faults=faults,
    )


def _read_image(entry: CocoImage, file: CocoFile, image_dir: Path) -> _Read:
    path = file.image_path(entry, image_dir)
    try:
        image = read_image(path, entry.height, entry.width)
    except UnusableImage as error:
        issue = Issue(error.reason, f"image {entry.id}: {error.detail}")
        return _Read(entry, path, None, 0, np.zeros((32, 32), np.uint8), [], [], [issue])
    issues, objects, names = [], [], []
    for annotation in file.annotations(entry):
        found, wrong = check_object(annotation, file.category_identities, image.height, image.width)
        issues += wrong
        if found is not None:
            objects.append(found)
            names.append(f"annotation {annotation.get('id', '?')}")
    code, thumbnail = fingerprint(image.data)
    return _Read(entry, path, (image.height, image.width), code, thumbnail, objects, names, issues)


def _suspicions(item: _Read, labels: dict[Any, int]) -> list[tuple[int, Kind, str]]:
    """Returns what is suspicious about the objects of an image: (index, kind, where)."""
    height, width = item.size
    found = []
    boxes = np.array([o.box for o in item.objects], np.float64).reshape(-1, 4)
    for index, (found_object, name) in enumerate(zip(item.objects, item.names)):
        x1, y1, x2, y2 = found_object.box
        where = f"image {item.image.id} ({item.image.file_name}), {name}"
        if min(x2 - x1, y2 - y1) < _NARROWEST:
            found.append((index, Kind.TINY, where))
        if not found_object.crowd and (x2 - x1) * (y2 - y1) >= _WHOLE * height * width:
            found.append((index, Kind.WHOLE_IMAGE, where))
        if found_object.rle is not None:
            x, y, w, h = coco_mask.toBbox({"size": [height, width], "counts": found_object.rle}).tolist()
            bounds = np.array([[x, y, x + w, y + h]])
            differs = np.abs(bounds[0] - boxes[index]).max() > _MISFIT_PIXELS
            if differs and box_overlaps(boxes[index : index + 1], bounds)[0, 0] < _MISFIT:
                found.append((index, Kind.MISFIT, where))
    found += _same_places(item, boxes, labels)
    return found


def _same_places(item: _Read, boxes: np.ndarray, labels: dict[Any, int]) -> list[tuple[int, Kind, str]]:
    """Returns the objects that lie where another one lies; the later of the two is named."""
    overlaps = box_overlaps(boxes, boxes)
    height, width = item.size
    found = []
    for second, first in np.argwhere(np.tril(overlaps, -1) >= _SAME).tolist():
        a, b = item.objects[first], item.objects[second]
        if a.crowd or b.crowd:
            continue
        if a.rle is not None and b.rle is not None:  # rings and their contents have equal boxes
            rles = [{"size": [height, width], "counts": o.rle} for o in (a, b)]
            if coco_mask.iou(rles[:1], rles[1:], [0]).item() < _SAME:
                continue
        kind = Kind.SAME_PLACE if labels.get(a.category) == labels.get(b.category) else Kind.TWO_CLASSES
        where = f"image {item.image.id} ({item.image.file_name}), {item.names[first]} and {item.names[second]}"
        found.append((second, kind, where))
    return found


def box_overlaps(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Returns the intersections over unions of boxes [n, 4] and [m, 4]: float64 [n, m]."""
    low = np.maximum(a[:, None, :2], b[None, :, :2])
    high = np.minimum(a[:, None, 2:], b[None, :, 2:])
    both = (high - low).clip(0).prod(-1)
    areas = [(boxes[:, 2:] - boxes[:, :2]).prod(-1) for boxes in (a, b)]
    return both / np.maximum(areas[0][:, None] + areas[1][None] - both, 1e-12)


def class_counts(split: SplitLabels, classes: Sequence[str]) -> np.ndarray:
    """Returns the number of objects, without crowds, of each of ``classes``: int [K]."""
    names = np.array(split.classes, object)[split.label[~split.crowd]]
    return np.array([int((names == name).sum()) for name in classes])
