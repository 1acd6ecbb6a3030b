"""Image files to network batches: decoded and resized by a few threads, one canvas to a batch."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np

from maskrcnn.data.batches.transforms import canvas_for, decode_shown, fit_size, resize_image
from maskrcnn.errors import DataError


class ImageSource(NamedTuple):
    """An image file. ``size`` is the (height, width) that the annotations claim, None without a claim.

    ``apply_exif`` rotates and mirrors it as its EXIF orientation says, unless ``size`` tells that annotations were made
    on the pixels as stored.
    """

    image_id: int
    path: Path
    size: tuple[int, int] | None = None
    apply_exif: bool = True


class LoadedImage(NamedTuple):
    """A decoded image: (height, width) in the file and on the canvas (H, W), uint8 RGB [height, width, 3]."""

    source: ImageSource
    original_size: tuple[int, int]
    canvas: tuple[int, int]
    pixels: np.ndarray

    @property
    def network_size(self) -> tuple[int, int]:
        """(height, width) of the image as the network sees it, without the padding."""
        return self.pixels.shape[0], self.pixels.shape[1]


class ImageBatch(NamedTuple):
    """What the network takes: image uint8 [N, H, W, 3], zero padded, and image_shape float32 [N, 2].

    ``images`` are the images in the batch; a last batch of fewer than N is filled by repeating them, and what
    the network finds in rows from ``len(images)`` on is to be dropped.
    """

    image: np.ndarray
    image_shape: np.ndarray
    images: list[LoadedImage]


@dataclass(frozen=True)
class Skipped:
    """An image that could not be used, and why."""

    path: Path
    reason: str


def read_file(path: Path) -> bytes:
    """The bytes of a file. Raises DataError."""
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise DataError(f"{path}: the image file is missing") from None
    except OSError as error:
        raise DataError(f"{path}: the image file cannot be read ({error.strerror or error})") from error


def read_image(source: ImageSource) -> np.ndarray:
    """Decode an image file to uint8 RGB [h, w, 3]. Raises DataError, also for a wrong size."""
    data = read_file(source.path)
    try:
        rgb = decode_shown(data, source.size or (None, None), source.apply_exif)
    except DataError as error:
        raise DataError(f"{source.path}: {error}") from error
    if source.size is not None and rgb.shape[:2] != tuple(source.size):
        raise DataError(
            f"{source.path}: the image is {rgb.shape[1]}x{rgb.shape[0]} pixels, "
            f"but the annotations say {source.size[1]}x{source.size[0]}"
        )
    return rgb


def load_image(
    source: ImageSource, img_height: int, img_width: int, keep_ratio: bool = True, both_canvases: bool = True
) -> LoadedImage:
    """Decode an image and fit it into its canvas, lying or upright; without ``both_canvases``, into the one given."""
    rgb = read_image(source)
    height, width = rgb.shape[:2]
    canvas = canvas_for(height, width, img_height, img_width) if both_canvases else (img_height, img_width)
    pixels = resize_image(rgb, *fit_size(height, width, *canvas, keep_ratio))
    return LoadedImage(source, (height, width), canvas, pixels)


def load_batches(
    sources: Iterable[ImageSource],
    *,
    img_height: int,
    img_width: int,
    keep_ratio: bool = True,
    both_canvases: bool = True,
    batch_size: int = 1,
    workers: int = 2,
    strict: bool = False,
    skipped: list[Skipped] | None = None,
) -> Iterator[ImageBatch]:
    """Yield every image of ``sources`` once, in batches of ``batch_size`` that each hold one canvas.

    Without ``both_canvases`` upright images too are fitted into ``img_height`` x ``img_width``.

    ``workers`` threads work ahead by a fixed number of images, so memory does not grow with the data set. The
    batches depend only on the order of ``sources``. An image that cannot be used is appended to ``skipped``;
    with ``strict`` it raises DataError.
    """
    waiting: dict[tuple[int, int], list[LoadedImage]] = {}
    load = partial(
        load_image, img_height=img_height, img_width=img_width, keep_ratio=keep_ratio, both_canvases=both_canvases
    )
    for image in _load_ahead(sources, load, workers, batch_size, strict, skipped):
        group = waiting.setdefault(image.canvas, [])
        group.append(image)
        if len(group) == batch_size:
            del waiting[image.canvas]
            yield _batch(group, batch_size)
    for group in waiting.values():
        yield _batch(group, batch_size)


def _load_ahead(
    sources: Iterable[ImageSource],
    load: Callable[[ImageSource], LoadedImage],
    workers: int,
    batch_size: int,
    strict: bool,
    skipped: list[Skipped] | None,
) -> Iterator[LoadedImage]:
    """Images in the order of ``sources``, at most ``2 * workers + batch_size`` of them ahead."""
    pending: deque[tuple[ImageSource, Future[LoadedImage]]] = deque()
    remaining = iter(sources)
    pool = ThreadPoolExecutor(workers, thread_name_prefix="images")
    try:
        while True:
            while len(pending) < 2 * workers + batch_size:
                source = next(remaining, None)
                if source is None:
                    break
                pending.append((source, pool.submit(load, source)))
            if not pending:
                return
            source, future = pending.popleft()
            try:
                image = future.result()
            except DataError as error:
                if strict:
                    raise
                if skipped is not None:
                    skipped.append(Skipped(source.path, str(error).removeprefix(f"{source.path}: ")))
                continue
            yield image
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _batch(images: list[LoadedImage], batch_size: int) -> ImageBatch:
    canvas = np.zeros((batch_size, *images[0].canvas, 3), np.uint8)
    shape = np.empty((batch_size, 2), np.float32)
    for row in range(batch_size):
        pixels = images[row % len(images)].pixels
        canvas[row, : pixels.shape[0], : pixels.shape[1]] = pixels
        shape[row] = pixels.shape[:2]
    return ImageBatch(canvas, shape, images)
