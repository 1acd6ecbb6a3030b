"""Batches for training: planned by (seed, epoch), made by threads, the same whatever the number of threads."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import cv2
import numpy as np

from maskrcnn.data.batches.batch import Batch, BatchSettings, empty_batch, fill_row
from maskrcnn.data.batches.order import plan_epoch, plan_partners, repeat_factors, steps_per_epoch
from maskrcnn.data.batches.transforms import canvas_for
from maskrcnn.data.sources.sample import Sample
from maskrcnn.errors import DataError
from maskrcnn.ops.anchors import AnchorGrid, anchor_grid
from maskrcnn.threads import map_in_order

if TYPE_CHECKING:
    from pathlib import Path

    from maskrcnn.config import Config

__all__ = ["Batch", "BatchSettings", "TrainLoader"]

PREFETCH = 2  # batches made ahead of the one in use


class Records(Protocol):
    """What the loader reads: a ``RecordReader``, or whatever else has its interface."""

    @property
    def info(self) -> Any:
        """A description: ``sizes``, int [n, 2], height and width of each image, and ``labels``, the classes of each."""

    def __len__(self) -> int:
        """Returns the number of images."""

    def iter_rows(self, indices: Sequence[int]) -> Generator[Sample, None, None]:
        """Yields the samples at ``indices``, in that order; an index may occur again."""


class TrainLoader:
    """Training batches of one rank.

    Every epoch shows every image at least once, in an order, with augmentation and with samples that follow from the
    seed, the epoch and the position in the epoch alone. ``epoch(e, start_step=s)`` therefore gives exactly the batches
    that ``epoch(e)`` would have given from step s on.

    Attributes:
        objects_left_out: objects that were only ignored in the batches handed out so far, as they did not fit.
    """

    def __init__(
        self,
        records: Records,
        *,
        img_height: int,
        img_width: int,
        anchors: Callable[[int, int], AnchorGrid],
        settings: BatchSettings,
        seed: int,
        batch_size: int,
        rank: int = 0,
        world: int = 1,
        workers: int = 2,
        images: int = 0,
        repeat_threshold: float = 0.0,
    ) -> None:
        """Prepares the batches of this ``rank`` of ``world``; ``workers`` threads make them.

        Args:
            records: where the samples come from.
            img_height: rows of the landscape canvas.
            img_width: columns of the landscape canvas.
            anchors: gives the anchors of a canvas of so many rows and columns.
            settings: what a sample is turned into.
            seed: of the run.
            batch_size: images of a batch.
            rank: this process's.
            world: number of processes.
            workers: number of threads.
            images: use only the first so many; 0: all.
            repeat_threshold: see ``repeat_factors``; 0: every image is shown once.

        Raises:
            DataError: there are no images, or the record does not list their classes and ``repeat_threshold`` is set.
        """
        if len(records) == 0:
            raise DataError("the record holds no images to train on; check the annotations it was made from")
        if not 0 <= rank < world:
            raise ValueError(f"rank {rank} is not one of {world}")
        self._records = records
        self._sizes = np.asarray(records.info.sizes)[: images or None]
        self._factors = None
        if repeat_threshold:
            self._factors = repeat_factors(_labels(records.info)[: images or None], repeat_threshold)
        self._settings = settings
        self._seed, self._batch_size, self._rank, self._world = seed, batch_size, rank, world
        self._workers = workers
        self._img_size = (img_height, img_width)
        canvases = canvas_for(1, 1, *self._img_size), canvas_for(2, 1, *self._img_size)
        self._grids = {canvas: anchors(*canvas) for canvas in canvases}
        self.objects_left_out = 0

    @classmethod
    def from_config(cls, cfg: Config, record_path: str | Path, rank: int = 0, world: int = 1) -> TrainLoader:
        """Builds the loader of a training run from its configuration and the record at ``record_path``."""
        from maskrcnn.data.records.reader import RecordReader  # imports MindSpore, which takes seconds

        return cls(
            RecordReader(record_path),
            img_height=cfg.img_height,
            img_width=cfg.img_width,
            anchors=partial(
                anchor_grid,
                scales=cfg.anchor_scales,
                ratios=cfg.anchor_ratios,
                strides=cfg.anchor_strides,
                rounding=cfg.anchor_rounding,
                convention=cfg.box_convention,
            ),
            settings=BatchSettings.from_config(cfg),
            seed=cfg.seed,
            batch_size=cfg.batch_size * cfg.accumulate_steps,
            rank=rank,
            world=world,
            workers=cfg.num_parallel_workers,
            images=cfg.train_images,
            repeat_threshold=cfg.repeat_threshold,
        )

    @property
    def steps_per_epoch(self) -> int:
        """The number of batches of an epoch, the same for every epoch and rank."""
        return steps_per_epoch(self._upright, self._images_per_step, self._factors)

    def epoch(self, epoch: int, start_step: int = 0) -> Iterator[Batch]:
        """Returns an iterator over the batches of an epoch from ``start_step`` on; the arrays belong to the caller.

        Closing the iterator stops the threads.

        Args:
            epoch: from 0.
            start_step: from 0.

        Raises:
            DataError: while iterating, a damaged or unreadable image, which the message names.
        """
        if not 0 <= start_step <= self.steps_per_epoch:
            raise ValueError(f"step {start_step} is outside an epoch of {self.steps_per_epoch} steps")
        return self._batches(epoch, start_step)

    @property
    def _images_per_step(self) -> int:
        return self._batch_size * self._world

    @property
    def _upright(self) -> np.ndarray:
        return self._sizes[:, 0] > self._sizes[:, 1]

    def _batches(self, epoch: int, start_step: int) -> Iterator[Batch]:
        cv2.setNumThreads(0)  # the images of a batch are made in parallel; threads within each only get in the way
        with closing(self._tasks(epoch, start_step)) as tasks:
            ahead = PREFETCH * self._batch_size
            rows = map_in_order(_make_row, tasks, workers=self._workers, ahead=ahead, name="train-loader")
            with closing(rows):
                for task, left_out in rows:
                    self.objects_left_out += left_out
                    if task.row == self._batch_size - 1:
                        batch, task = task.batch, None  # not kept alive here while the next one is waited for
                        yield batch
                        del batch

    def _tasks(self, epoch: int, start_step: int) -> Generator[_Row, None, None]:
        """Yields the rows of the batches from ``start_step`` on, each with its samples read."""
        every = self._images_per_step
        own = slice(self._rank * self._batch_size, (self._rank + 1) * self._batch_size)
        plan = plan_epoch(self._upright, every, self._seed, epoch, self._factors)[:, own]
        ratio = self._settings.augmentation.copy_paste_ratio
        partners = plan_partners(len(plan), every, len(self._sizes), ratio, self._seed, epoch)[:, own]
        wanted = np.stack([plan, partners], axis=-1)[start_step:].ravel()
        with closing(self._records.iter_rows(wanted[wanted >= 0].tolist())) as samples:
            for step in range(start_step, len(plan)):
                canvas = canvas_for(*self._sizes[plan[step, 0]], *self._img_size)
                batch = empty_batch(self._batch_size, canvas, self._settings)
                first = step * every + own.start
                for row in range(self._batch_size):
                    sample, partner = next(samples), next(samples) if partners[step, row] >= 0 else None
                    key = (self._seed, epoch, first + row)
                    yield _Row(batch, row, sample, partner, self._grids[canvas], self._settings, key)


def _labels(info: Any) -> list[list[int]]:
    """Returns the classes of each image of a record."""
    if info.labels is None:
        raise DataError(
            f"repeat_threshold needs the classes of each image, which the record {info.path} of an earlier version "
            "does not list: delete it to convert again"
        )
    return info.labels


class _Row(NamedTuple):
    """The arguments of ``fill_row``."""

    batch: Batch
    row: int
    sample: Sample
    partner: Sample | None
    grid: AnchorGrid
    settings: BatchSettings
    key: tuple[int, int, int]


def _make_row(task: _Row) -> tuple[_Row, int]:
    return task, fill_row(*task)
