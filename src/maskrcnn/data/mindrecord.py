"""Records: a data set in one MindRecord file, written in one pass with bounded memory, read in any order.

A row holds the image file's bytes as they came and its objects (see :mod:`maskrcnn.data.record_row`), so a
record is about as large as the data set and depends on nothing but the data set and the class list.
"""

from __future__ import annotations

import shutil
import time
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mindspore.dataset as ds
import numpy as np
from mindspore.mindrecord import FileWriter
from tqdm import tqdm

from maskrcnn.data.classes import ClassList
from maskrcnn.data.record_info import RecordInfo, check_info, info_path, read_info, write_info
from maskrcnn.data.record_row import SCHEMA, decode_row, encode_row, row_bytes
from maskrcnn.data.report import Issue, Reason, SkipReport
from maskrcnn.data.sample import Sample
from maskrcnn.data.source import Source
from maskrcnn.data.workspace import publish, workspace
from maskrcnn.errors import DataError

__all__ = ["ConversionReport", "RecordReader", "check_info", "convert", "decode_row", "read_info"]

_MIB = 1 << 20
_LOADED_AHEAD = 4  # images a worker may be ahead of the writer
_WRITE_ROWS = 16
_WRITE_BYTES = 8 * _MIB


@dataclass(frozen=True)
class ConversionReport:
    """What a conversion did."""

    path: Path
    images: int
    objects: int
    listed: int
    file_bytes: int
    seconds: float
    skipped: SkipReport

    def lines(self) -> list[str]:
        """The report for the user."""
        rate = self.images / max(self.seconds, 1e-9)
        return [
            f"{self.path}: {self.images} of {self.listed} images with {self.objects} objects, "
            f"{self.file_bytes / _MIB:.1f} MiB, {self.seconds:.1f} s, {rate:.0f} images/s",
            *self.skipped.lines(),
        ]


def convert(
    source: Source,
    output_dir: str | Path,
    *,
    name: str,
    classes: ClassList,
    settings: dict[str, Any],
    workers: int = 2,
    strict: bool = False,
    progress: bool = True,
) -> ConversionReport:
    """Write ``source`` to ``output_dir/name.mindrecord`` (with ``.mindrecord.db`` and ``.json``).

    The files are made in a hidden folder and moved when all is done, the ``.json`` last; an older record of
    that name is replaced. Memory does not grow with the number of images.

    Args:
        source: the data set.
        output_dir: made if it does not exist.
        name: the record's name, without suffix.
        classes: the classes that the source's labels refer to.
        settings: what :func:`check_info` shall compare later; anything JSON can hold.
        workers: threads that read and check images.
        strict: stop at the first faulty input instead of skipping and counting it.
        progress: show a progress bar on standard error.

    Raises:
        DataError: nothing usable was found, the disk is full or not writable, or ``strict`` met a fault.
    """
    start = time.perf_counter()
    if classes != source.classes:
        raise DataError(
            f"the source's labels are not those of the given classes: {source.classes.difference(classes)}"
        )
    folder = Path(output_dir)
    report = SkipReport(strict)
    report.add(source.issues)
    with workspace(folder, name) as partial:
        path = partial / f"{name}.mindrecord"
        total, largest = source.estimated_bytes()
        free = shutil.disk_usage(partial).free
        if free < total:
            raise DataError(
                f"{folder} has {free // _MIB} MiB free, the record needs about {total // _MIB} MiB"
            )
        writer = _Writer(path, total, largest)
        with tqdm(total=len(source), desc=name, unit=" images", disable=not progress) as bar:
            for sample, issues in _load_in_order(source, workers):
                report.add(issues)
                if sample is not None and not writer.add(sample):
                    report.add([Issue(Reason.TOO_LARGE, f"image {sample.image_id} ({sample.file_name})")])
                bar.update()
        if not writer.sizes:
            raise DataError(f"nothing to convert in {source.image_dir}: {'; '.join(report.lines())}")
        writer.finish()
        files = (path.name, f"{path.name}.db")
        info = RecordInfo(
            path=folder / path.name,
            classes=classes,
            sizes=np.array(writer.sizes, np.int32),
            objects=writer.objects,
            settings=settings,
            source=source.summary(),
            report=report.to_json(),
            file_bytes={file: (partial / file).stat().st_size for file in files},
        )
        write_info(partial, info)
        publish(partial, folder, (*files, info_path(path).name))
    return ConversionReport(
        path=info.path,
        images=len(info),
        objects=info.objects,
        listed=len(source),
        file_bytes=sum(info.file_bytes.values()) + info_path(info.path).stat().st_size,
        seconds=time.perf_counter() - start,
        skipped=report,
    )


