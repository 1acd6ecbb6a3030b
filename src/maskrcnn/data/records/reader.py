"""Rows of finished records."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import mindspore.dataset as ds

from maskrcnn.data.records.info import read_info
from maskrcnn.data.records.row import decode_row
from maskrcnn.data.records.writer import mindspore_reason
from maskrcnn.data.sources.sample import Sample
from maskrcnn.errors import DataError


class RecordReader:
    """Rows of a finished record in any order, with memory for a few rows.

    Rows come through MindDataset, its only reader with a stable interface; it gives some thousand rows a second.
    """

    def __init__(self, path: str | Path) -> None:
        """Opens the record ``path`` (a ``.mindrecord`` file).

        Raises:
            DataError: see :func:`read_info`.
        """
        self.info = read_info(path)

    def __len__(self) -> int:
        """Returns the number of rows."""
        return len(self.info)

    def iter_rows(self, indices: Sequence[int]) -> Iterator[Sample]:
        """Yields the samples at ``indices``, in exactly that order; an index may occur again.

        Raises:
            DataError: a row is damaged.
            IndexError: an index is not in 0..len - 1.
        """
        wanted = [int(i) for i in indices]
        if not wanted:
            return
        if min(wanted) < 0 or max(wanted) >= len(self):
            raise IndexError(f"row indices {min(wanted)}..{max(wanted)} of a record of {len(self)} rows")
        # MindRecord's samplers take at most as many indices as there are rows
        for first in range(0, len(wanted), len(self)):
            yield from self._iter_part(wanted[first : first + len(self)])

    def _iter_part(self, indices: list[int]) -> Iterator[Sample]:
        given = 0
        rows = None
        try:
            sampler = ds.SubsetSampler(indices)
            dataset = ds.MindDataset(str(self.info.path), sampler=sampler, num_parallel_workers=1)
            rows = dataset.create_dict_iterator(num_epochs=1, output_numpy=True)
            for row in rows:
                given += 1
                yield decode_row(row)
        except (RuntimeError, ValueError) as error:
            raise self._unreadable(error) from None
        finally:
            if rows is not None:
                rows.stop()
        if given != len(indices):
            raise self._unreadable(f"{given} rows came instead of {len(indices)}")

    def _unreadable(self, error: object) -> DataError:
        return DataError(f"the record {self.info.path} cannot be read; convert again ({mindspore_reason(error)})")
