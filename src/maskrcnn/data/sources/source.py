"""What every kind of data set does for a conversion: give its images one by one, each checked."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from maskrcnn.data.sources.classes import ClassList
from maskrcnn.data.sources.image_file import image_size, is_rotated_by_exif
from maskrcnn.data.sources.report import Issue, Reason
from maskrcnn.data.sources.sample import Sample
from maskrcnn.errors import DataError

# Annotation tools round: a box that leaves the image by less than this is clipped without being counted.
_ROUNDING = 1.0
# Narrower boxes cannot be told from empty ones in float32 coordinates of large images.
_NARROWEST = 1e-3


class Source(Protocol):
    """A data set to convert. ``load`` may be called from several threads at once."""

    classes: ClassList
    image_dir: Path
    issues: list[Issue]
    """what was found wrong before any image was opened"""

    def __len__(self) -> int:
        """Number of images listed."""

    def load(self, index: int) -> tuple[Sample | None, list[Issue]]:
        """Read and check one image with its objects; None where nothing of it can be trained on."""

    def estimated_bytes(self) -> tuple[int, int]:
        """About how large all rows together and the largest row will be."""

    def summary(self) -> dict[str, Any]:
        """What identifies the data set, for the record's info file."""


class UnusableImage(Exception):
    """An image that cannot be converted."""

    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail


def require_folder(path: str | Path, what: str, key: str) -> Path:
    """``path`` as a Path; DataError where it is not a folder."""
    if not str(path):
        raise DataError(f"{what} is not set; give it with {key}")
    if not Path(path).is_dir():
        raise DataError(f"{what} {path} is not a folder; correct {key}")
    return Path(path)


def require_file(path: str | Path, what: str, key: str) -> Path:
    """``path`` as a Path; DataError where it is not a file."""
    if not str(path):
        raise DataError(f"{what} is not set; give it with {key}")
    if not Path(path).is_file():
        raise DataError(f"{what} {path} does not exist; correct {key}")
    return Path(path)


def read_image(path: Path, height: int | None = None, width: int | None = None) -> tuple[bytes, int, int]:
    """The bytes of an image file, its height and its width, after decoding it once.

    Args:
        path: the file.
        height: rows according to the annotations; None: not known.
        width: columns according to the annotations; None: not known.

    Raises:
        UnusableImage: it is missing, cannot be decoded, or has another size. The pixels as stored count: no
            stage applies EXIF orientation, so annotations of a rotated view do not fit.
    """
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise UnusableImage(Reason.MISSING_IMAGE, str(path)) from None
    except OSError as error:
        raise UnusableImage(Reason.UNREADABLE_IMAGE, f"{path}: {error.strerror}") from None
    try:
        real_height, real_width = image_size(data)
    except ValueError as error:
        raise UnusableImage(Reason.UNREADABLE_IMAGE, f"{path}: {error}") from None
    height = real_height if height is None else height
    width = real_width if width is None else width
    if (height, width) != (real_height, real_width):
        detail = f"{path} has {real_width}x{real_height} pixels, listed are {width}x{height}"
        if (width, height) == (real_height, real_width) and is_rotated_by_exif(data):
            detail += " (the sides are exchanged by its EXIF orientation, which is not applied)"
        raise UnusableImage(Reason.WRONG_SIZE, detail)
    return data, height, width


def file_size(path: Path) -> int:
    """Size in bytes; 0 for a file that cannot be found, which loading it will report."""
    try:
        return path.stat().st_size
    except OSError:
        return 0


def clip_box(
    box: tuple[float, float, float, float], height: int, width: int
) -> tuple[tuple[float, ...] | None, Reason | None]:
    """Clip x1, y1, x2, y2 to the image.

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


def make_sample(image_id: int, file_name: str, image: tuple[bytes, int, int], objects: list[tuple]) -> Sample:
    """A Sample of ``image`` = (bytes, height, width) and ``objects`` = [(box, label, crowd, rle), ...]."""
    data, height, width = image
    boxes, labels, crowd, rles = zip(*objects)
    return Sample(
        image_id=image_id,
        file_name=file_name,
        jpeg=data,
        height=height,
        width=width,
        boxes=np.array(boxes, np.float32).reshape(-1, 4),
        labels=np.array(labels, np.int32),
        crowd=np.array(crowd, bool),
        rles=list(rles),
    )
