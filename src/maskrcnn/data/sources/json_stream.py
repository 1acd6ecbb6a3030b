"""Large JSON files, read element by element, so that an annotation file of any size needs little memory.

A COCO instances file is one object whose lists (``images``, ``annotations``, ``categories``) hold up to a million
elements: 450 MB of text for train2017, several GB as Python objects. Here only one element exists at a time, and its
place in the file is given, so that it can be read again when it is needed.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from typing import IO, Any

from maskrcnn.errors import DataError

_CHUNK = 1 << 20
_SPACE = " \t\r\n"
_NUMBER = "0123456789.eE+-"
_BOM = b"\xef\xbb\xbf"
_UTF16 = ("\xff\xfe", "\xfe\xff")  # the byte order marks, as latin-1


def iter_elements(
    path: str | Path, keys: Collection[str], on_chunk: Callable[[bytes], None] | None = None
) -> Iterator[tuple[str, Any, tuple[int, int]]]:
    """Yields the elements of the lists ``keys`` of the JSON object in ``path``, in the order of the file.

    Args:
        path: a UTF-8 JSON file whose root is an object.
        keys: which of the root's lists to give; all other values are only checked and passed over.
        on_chunk: called with each piece of the file's bytes, in order, for instance to compute a checksum.

    Yields:
        (key, element, (start, end)): the parsed element and its byte range, for :func:`parse_bytes`.

    Raises:
        DataError: the file is missing, is no valid JSON, or its root is no object.
    """
    try:
        file = open(path, "rb")  # noqa: SIM115 - closed below; opening has its own message
    except OSError as error:
        raise DataError(f"cannot read the annotation file {path}: {error.strerror}") from None
    with file:
        cursor = _Cursor(file, path, on_chunk)
        if cursor.is_utf16:
            raise DataError(f"{path} is UTF-16 text: save it as UTF-8")
        if cursor.peek() != "{":
            raise DataError(f"{path} is not a COCO annotation file: it does not start with a JSON object")
        cursor.take("{")
        more = cursor.peek() != "}"
        while more:
            key = cursor.value()[0]
            cursor.take(":")
            if cursor.peek() == "[":
                for element, start, end in cursor.list_elements():
                    if key in keys:
                        yield key, element, (start, end)
            else:
                cursor.value()
            more = cursor.peek() == ","
            if more:
                cursor.take(",")
        cursor.take("}")
        cursor.take("")


def parse_bytes(data: bytes) -> Any:
    """Parses the bytes of one element, as cut out by its byte range."""
    return json.loads(data.decode("utf-8"))


def file_checksum(path: str | Path, most: int | None = None) -> tuple[int, int]:
    """Returns the number of bytes and the CRC-32 of a file, or of its first ``most`` bytes."""
    size = crc = 0
    with open(path, "rb") as file:
        while chunk := file.read(_CHUNK if most is None else min(_CHUNK, most - size)):
            size += len(chunk)
            crc = zlib.crc32(chunk, crc)
    return size, crc


class _Cursor:
    """A position in the file with a window of its text.

    The window is decoded as latin-1, one character a byte, so that positions are byte offsets. JSON's syntax is ASCII
    and the bytes of other UTF-8 characters are all above it, so the structure is read correctly; a value with such
    characters is parsed once more from its bytes.
    """

    def __init__(self, file: IO[bytes], path: str | Path, on_chunk) -> None:
        self._file = file
        self._path = path
        self._on_chunk = on_chunk
        self._decode = json.JSONDecoder().raw_decode
        self._text = ""
        self._base = 0  # file offset of the window's first character
        self._pos = 0
        self._at_end = False
        self._fill()
        self.is_utf16 = self._text.startswith(_UTF16)
        if self._text.startswith(_BOM.decode("latin-1")):
            self._pos = len(_BOM)

    def peek(self) -> str:
        """Returns the next character that is not white space, "" at the end of the file; not consumed."""
        while True:
            while self._pos < len(self._text):
                if self._text[self._pos] not in _SPACE:
                    return self._text[self._pos]
                self._pos += 1
            if self._at_end:
                return ""
            self._fill()

    def take(self, expected: str) -> None:
        """Consumes the next character, which must be this one; "" is the end of the file."""
        if self.peek() != expected:
            raise self._broken(f"expected '{expected}'" if expected else "there is more after the object's end")
        self._pos += len(expected)

    def value(self) -> tuple[Any, int, int]:
        """Consumes one value of any kind; returns it with its byte range."""
        self.peek()
        while True:
            try:
                element, end = self._decode(self._text, self._pos)
            except RecursionError:
                raise self._broken("its lists and objects are nested too deeply") from None
            except ValueError as error:
                if not isinstance(error, json.JSONDecodeError):
                    raise self._broken("a number has thousands of digits") from None
                if self._at_end:
                    raise self._broken(error.msg) from None
            else:
                # what the window's end cuts in two may look whole: the 1 of 12, 1.5 or 1e9
                if self._at_end or (end < len(self._text) and self._text[end] not in _NUMBER):
                    start = self._pos
                    piece = self._text[start:end]
                    if not piece.isascii():
                        element = self._reparse(piece)
                    self._pos = end
                    return element, self._base + start, self._base + end
            self._fill()

    def _reparse(self, piece: str) -> Any:
        try:
            return parse_bytes(piece.encode("latin-1"))
        except UnicodeDecodeError:
            raise self._broken("text that is not UTF-8") from None

    def list_elements(self) -> Iterator[tuple[Any, int, int]]:
        self.take("[")
        if self.peek() == "]":
            self.take("]")
            return
        while True:
            yield self.value()
            if self.peek() == "]":
                self.take("]")
                return
            self.take(",")

    def _fill(self) -> None:
        """Drops what is consumed and at least doubles the rest, so that long values take linear time."""
        rest = self._text[self._pos :]
        chunk = self._file.read(max(_CHUNK, len(rest)))
        if self._on_chunk is not None:
            self._on_chunk(chunk)
        self._at_end = not chunk
        self._base += self._pos
        self._text = rest + chunk.decode("latin-1")
        self._pos = 0

    def _broken(self, why: str) -> DataError:
        return DataError(f"{self._path} is not valid JSON at byte {self._base + self._pos}: {why}; is it complete?")
