"""Read label files of every kind; whatever is wrong with one is a LabelFileError that says it in one line."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np

from maskrcnn.data.formats.labels import LabelFileError

START = 4096


def read_bytes(path: Path) -> bytes:
    """Returns the bytes of a file."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise LabelFileError(error.strerror or str(error)) from None


def read_text(path: Path) -> str:
    """Returns the text of a UTF-8 file, with or without a byte order mark."""
    try:
        return read_bytes(path).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise LabelFileError(f"it is no UTF-8 text (byte {error.start})") from None


def start_of(path: Path) -> str:
    """Returns the first few thousand characters of a file, to recognise it by; empty if it cannot be read."""
    try:
        with open(path, "rb") as file:
            return file.read(START).decode("utf-8-sig", "replace")
    except OSError:
        return ""


def read_json(path: Path) -> Any:
    """Returns the value of a JSON file in UTF-8, UTF-16 or UTF-32."""
    data = read_bytes(path)
    if not data.strip():
        raise LabelFileError("it is empty")
    try:
        return json.loads(data)
    except UnicodeDecodeError as error:
        raise LabelFileError(f"it is no UTF-8 text (byte {error.start})") from None
    except json.JSONDecodeError as error:
        where = f"line {error.lineno}, column {error.colno}"
        raise LabelFileError(f"it is no valid JSON ({where}: {error.msg}); is it complete?") from None
    except RecursionError:
        raise LabelFileError("its JSON is nested too deeply") from None


def iter_xml(path: Path, tags: tuple[str, ...]) -> Iterator[ElementTree.Element]:
    """Yields the elements called ``tags`` of an XML file one at a time: a large file needs little memory."""
    try:
        parents: list[ElementTree.Element] = []
        for event, element in ElementTree.iterparse(path, ("start", "end")):
            if event == "start":
                parents.append(element)
                continue
            parents.pop()
            if element.tag in tags and not any(parent.tag in tags for parent in parents):
                yield element
                element.clear()
                parents[-1].remove(element) if parents else None
    except ElementTree.ParseError as error:
        raise LabelFileError(f"it is no valid XML ({error}); is it complete?") from None
    except (OSError, ValueError, LookupError) as error:  # the latter: encodings that it cannot read
        raise LabelFileError(getattr(error, "strerror", None) or str(error)) from None


class Bitmap(NamedTuple):
    """A mask file: its pixels as numbers int64 [h, w], 0 is black.

    A grey image of 8 or 16 bits keeps its values. One that is ``coloured``, with a palette or not, has
    ``red * 65536 + green * 256 + blue``.
    """

    values: np.ndarray
    coloured: bool


def read_bitmap(path: Path) -> Bitmap:
    """Returns the pixels of a mask file; an alpha channel is ignored."""
    data = read_bytes(path)
    try:
        pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED) if data else None
    except cv2.error:
        pixels = None
    if pixels is None:
        raise LabelFileError("it is no image, or it is damaged or cut off")
    if pixels.dtype.kind not in "ui":
        raise LabelFileError(f"its pixels are {pixels.dtype} numbers, not whole ones")
    if pixels.ndim == 2:
        return Bitmap(pixels.astype(np.int64), coloured=False)
    blue, green, red = (pixels[..., channel].astype(np.int64) for channel in range(3))
    return Bitmap((red << 16) + (green << 8) + blue, coloured=True)
