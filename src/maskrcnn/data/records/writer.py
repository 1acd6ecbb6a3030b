"""The writing side of MindRecord: page and header sizes that fit the data, small batches, clear errors."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from mindspore.mindrecord import FileWriter

from maskrcnn.data.records.row import SCHEMA, encode_row, row_bytes
from maskrcnn.data.sources.sample import Sample
from maskrcnn.errors import DataError

_MIB = 1 << 20
_WRITE_ROWS = 16
_WRITE_BYTES = 8 * _MIB


class RecordWriter:
    """A MindRecord file in the making.

    Attributes:
        header_bytes: size of the file's header.
        sizes: (height, width) of the images written.
        objects: number of their objects.
    """

    # MindRecord reserves whole pages and the header: one page for small sets, else about 40, keeps that small
    _ONE_PAGE = 64 * _MIB
    _PAGES = 40
    _LARGEST_PAGE = 256 * _MIB
    _USUAL_PAGE = 32 * _MIB
    _PAGE_STEP = 1 << 16
    _HEADER_PER_PAGE = 512  # measured: 180 bytes describe a page
    _SMALLEST_HEADER = 1 << 14

    def __init__(self, path: Path, total: int, largest: int) -> None:
        """Begins a file.

        Args:
            path: the file to make; its index is written beside it.
            total: about how many bytes all rows have.
            largest: about how many the largest row has.
        """
        page = total if total <= self._ONE_PAGE else min(total // self._PAGES, self._USUAL_PAGE)
        page = max(page, 2 * largest + _MIB)
        page = min(-(-page // self._PAGE_STEP) * self._PAGE_STEP, self._LARGEST_PAGE)
        self.header_bytes = self._SMALLEST_HEADER
        while self.header_bytes < self._SMALLEST_HEADER + self._HEADER_PER_PAGE * (2 * total // page):
            self.header_bytes *= 2
        self._largest_row = page - self._PAGE_STEP
        self._writer = FileWriter(str(path), 1)
        self._writer.set_page_size(page)
        self._writer.set_header_size(self.header_bytes)
        self._writer.add_schema(SCHEMA, "Mask R-CNN samples")
        self._rows: list[dict] = []
        self._bytes = 0
        self.sizes: list[tuple[int, int]] = []
        self.labels: list[list[int]] = []
        self.objects = 0

    def add(self, sample: Sample) -> bool:
        """Appends a row; returns False where it is larger than a page can be.

        Raises:
            DataError: it cannot be written.
        """
        row = encode_row(sample)
        size = row_bytes(row)
        if size > self._largest_row:
            return False
        self._rows.append(row)
        self._bytes += size
        self.sizes.append((sample.height, sample.width))
        self.labels.append(np.unique(sample.labels[~sample.crowd]).tolist())
        self.objects += len(sample.labels)
        if len(self._rows) >= _WRITE_ROWS or self._bytes >= _WRITE_BYTES:
            self._flush()
        return True

    def finish(self) -> None:
        """Writes what is left and the index.

        Raises:
            DataError: they cannot be written.
        """
        self._flush()
        self._guarded(self._writer.commit)

    def _flush(self) -> None:
        if self._rows:
            self._guarded(self._writer.write_raw_data, self._rows)
        self._rows, self._bytes = [], 0

    @staticmethod
    def _guarded(write, *args) -> None:
        try:
            write(*args)
        except RuntimeError as error:
            reason = mindspore_reason(error)
            raise DataError(f"MindRecord cannot write the record; is the disk full? ({reason})") from None


def mindspore_reason(error: object) -> str:
    """Returns the line of a MindSpore error that says what happened, without its frames and headings."""
    lines = [line.strip() for line in str(error).splitlines()]
    telling = [line for line in lines if line and not line.startswith(("-", "Exception thrown", "Syntax error"))]
    return (telling or lines or [""])[0][:200]
