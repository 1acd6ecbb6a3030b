"""One image with its ground truth: what a record row holds, and what every later stage starts from."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Sample:
    """One image and its annotated objects, in pixels of the original image.

    Attributes:
        image_id: the annotation file's image id, or the line number for the TXT format.
        file_name: path of the image relative to its image folder, for messages.
        jpeg: the image file's bytes, untouched (JPEG, PNG, WebP or BMP).
        height: rows of the image, after ``orientation`` is applied.
        width: columns of the image, after ``orientation`` is applied.
        boxes: float32 [n, 4], x1, y1, x2, y2 in continuous pixel coordinates, clipped to the image.
        labels: int32 [n], 1..K.
        crowd: bool [n], regions to ignore rather than objects to find.
        rles: n compressed COCO run-length counts of the (height, width) mask; None where only a box is known.
        orientation: the EXIF orientation, 1..8, that carries the stored pixels to those that boxes and masks refer to.
    """

    image_id: int
    file_name: str
    jpeg: bytes
    height: int
    width: int
    boxes: np.ndarray
    labels: np.ndarray
    crowd: np.ndarray
    rles: list[bytes | None]
    orientation: int = 1
