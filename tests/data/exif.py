"""Image files with an EXIF orientation, put together by hand."""

from __future__ import annotations

import struct
import zlib

import cv2
import numpy as np

FORMATS = (".jpg", ".png", ".webp")


def with_orientation(rgb: np.ndarray, orientation: int, suffix: str = ".jpg", order: str = "II") -> bytes:
    """Encodes an image and says in its EXIF data that viewers are to show it in ``orientation``."""
    flags = {
        ".jpg": [cv2.IMWRITE_JPEG_QUALITY, 100, cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444],
        ".png": [],
        ".webp": [cv2.IMWRITE_WEBP_QUALITY, 101],  # lossless
    }[suffix]
    data = cv2.imencode(suffix, np.ascontiguousarray(rgb[..., ::-1]), flags)[1].tobytes()
    mark = "<" if order == "II" else ">"
    # a TIFF header, one directory of two entries (ImageWidth and Orientation), Exif 2.3, section 4.6
    entries = struct.pack(f"{mark}HHIHH", 0x0100, 3, 1, 7, 0) + struct.pack(
        f"{mark}HHIHH", 0x0112, 3, 1, orientation, 0
    )
    tiff = order.encode() + struct.pack(f"{mark}HIH", 42, 8, 2) + entries + b"\0\0\0\0"
    if suffix == ".jpg":
        body = b"Exif\0\0" + tiff
        return data[:2] + b"\xff\xe1" + (len(body) + 2).to_bytes(2, "big") + body + data[2:]
    if suffix == ".png":
        chunk = b"eXIf" + tiff
        chunk = len(tiff).to_bytes(4, "big") + chunk + zlib.crc32(chunk).to_bytes(4, "big")
        return data[:33] + chunk + data[33:]  # behind the signature and IHDR
    # a simple WebP file becomes an extended one: VP8X with the EXIF flag, the image, EXIF (WebP container, 2018)
    height, width = rgb.shape[:2]
    extended = bytes([8, 0, 0, 0]) + (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    chunks = b"VP8X" + len(extended).to_bytes(4, "little") + extended + data[12:]
    chunks += b"EXIF" + len(tiff).to_bytes(4, "little") + tiff + b"\0" * (len(tiff) % 2)
    return b"RIFF" + (len(chunks) + 4).to_bytes(4, "little") + b"WEBP" + chunks
