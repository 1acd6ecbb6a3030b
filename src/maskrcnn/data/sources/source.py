"""What every kind of data set does for a conversion: give its images one by one, each checked."""

from __future__ import annotations

import math
import os
import re
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np

from maskrcnn.data.sources.classes import ClassList
from maskrcnn.data.sources.exif import exif_orientation, orientation_to_apply
from maskrcnn.data.sources.image_file import image_size
from maskrcnn.data.sources.orientation import UPRIGHT, exchanges_sides
from maskrcnn.data.sources.report import Issue, Reason
from maskrcnn.data.sources.sample import Sample
from maskrcnn.errors import DataError

# Annotation tools round: a box that leaves the image by less than this is clipped without being counted.
_ROUNDING = 1.0
# Narrower boxes cannot be told from empty ones in float32 coordinates of large images.
_NARROWEST = 1e-3
_SEPARATORS = re.compile(r"[/\\]")


class Source(Protocol):
    """A data set to convert. ``load`` may be called from several threads at once."""

    classes: ClassList
    image_dir: Path
    issues: list[Issue]
    """What was found wrong before any image was opened."""

    def __len__(self) -> int:
        """Returns the number of images listed."""

    def load(self, index: int) -> tuple[Sample | None, list[Issue]]:
        """Reads and checks one image with its objects; None where nothing of it can be trained on."""

    def estimated_bytes(self) -> tuple[int, int]:
        """Returns about how large all rows together and the largest row will be, in bytes."""

    def summary(self) -> dict[str, Any]:
        """Returns what identifies the data set, for the record's info file."""


class UnusableImage(Exception):
    """An image that cannot be converted."""

    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail


class ImageFile(NamedTuple):
    """An image file that can be decoded, of the size that its annotations say.

    Attributes:
        data: the bytes of the file.
        height: rows of the image as the annotations see it.
        width: columns of the image as the annotations see it.
        orientation: the EXIF orientation that leads from the stored pixels there (see ``exif``).
        note: EXIF_APPLIED or EXIF_IGNORED where the file has an orientation to speak of.
    """

    data: bytes
    height: int
    width: int
    orientation: int = UPRIGHT
    note: Reason | None = None


def require_folder(path: str | Path, what: str, key: str) -> Path:
    """Returns ``path`` as a Path; DataError where it is not a folder."""
    if not str(path):
        raise DataError(f"{what} is not set; give it with {key}")
    if not Path(path).is_dir():
        raise DataError(f"{what} {path} is not a folder; correct {key}")
    return Path(path)


def require_file(path: str | Path, what: str, key: str) -> Path:
    """Returns ``path`` as a Path; DataError where it is not a file."""
    if not str(path):
        raise DataError(f"{what} is not set; give it with {key}")
    if not Path(path).is_file():
        raise DataError(f"{what} {path} does not exist; correct {key}")
    return Path(path)


def find_image(folder: Path, name: str, fewest: int = 1) -> Path:
    """Returns the image file that ``name`` of an annotation file means.

    That is ``folder``/``name`` if it is there. Else the last parts of the name are tried, the longest first, in
    ``folder`` and, two of them or more, beside it: annotations made on another machine have its absolute paths or its
    backslashes, and LVIS names the folder too.

    Args:
        folder: the image folder.
        name: as the annotations have it.
        fewest: how many parts at least; 2 where other images have the same last part.

    Returns:
        The file; ``folder``/``name`` where none is there.
    """
    path = folder / name
    if os.path.isfile(path):
        return path
    parts = [part for part in _SEPARATORS.split(name) if part not in ("", ".", "..")]
    for count in range(len(parts), fewest - 1, -1):
        for place in (folder, folder.parent)[: 1 if count == 1 else 2]:
            candidate = place.joinpath(*parts[-count:])
            if os.path.isfile(candidate):
                return candidate
    return path


def shared_last_parts(names: Iterable[str]) -> set[str]:
    """Returns what follows the last slash or backslash in more than one of these file names."""
    counts = Counter(last_part(name) for name in names)
    return {part for part, count in counts.items() if count > 1}


def last_part(name: str) -> str:
    """Returns what follows the last slash or backslash of a file name."""
    return _SEPARATORS.split(name)[-1]


def read_image(path: Path, height: int | None = None, width: int | None = None, exif: bool = True) -> ImageFile:
    """Reads an image file and decodes it once.

    Args:
        path: the file.
        height: rows according to the annotations; None: not known.
        width: columns according to the annotations; None: not known.
        exif: whether annotations see the image as its EXIF orientation says, where the sizes do not tell.

    Raises:
        UnusableImage: it is missing, cannot be decoded, or has another size.
    """
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise UnusableImage(Reason.MISSING_IMAGE, str(path)) from None
    except OSError as error:
        raise UnusableImage(Reason.UNREADABLE_IMAGE, f"{path}: {error.strerror}") from None
    try:
        stored = image_size(data)
    except ValueError as error:
        raise UnusableImage(Reason.UNREADABLE_IMAGE, f"{path}: {error}") from None
    own = exif_orientation(data)
    orientation = orientation_to_apply(own, stored, (height, width), exif)
    shown = stored[::-1] if exchanges_sides(orientation) else stored
    if height not in (None, shown[0]) or width not in (None, shown[1]):
        raise UnusableImage(
            Reason.WRONG_SIZE,
            f"{path} has {shown[1]}x{shown[0]} pixels, listed are {width or shown[1]}x{height or shown[0]}",
        )
    note = None if own == UPRIGHT else Reason.EXIF_IGNORED if orientation == UPRIGHT else Reason.EXIF_APPLIED
    return ImageFile(data, *shown, orientation, note)


def file_size(path: Path) -> int:
    """Returns the size in bytes; 0 for a file that cannot be found, which loading it will report."""
    try:
        return path.stat().st_size
    except OSError:
        return 0


def clip_box(
    box: tuple[float, float, float, float], height: int, width: int
) -> tuple[tuple[float, ...] | None, Reason | None]:
    """Clips x1, y1, x2, y2 to the image.

    Returns:
        (box, None) for a good box, (clipped box, CLIPPED_BOX) where more than rounding was cut off, and
        (None, BAD_BOX or OUTSIDE) where nothing is left.
    """
    x1, y1, x2, y2 = box
    if not all(map(math.isfinite, box)) or x2 - x1 < _NARROWEST or y2 - y1 < _NARROWEST:
        return None, Reason.BAD_BOX
    clipped = (max(x1, 0.0), max(y1, 0.0), min(x2, float(width)), min(y2, float(height)))
    if clipped[2] - clipped[0] < _NARROWEST or clipped[3] - clipped[1] < _NARROWEST:
        return None, Reason.OUTSIDE
    cut = max(abs(a - b) for a, b in zip(box, clipped))
    return clipped, Reason.CLIPPED_BOX if cut > _ROUNDING else None


def make_sample(image_id: int, file_name: str, image: ImageFile, objects: list[tuple]) -> Sample:
    """Returns the Sample of an image and its objects.

    Args:
        image_id: number of the image.
        file_name: name of the image in messages.
        image: the file.
        objects: (box, label, crowd, rle) of each, as in ``Sample``.
    """
    boxes, labels, crowd, rles = zip(*objects) if objects else ((), (), (), ())
    return Sample(
        image_id=image_id,
        file_name=file_name,
        jpeg=image.data,
        height=image.height,
        width=image.width,
        boxes=np.array(boxes, np.float32).reshape(-1, 4),
        labels=np.array(labels, np.int32),
        crowd=np.array(crowd, bool),
        rles=list(rles),
        orientation=image.orientation,
    )