class RecordReader:
    """Rows of a finished record in any order, with memory for a few rows.

    Rows come through MindDataset, its only reader with a stable interface; it gives some thousand rows a
    second.
    """

    def __init__(self, path: str | Path) -> None:
        """Open the record ``path`` (a ``.mindrecord`` file).

        Raises:
            DataError: see :func:`read_info`.
        """
        self.info = read_info(path)

    def __len__(self) -> int:
        return len(self.info)

    def iter_rows(self, indices: Sequence[int]) -> Iterator[Sample]:
        """The samples at ``indices``, in exactly that order; an index may occur again.

        Raises:
            DataError: a row is damaged.
            IndexError: an index is not in 0..len - 1.
        """
        wanted = [int(i) for i in indices]
        if not wanted:
            return
        if min(wanted) < 0 or max(wanted) >= len(self):
            raise IndexError(f"row indices {min(wanted)}..{max(wanted)} of a record of {len(self)} rows")
        sampler = ds.SubsetSampler(wanted)
        try:
            dataset = ds.MindDataset(str(self.info.path), sampler=sampler, num_parallel_workers=1)
            rows = dataset.create_dict_iterator(num_epochs=1, output_numpy=True)
        except RuntimeError as error:
            raise self._unreadable(error) from None
        try:
            yield from map(decode_row, self._checked(rows, len(wanted)))
        finally:
            rows.stop()

    def _checked(self, rows: Iterator[dict], expected: int) -> Iterator[dict]:
        given = 0
        while True:
            try:
                row = next(rows)
            except StopIteration:
                break
            except (RuntimeError, ValueError) as error:
                raise self._unreadable(error) from None
            given += 1
            yield row
        if given != expected:
            raise self._unreadable(f"{given} rows came instead of {expected}")

    def _unreadable(self, error: object) -> DataError:
        reason = " ".join(str(error).split())[:200]
        return DataError(f"the record {self.info.path} cannot be read; convert again ({reason})")


def _load_in_order(source: Source, workers: int) -> Iterator[tuple[Sample | None, list[Issue]]]:
    """``source.load`` of every index, in order, from ``workers`` threads that run ahead by a few images."""
    pool = ThreadPoolExecutor(max(workers, 1), thread_name_prefix="convert")
    ahead: deque[Future] = deque()
    try:
        for index in range(len(source)):
            ahead.append(pool.submit(source.load, index))
            if len(ahead) > _LOADED_AHEAD * max(workers, 1):
                yield ahead.popleft().result()
        while ahead:
            yield ahead.popleft().result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


class _Writer:
    """Rows to a MindRecord file in the making."""

    # MindRecord reserves whole pages and the header: one page for small sets, else about 40, keeps that small
    _ONE_PAGE = 64 * _MIB
    _PAGES = 40
    _LARGEST_PAGE = 256 * _MIB
    _USUAL_PAGE = 32 * _MIB
    _PAGE_STEP = 1 << 16
    _HEADER_PER_PAGE = 512  # measured: 180 bytes describe a page
    _SMALLEST_HEADER = 1 << 14

    def __init__(self, path: Path, total: int, largest: int) -> None:
        page = total if total <= self._ONE_PAGE else min(total // self._PAGES, self._USUAL_PAGE)
        page = max(page, 2 * largest + _MIB)
        page = min(-(-page // self._PAGE_STEP) * self._PAGE_STEP, self._LARGEST_PAGE)
        header = self._SMALLEST_HEADER
        while header < self._SMALLEST_HEADER + self._HEADER_PER_PAGE * (2 * total // page):
            header *= 2
        self._largest_row = page - self._PAGE_STEP
        self._writer = FileWriter(str(path), 1)
        self._writer.set_page_size(page)
        self._writer.set_header_size(header)
        self._writer.add_schema(SCHEMA, "Mask R-CNN samples")
        self._rows: list[dict] = []
        self._bytes = 0
        self.sizes: list[tuple[int, int]] = []
        self.objects = 0

    def add(self, sample: Sample) -> bool:
        """Append a row; False where it is larger than a page can be."""
        row = encode_row(sample)
        size = row_bytes(row)
        if size > self._largest_row:
            return False
        self._rows.append(row)
        self._bytes += size
        self.sizes.append((sample.height, sample.width))
        self.objects += len(sample.labels)
        if len(self._rows) >= _WRITE_ROWS or self._bytes >= _WRITE_BYTES:
            self._flush()
        return True

    def finish(self) -> None:
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
            reason = " ".join(str(error).split())[:200]
            raise DataError(f"MindRecord cannot write the record; is the disk full? ({reason})") from None
