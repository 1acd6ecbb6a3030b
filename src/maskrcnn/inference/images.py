"""Image files to network batches: decoded and resized by a few threads, one canvas to a batch."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np

from maskrcnn.data.batches.transforms import canvas_for, decode_shown, fit_size, resize_image
from maskrcnn.errors import DataError
from maskrcnn.inference.results import ImageId
from maskrcnn.inference.settings import InferenceSettings
from maskrcnn.threads import map_in_order


class ImageSource(NamedTuple):
    """An image file.

    image_id: its id in the annotation file, or its position. size: the (height, width) that the annotations claim, None
    where they claim none. apply_exif: rotate and mirror it as its EXIF orientation says, unless ``size`` tells that
    annotations were made on the pixels as stored. content: the bytes of the file, or the pixels uint8 RGB [h, w, 3], of
    an image that is in memory; ``path`` is then what messages call it.
    """

    image_id: ImageId
    path: Path
    size: tuple[int | None, int | None] | None = None
    apply_exif: bool = True
    content: bytes | np.ndarray | None = None


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


def decode_file(source: ImageSource) -> np.ndarray:
    """Reads and decodes an image file.

    Returns:
        uint8 RGB [height, width, 3].

    Raises:
        DataError: It cannot be read or decoded, or has another size than claimed.
    """
    path = source.path
    if isinstance(source.content, np.ndarray):
        return source.content
    try:
        data = path.read_bytes() if source.content is None else source.content
        rgb = decode_shown(data, source.size or (None, None), source.apply_exif)
    except FileNotFoundError:
        raise DataError(f"{path}: the image file is missing") from None
    except OSError as error:
        raise DataError(f"{path}: the image file cannot be read ({error.strerror or error})") from error
    except DataError as error:
        raise DataError(f"{path}: {error}") from error
    height, width = rgb.shape[:2]
    listed_height, listed_width = source.size or (None, None)
    if listed_height not in (None, height) or listed_width not in (None, width):
        raise DataError(
            f"{path}: the image is {width}x{height} pixels, "
            f"but the annotations say {listed_width or width}x{listed_height or height}"
        )
    return rgb


def load_image(source: ImageSource, settings: InferenceSettings) -> LoadedImage:
    """Decodes an image and fits it into its canvas.

    Raises:
        DataError: See ``decode_file``.
    """
    rgb = decode_file(source)
    height, width = rgb.shape[:2]
    landscape = settings.img_height, settings.img_width
    canvas = canvas_for(height, width, *landscape) if settings.both_canvases else landscape
    pixels = resize_image(rgb, *fit_size(height, width, *canvas, settings.keep_ratio))
    return LoadedImage(source, (height, width), canvas, pixels)


def load_batches(
    sources: Iterable[ImageSource], settings: InferenceSettings, skipped: list[Skipped]
) -> Iterator[ImageBatch]:
    """Yields every image once, in batches that each hold images of one canvas.

    Threads work ahead by a fixed number of images, so memory does not grow with the data set. The batches depend only
    on the order of the images.

    Args:
        sources: The images.
        settings: The canvas, the size of batches, the number of threads.
        skipped: Images that cannot be used are appended to it.

    Raises:
        DataError: An image cannot be used, and the settings are strict.
    """
    waiting: dict[tuple[int, int], list[LoadedImage]] = {}
    load = partial(_load_or_skip, settings=settings)
    ahead = 2 * settings.workers + settings.batch_size
    for image in map_in_order(load, sources, workers=settings.workers, ahead=ahead, name="images"):
        if isinstance(image, Skipped):
            skipped.append(image)
            continue
        group = waiting.setdefault(image.canvas, [])
        group.append(image)
        if len(group) == settings.batch_size:
            del waiting[image.canvas]
            yield _batch(group, settings.batch_size)
    for group in waiting.values():
        yield _batch(group, settings.batch_size)


def _load_or_skip(source: ImageSource, settings: InferenceSettings) -> LoadedImage | Skipped:
    try:
        return load_image(source, settings)
    except DataError as error:
        if settings.strict:
            raise
        return Skipped(source.path, str(error).removeprefix(f"{source.path}: "))


def _batch(images: list[LoadedImage], batch_size: int) -> ImageBatch:
    canvas = np.zeros((batch_size, *images[0].canvas, 3), np.uint8)
    shape = np.empty((batch_size, 2), np.float32)
    for row in range(batch_size):
        pixels = images[row % len(images)].pixels
        canvas[row, : pixels.shape[0], : pixels.shape[1]] = pixels
        shape[row] = pixels.shape[:2]
    return ImageBatch(canvas, shape, images)
