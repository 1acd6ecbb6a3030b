"""Batches through the network, and their masks pasted and encoded by threads while the next batch runs."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from maskrcnn.inference.images import ImageBatch, ImageSource, LoadedImage, Skipped, load_batches
from maskrcnn.inference.paste import encode_masks
from maskrcnn.inference.results import Detections, coco_records, objects_of_image

if TYPE_CHECKING:
    from maskrcnn.config import Config

DetectorFunction = Callable[[np.ndarray, np.ndarray], Detections]


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
        """Count one batch of ``images`` images on ``canvas``."""
        if canvas in self._canvases:
            self.network_seconds += seconds
            self.network_images += images
        else:
            self._canvases.add(canvas)
            self.first_seconds += seconds
            self.first_batches += 1

    @classmethod
    def of_ranks(cls, speeds: Sequence[Speed]) -> Speed:
        """What ranks that worked at the same time took together; the wall time is that of the slowest."""
        total = cls()
        for name in ("network_seconds", "network_images", "postprocess_seconds", "postprocess_images"):
            setattr(total, name, sum(getattr(speed, name) for speed in speeds))
        for name in ("first_seconds", "first_batches", "wall_seconds"):
            setattr(total, name, max(getattr(speed, name) for speed in speeds))
        return total

    def to_dict(self) -> dict[str, float | int | None]:
        """Figures for metrics.json; None where nothing was measured."""

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


@dataclass(frozen=True)
class InferenceSettings:
    """How image files become detections: the canvas, the batches, the pasting of masks."""

    img_height: int
    img_width: int
    keep_ratio: bool = True
    both_canvases: bool = True  # otherwise upright images, too, are fitted into the landscape canvas
    batch_size: int = 1
    workers: int = 2
    mask_threshold: float = 0.5
    paste: str = "exact"  # one of PASTE_RULES
    strict: bool = False  # an image that cannot be read raises DataError, instead of being left out and reported

    @classmethod
    def from_config(cls, cfg: Config, both_canvases: bool = True) -> InferenceSettings:
        """The settings of a run."""
        return cls(
            img_height=cfg.img_height,
            img_width=cfg.img_width,
            keep_ratio=cfg.keep_ratio,
            both_canvases=both_canvases,
            batch_size=cfg.test_batch_size,
            workers=cfg.num_parallel_workers,
            mask_threshold=cfg.mask_thr_binary,
            paste=cfg.paste,
            strict=cfg.strict,
        )


def detect_files(
    detector: DetectorFunction,
    sources: Iterable[ImageSource],
    category_ids: Sequence[int],
    settings: InferenceSettings,
    skipped: list[Skipped],
    speed: Speed,
) -> Iterator[ImageResult]:
    """Yield the result of every image file that can be read; the others go to ``skipped``. See ``detect_images``."""
    batches = load_batches(
        sources,
        img_height=settings.img_height,
        img_width=settings.img_width,
        keep_ratio=settings.keep_ratio,
        both_canvases=settings.both_canvases,
        batch_size=settings.batch_size,
        workers=settings.workers,
        strict=settings.strict,
        skipped=skipped,
    )
    return detect_images(
        detector,
        batches,
        category_ids,
        mask_threshold=settings.mask_threshold,
        paste=settings.paste,
        workers=settings.workers,
        speed=speed,
    )


def detect_images(
    detector: DetectorFunction,
    batches: Iterable[ImageBatch],
    category_ids: Sequence[int],
    *,
    mask_threshold: float = 0.5,
    paste: str = "exact",
    workers: int = 2,
    speed: Speed | None = None,
) -> Iterator[ImageResult]:
    """Yield the result of every image of ``batches``, in their order.

    ``detector(image, image_shape)`` returns Detections in network pixels. At most ``4 * workers`` images
    wait to be pasted, so a fast network cannot fill the memory. ``speed`` is added to.
    """
    speed = Speed() if speed is None else speed
    pending: deque[Future[tuple[ImageResult, float]]] = deque()
    pool = ThreadPoolExecutor(workers, thread_name_prefix="paste")
    encode = partial(encode_masks, threshold=mask_threshold, rule=paste)
    start = time.perf_counter()

    def finished() -> ImageResult:
        result, seconds = pending.popleft().result()
        speed.postprocess_seconds += seconds
        speed.postprocess_images += 1
        speed.wall_seconds = time.perf_counter() - start
        return result

    try:
        for batch in batches:
            before = time.perf_counter()
            detections = detector(batch.image, batch.image_shape)
            seconds = time.perf_counter() - before
            speed.add_network(batch.image.shape[1:3], len(batch.images), seconds)
            for row, image in enumerate(batch.images):
                pending.append(pool.submit(_postprocess, detections, row, image, category_ids, encode))
            while len(pending) > 4 * workers or (pending and pending[0].done()):
                yield finished()
        while pending:
            yield finished()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _postprocess(
    detections: Detections,
    row: int,
    image: LoadedImage,
    category_ids: Sequence[int],
    encode: Callable[..., list[dict[str, Any]]],
) -> tuple[ImageResult, float]:
    """The result of one image, and the processor seconds it took; ``encode(masks, boxes, height, width)`` is RLEs."""
    start = time.thread_time()
    height, width = image.original_size
    objects = objects_of_image(detections, row, image.network_size, image.original_size)
    rles = encode(objects.masks, objects.boxes, height, width)
    bbox, segm = coco_records(image.source.image_id, objects, rles, category_ids)
    return ImageResult(image.source, image.original_size, bbox, segm), time.thread_time() - start
