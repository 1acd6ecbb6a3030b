"""The size of an image file and whether it is whole, at a fraction of the cost of decoding it."""

from __future__ import annotations

import cv2
import numpy as np

# File names of images in folders; what the bytes are decides how they are read.
IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp")
_JPEG_START = b"\xff\xd8"
_JPEG_END = b"\xff\xd9"
_START_OF_SCAN = 0xDA
# SOF0 to SOF15 carry the size; C4, C8 and CC of the range are other segments (ITU T.81, table B.1)
_START_OF_FRAME = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_WITHOUT_LENGTH = frozenset(range(0xD0, 0xDA)) | {0x01}
_REDUCTION = 8


def image_size(data: bytes) -> tuple[int, int]:
    """Returns height and width of an image as stored, EXIF orientation not applied, after decoding it once.

    A JPEG is decoded at an eighth of its size: that reads all of the compressed data, so truncated and garbled files
    are found, and skips most of the arithmetic. Other formats (PNG, WebP, BMP) are decoded whole.

    Raises:
        ValueError: the bytes are no image OpenCV can decode, or are cut off; the message says which.
    """
    if not data:
        raise ValueError("the file is empty")
    if not data.startswith(_JPEG_START):
        return _decode(data, cv2.IMREAD_COLOR)
    size, scan = _jpeg_header(data)
    # a preview inside the header has an end marker of its own, so only what follows the header counts
    if data.rfind(_JPEG_END, scan) < 0:
        raise ValueError("the JPEG is cut off: its end marker is missing")
    reduced = _decode(data, cv2.IMREAD_REDUCED_COLOR_8)
    if reduced != tuple(-(-side // _REDUCTION) for side in size):
        raise ValueError(f"the JPEG's header says {size[1]}x{size[0]} pixels, its data says otherwise")
    return size


def _decode(data: bytes, flags: int) -> tuple[int, int]:
    try:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), flags | cv2.IMREAD_IGNORE_ORIENTATION)
    except cv2.error as error:
        raise ValueError(f"OpenCV cannot decode it ({error.err})") from None
    if image is None:
        raise ValueError("it is no image, or it is damaged or cut off")
    return image.shape[:2]


def _jpeg_header(data: bytes) -> tuple[tuple[int, int], int]:
    """Walks the segments up to the first scan; returns ((height, width), position of that scan)."""
    size = None
    pos = len(_JPEG_START)
    while pos + 4 <= len(data):
        if data[pos] != 0xFF:
            break
        marker = data[pos + 1]
        if marker == 0xFF or marker in _WITHOUT_LENGTH:  # fill byte, or a marker that stands alone
            pos += 1 if marker == 0xFF else 2
            continue
        if marker == _START_OF_SCAN:
            if size is None or 0 in size:
                break
            return size, pos
        if marker in _START_OF_FRAME and pos + 9 <= len(data):
            size = (
                int.from_bytes(data[pos + 5 : pos + 7], "big"),
                int.from_bytes(data[pos + 7 : pos + 9], "big"),
            )
        pos += 2 + int.from_bytes(data[pos + 2 : pos + 4], "big")
    raise ValueError("the JPEG's header is damaged or cut off")
