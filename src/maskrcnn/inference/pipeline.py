"""Image files through a detector: masks are pasted and encoded by threads while the next batch runs."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial
from operator import length_hint
from typing import Any, NamedTuple

import numpy as np
from tqdm import tqdm

from maskrcnn.errors import DataError
from maskrcnn.inference.images import ImageBatch, ImageSource, LoadedImage, Skipped, decode_file, load_batches
from maskrcnn.inference.paste import encode_masks
from maskrcnn.inference.results import CategoryId, Detections, ImageObjects, coco_records, objects_of_image
from maskrcnn.inference.settings import InferenceSettings
from maskrcnn.inference.tiles import TileObjects, merge_tiles
from maskrcnn.ops.tiling import Tile, tile_grid
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
        sources: Iterable[ImageSource],
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
        if self._settings.tile:
            return detect_tiles(
                self._detector, self._sources, self._category_ids, self._settings, self.skipped, self.speed
            )
        batches = load_batches(self._sources, self._settings, self.skipped)
        return detect_batches(self._detector, batches, self._category_ids, self._settings, self.speed)

    def with_progress(self, title: str, *, hidden: bool = False) -> Iterable[ImageResult]:
        """Returns the run with a progress bar."""
        return tqdm(self, total=length_hint(self._sources) or None, desc=title, unit="image", disable=hidden)


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


def detect_tiles(
    detector: DetectorFunction,
    sources: Iterable[ImageSource],
    category_ids: Sequence[CategoryId],
    settings: InferenceSettings,
    skipped: list[Skipped],
    speed: Speed,
) -> Iterator[ImageResult]:
    """Yields the result of every image, found on its tiles and merged.

    Args:
        detector: The network.
        sources: The images; one no larger than a tile is taken whole.
        category_ids: The data set's own id of each label, that of label 1 first.
        settings: The tiles, and how they become detections.
        skipped: Images that cannot be used are appended to it.
        speed: What the time was spent on is added to it; it counts tiles.

    Raises:
        DataError: An image cannot be used, and the settings are strict.
    """
    images: dict[int, _TiledImage] = {}  # by the number of each of their tiles that is under way
    batches = load_batches(_tiles(sources, settings, images, skipped), settings, skipped)
    labels = range(1, len(category_ids) + 1)
    for result in detect_batches(detector, batches, labels, settings, speed):
        image = images.pop(result.source.image_id)
        image.add(result)
        if len(image.found) == len(image.tiles):
            merged = merge_tiles(image.found, *image.size)
            objects = ImageObjects(merged.boxes, merged.scores, merged.labels, np.zeros((0, 0, 0), np.float32))
            bbox, segm = coco_records(image.source.image_id, objects, merged.rles, category_ids)
            yield ImageResult(image.source, image.size, bbox, segm)


@dataclass
class _TiledImage:
    """An image of ``size`` (height, width) whose tiles are numbered from ``first``, and what was found on them."""

    source: ImageSource
    size: tuple[int, int]
    tiles: list[Tile]
    first: int
    found: list[TileObjects] = field(default_factory=list)

    def add(self, result: ImageResult) -> None:
        boxes = np.array([record["bbox"] for record in result.bbox], np.float32).reshape(-1, 4)
        boxes[:, 2:] += boxes[:, :2]
        scores = np.array([record["score"] for record in result.bbox], np.float32)
        labels = np.array([record["category_id"] for record in result.bbox], np.int32)
        rles = [record["segmentation"] for record in result.segm]
        tile = self.tiles[result.source.image_id - self.first]
        self.found.append(TileObjects(tile, boxes, scores, labels, rles))


def _tiles(
    sources: Iterable[ImageSource],
    settings: InferenceSettings,
    images: dict[int, _TiledImage],
    skipped: list[Skipped],
) -> Iterator[ImageSource]:
    """Yields the tiles of all images, numbered throughout; ``images`` has the image of each number."""
    number = 0
    for source in sources:
        try:
            rgb = decode_file(source)
        except DataError as error:
            if settings.strict:
                raise
            skipped.append(Skipped(source.path, str(error).removeprefix(f"{source.path}: ")))
            continue
        size = (rgb.shape[0], rgb.shape[1])
        image = _TiledImage(source, size, tile_grid(*size, settings.tile, settings.overlap), number)
        for tile in image.tiles:
            images[number] = image
            pixels = rgb[tile.top : tile.bottom, tile.left : tile.right]
            yield ImageSource(number, source.path, content=pixels)
            number += 1


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
