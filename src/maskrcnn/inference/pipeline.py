"""Image files through a detector: masks are pasted and encoded by threads while the next batch runs."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from tqdm import tqdm

from maskrcnn.inference.images import ImageBatch, ImageSource, LoadedImage, Skipped, load_batches
from maskrcnn.inference.paste import encode_masks
from maskrcnn.inference.results import CategoryId, Detections, coco_records, objects_of_image
from maskrcnn.inference.settings import InferenceSettings
from maskrcnn.threads import map_in_order

DetectorFunction = Callable[[np.ndarray, np.ndarray], Detections]
"""``detector(image uint8 [N, H, W, 3], image_shape float32 [N, 2])``: detections in pixels of the canvas."""


class ImageResult(NamedTuple):
    """What was found in one image of ``size`` (height, width): COCO result records, best score first."""

    source: ImageSource
    size: tuple[int, int]
    bbox: list[dict[str, Any]]
    segm: list[dict[str, Any]]


@dataclass
class Speed:
    """Where the time went. The first batch of each canvas, which compiles the network, is counted apart.

    network_seconds: spent waiting for the network, for network_images images. first_seconds, first_batches:
    the batches counted apart. postprocess_seconds: processor time of the threads that scale, paste and
    encode, for postprocess_images images. wall_seconds: everything, reading included, from the first batch
    to the last.
    """

    network_seconds: float = 0.0
    network_images: int = 0
    first_seconds: float = 0.0
    first_batches: int = 0
    postprocess_seconds: float = 0.0
    postprocess_images: int = 0
    wall_seconds: float = 0.0
    _canvases: set[tuple[int, ...]] = field(default_factory=set, repr=False)

    def add_network(self, canvas: tuple[int, ...], images: int, seconds: float) -> None:
        """Counts one batch of ``images`` images on ``canvas``."""
        if canvas in self._canvases:
            self.network_seconds += seconds
            self.network_images += images
        else:
            self._canvases.add(canvas)
            self.first_seconds += seconds
            self.first_batches += 1

    @classmethod
    def of_ranks(cls, speeds: Sequence[Speed]) -> Speed:
        """Returns the sum for ranks that worked at the same time; the wall time is that of the slowest."""
        total = cls()
        for name in ("network_seconds", "network_images", "postprocess_seconds", "postprocess_images"):
            setattr(total, name, sum(getattr(speed, name) for speed in speeds))
        for name in ("first_seconds", "first_batches", "wall_seconds"):
            setattr(total, name, max(getattr(speed, name) for speed in speeds))
        return total

    def to_dict(self) -> dict[str, float | int | None]:
        """Returns the content of metrics.json; None where nothing was measured."""

        def ratio(total: float, count: int) -> float | None:
            return round(total / count, 6) if count else None

        return {
            "network_seconds_per_image": ratio(self.network_seconds, self.network_images),
            "postprocess_seconds_per_image": ratio(self.postprocess_seconds, self.postprocess_images),
            "first_batches": self.first_batches,
            "first_batches_seconds": round(self.first_seconds, 3),
            "wall_seconds": round(self.wall_seconds, 3),
            "images": self.postprocess_images,
        }


class InferenceRun:
    """A detector's way through image files.

    Iterating over it runs the network and gives the result of every image that can be read, in the order of the
    batches. Afterwards ``skipped`` has the others and ``speed`` where the time went.
    """

    def __init__(
        self,
        detector: DetectorFunction,
        sources: Sequence[ImageSource],
        category_ids: Sequence[CategoryId],
        settings: InferenceSettings,
    ) -> None:
        """Prepares a run.

        Args:
            detector: The network.
            sources: The image files.
            category_ids: The data set's own id of each label, that of label 1 first.
            settings: How files become detections.
        """
        self._detector = detector
        self._sources = sources
        self._category_ids = category_ids
        self._settings = settings
        self.skipped: list[Skipped] = []
        self.speed = Speed()

    def __iter__(self) -> Iterator[ImageResult]:
        batches = load_batches(self._sources, self._settings, self.skipped)
        return detect_batches(self._detector, batches, self._category_ids, self._settings, self.speed)

    def with_progress(self, title: str, *, hidden: bool = False) -> Iterable[ImageResult]:
        """Returns the run with a progress bar."""
        return tqdm(self, total=len(self._sources), desc=title, unit="image", disable=hidden)


def detect_batches(
    detector: DetectorFunction,
    batches: Iterable[ImageBatch],
    category_ids: Sequence[CategoryId],
    settings: InferenceSettings,
    speed: Speed,
) -> Iterator[ImageResult]:
    """Yields the result of every image of ``batches``, in their order.

    At most ``4 * settings.workers`` images wait to be pasted, so a fast network cannot fill the memory.

    Args:
        detector: The network.
        batches: What it takes.
        category_ids: The data set's own id of each label, that of label 1 first.
        settings: How masks are pasted, and by how many threads.
        speed: What the time was spent on is added to it.
    """
    start = time.perf_counter()
    task = partial(_postprocess, category_ids=category_ids, settings=settings)
    ahead = 4 * settings.workers
    with closing(_detected(detector, batches, speed)) as detected:
        results = map_in_order(task, detected, workers=settings.workers, ahead=ahead, name="paste", eager=True)
        with closing(results):
            for result, seconds in results:
                speed.postprocess_seconds += seconds
                speed.postprocess_images += 1
                speed.wall_seconds = time.perf_counter() - start
                yield result


class _Detected(NamedTuple):
    """An image of a batch, and what the network found in the batch."""

    image: LoadedImage
    row: int
    detections: Detections


def _detected(detector: DetectorFunction, batches: Iterable[ImageBatch], speed: Speed) -> Iterator[_Detected]:
    for batch in batches:
        before = time.perf_counter()
        detections = detector(batch.image, batch.image_shape)
        speed.add_network(batch.image.shape[1:3], len(batch.images), time.perf_counter() - before)
        for row, image in enumerate(batch.images):
            yield _Detected(image, row, detections)


def _postprocess(
    detected: _Detected, category_ids: Sequence[CategoryId], settings: InferenceSettings
) -> tuple[ImageResult, float]:
    """The result of one image, and the processor seconds it took."""
    start = time.thread_time()
    source, size = detected.image.source, detected.image.original_size
    objects = objects_of_image(detected.detections, detected.row, detected.image.network_size, size)
    rles = encode_masks(objects.masks, objects.boxes, *size, settings.mask_threshold, settings.paste)
    bbox, segm = coco_records(source.image_id, objects, rles, category_ids)
    return ImageResult(source, size, bbox, segm), time.thread_time() - start
