"""The EXIF orientation of image files: how viewers rotate and mirror the pixels that are stored."""

from __future__ import annotations

from maskrcnn.data.sources.orientation import UPRIGHT, exchanges_sides

_TAG = 0x0112
_SHORT = 3
_HEADER = b"Exif\0\0"
_JPEG_START = b"\xff\xd8"
_PNG_START = b"\x89PNG\r\n\x1a\n"
_APP1 = 0xE1
_START_OF_SCAN = 0xDA
_WITHOUT_LENGTH = frozenset(range(0xD0, 0xDA)) | {0x01, 0xFF}


def exif_orientation(data: bytes) -> int:
    """Returns the EXIF orientation, 1..8, in the bytes of a JPEG, PNG or WebP file; 1 where there is no valid one."""
    if data.startswith(_JPEG_START):
        tiff = _exif_of_jpeg(data)
    elif data.startswith(_PNG_START):
        tiff = _chunk(data, len(_PNG_START), b"eXIf", "big", length_first=True)
    elif data.startswith(b"RIFF") and data[8:12] == b"WEBP":
        tiff = _chunk(data, 12, b"EXIF", "little", length_first=False)
    else:
        return UPRIGHT
    return _orientation(tiff.removeprefix(_HEADER))


def orientation_to_apply(
    orientation: int, stored: tuple[int, int], listed: tuple[int | None, int | None], apply: bool
) -> int:
    """Returns the orientation in which the annotations of an image see it, as far as its sizes tell.

    Args:
        orientation: of the file.
        stored: its height and width in pixels as stored.
        listed: height and width according to the annotations, None where they do not say it.
        apply: what to do where the sizes leave it open: rotated by 180 degrees, mirrored, square, or not listed.
    """
    if exchanges_sides(orientation):
        fits_stored = all(side in (None, own) for side, own in zip(listed, stored))
        fits_shown = all(side in (None, own) for side, own in zip(listed, stored[::-1]))
        if fits_stored != fits_shown:
            return orientation if fits_shown else UPRIGHT
    return orientation if apply else UPRIGHT


def _exif_of_jpeg(data: bytes) -> bytes:
    """The content of the first APP1 segment that holds EXIF data."""
    pos = len(_JPEG_START)
    while pos + 4 <= len(data) and data[pos] == 0xFF:
        marker = data[pos + 1]
        if marker in _WITHOUT_LENGTH:
            pos += 1 if marker == 0xFF else 2
            continue
        if marker == _START_OF_SCAN:
            break
        length = int.from_bytes(data[pos + 2 : pos + 4], "big")
        if marker == _APP1 and data.startswith(_HEADER, pos + 4):
            return data[pos + 4 : pos + 2 + length]
        pos += 2 + length
    return b""


def _chunk(data: bytes, pos: int, wanted: bytes, order: str, length_first: bool) -> bytes:
    """The content of the chunk ``wanted`` of a PNG or RIFF file."""
    while pos + 8 <= len(data):
        first, second = data[pos : pos + 4], data[pos + 4 : pos + 8]
        name, length = (second, first) if length_first else (first, second)
        size = int.from_bytes(length, order)
        if name == wanted:
            return data[pos + 8 : pos + 8 + size]
        # a PNG chunk ends with four bytes of CRC, a RIFF chunk has an even size
        pos += 8 + size + (4 if length_first else size % 2)
    return b""


def _orientation(tiff: bytes) -> int:
    """The value of the tag in the first directory of a TIFF structure."""
    order = {b"II": "little", b"MM": "big"}.get(tiff[:2])
    if order is None or int.from_bytes(tiff[2:4], order) != 42:
        return UPRIGHT
    directory = int.from_bytes(tiff[4:8], order)
    for entry in range(int.from_bytes(tiff[directory : directory + 2], order)):
        at = directory + 2 + 12 * entry
        tag, kind = (int.from_bytes(tiff[at + k : at + k + 2], order) for k in (0, 2))
        if at + 12 > len(tiff):
            break
        if tag == _TAG:
            value = int.from_bytes(tiff[at + 8 : at + 10], order)
            return value if kind == _SHORT and 1 <= value <= 8 else UPRIGHT
    return UPRIGHT
