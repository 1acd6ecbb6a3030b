"""Pixels: decoding, fitting into the canvas, and the random view of a photograph that training sees.

An image is resized into the canvas with its ratio kept and padded with zeros on the right and at the bottom,
so network coordinates are image coordinates times one factor per axis. Everything works on uint8 RGB; the
network normalises.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from maskrcnn.data.sources.exif import UPRIGHT, exif_orientation, orient, orientation_to_apply
from maskrcnn.errors import DataError

# Photometric distortion of SSD (Liu et al. 2016, section 2.2): largest changes of brightness (of 255), of
# contrast and saturation (factors), and of hue (degrees).
MAX_BRIGHTNESS = 32.0
CONTRAST_RANGE = (0.5, 1.5)
SATURATION_RANGE = (0.5, 1.5)
MAX_HUE = 18.0


def canvas_for(height: int, width: int, img_height: int, img_width: int) -> tuple[int, int]:
    """Return the canvas (H, W) for an image of ``height`` x ``width``: upright if the image is (h > w).

    Both canvases have the sides ``img_height`` and ``img_width``; an upright photograph is not squeezed into
    a lying one.
    """
    short, long = sorted((img_height, img_width))
    return (long, short) if height > width else (short, long)


def fit_size(height: int, width: int, canvas_h: int, canvas_w: int, keep_ratio: bool = True) -> tuple[int, int]:
    """Return the (h, w) in pixels at which an image fills the canvas: with its ratio kept, or all of it."""
    if not keep_ratio:
        return canvas_h, canvas_w
    scale = min(canvas_h / height, canvas_w / width)
    fitted_h = min(max(int(height * scale + 0.5), 1), canvas_h)
    fitted_w = min(max(int(width * scale + 0.5), 1), canvas_w)
    return fitted_h, fitted_w


def decode_image(data: bytes, orientation: int = UPRIGHT) -> np.ndarray:
    """Decodes the bytes of an image file (JPEG, PNG, WebP, BMP) to uint8 RGB [h, w, 3].

    Args:
        data: the bytes.
        orientation: the EXIF orientation to apply to the pixels as stored, 1..8.

    Raises:
        DataError: the bytes are no image.
    """
    if not data:
        raise DataError("the image file is empty; replace the file or take the image out of the data set")
    try:
        bgr = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)
    except cv2.error as error:
        raise DataError(f"the image cannot be decoded ({error.err}); replace the file") from error
    if bgr is None:
        raise DataError(
            f"the image cannot be decoded ({len(data)} bytes, no valid JPEG, PNG or WebP); replace the file"
        )
    rgb = cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB)
    return rgb if orientation == UPRIGHT else np.ascontiguousarray(orient(rgb, orientation))


def decode_shown(data: bytes, listed: tuple[int | None, int | None] = (None, None), exif: bool = True) -> np.ndarray:
    """Decodes the bytes of an image file to uint8 RGB [h, w, 3] as its annotations see it, as conversion does.

    Args:
        data: the bytes.
        listed: height and width according to the annotations, which tell whether they were made on the pixels as
            stored; None where nothing is known.
        exif: whether to apply the EXIF orientation where the sizes do not tell.

    Raises:
        DataError: the bytes are no image.
    """
    rgb = decode_image(data)
    orientation = orientation_to_apply(exif_orientation(data), rgb.shape[:2], listed, exif)
    return rgb if orientation == UPRIGHT else np.ascontiguousarray(orient(rgb, orientation))


def resize_image(rgb: np.ndarray, height: int, width: int) -> np.ndarray:
    """Resize uint8 [h, w, 3] to uint8 [height, width, 3], bilinear with half-pixel centres."""
    if rgb.shape[:2] == (height, width):
        return rgb
    return cv2.resize(rgb, (width, height), interpolation=cv2.INTER_LINEAR)


def pad_image(rgb: np.ndarray, height: int, width: int) -> np.ndarray:
    """Put uint8 [h, w, 3] into the top left corner of a zero canvas [height, width, 3]."""
    canvas = np.zeros((height, width, 3), np.uint8)
    canvas[: rgb.shape[0], : rgb.shape[1]] = rgb
    return canvas


def flip_image(rgb: np.ndarray) -> np.ndarray:
    """Mirror an image [h, w, 3] left to right."""
    return cv2.flip(rgb, 1)


def flip_boxes(boxes: np.ndarray, width: float) -> np.ndarray:
    """Mirror boxes [n, 4] in an image ``width`` pixels wide: x1, x2 become width - x2, width - x1."""
    flipped = boxes.copy()
    flipped[:, 0] = width - boxes[:, 2]
    flipped[:, 2] = width - boxes[:, 0]
    return flipped


def jitter_colour(rgb: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return uint8 [h, w, 3] with brightness, contrast, saturation and hue changed at random, as SSD does.

    All four act on single 8-bit values, so each is a table of 256 entries.
    """
    levels = np.arange(256, dtype=np.float64)
    shift = rng.uniform(-MAX_BRIGHTNESS, MAX_BRIGHTNESS)
    contrast = rng.uniform(*CONTRAST_RANGE)
    saturation = rng.uniform(*SATURATION_RANGE)
    hue = rng.uniform(-MAX_HUE, MAX_HUE) / 2  # OpenCV's 8-bit hue counts 180 steps of two degrees

    def table(values: np.ndarray) -> np.ndarray:
        return np.clip(np.rint(values), 0, 255).astype(np.uint8)

    tables = (np.mod(np.rint(levels + hue), 180).astype(np.uint8), table(levels * saturation), table(levels))
    hsv = cv2.cvtColor(cv2.LUT(rgb, table((levels + shift) * contrast)), cv2.COLOR_RGB2HSV)
    hsv = cv2.LUT(hsv, np.stack(tables, axis=-1)[None])
    return cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB)


@dataclass(frozen=True)
class Augmentation:
    """How training images are fitted and varied; the defaults change nothing but the size.

    keep_ratio: keep the ratio of the sides when fitting into the canvas.
    flip_ratio: probability of a left-right flip.
    photo_ratio: probability of colour jitter.
    expand_ratio: largest zoom-out; the factor is uniform in [1, expand_ratio], the place random, the border
    ``fill``. multi_scale: factors of the canvas in (0, 1], one of which is drawn for each image. fill: RGB
    colour around a zoomed-out image.
    """

    keep_ratio: bool = True
    flip_ratio: float = 0.0
    photo_ratio: float = 0.0
    expand_ratio: float = 1.0
    multi_scale: tuple[float, ...] = (1.0,)
    fill: tuple[int, int, int] = (124, 116, 104)


@dataclass(frozen=True)
class View:
    """Where and how one photograph appears on the canvas; all sizes in pixels, as (height, width).

    ``content`` is the resized photograph, placed ``offset`` (top, left) from the corner within the ``valid``
    area, which is all of the canvas that is not padding.
    """

    source: tuple[int, int]
    canvas: tuple[int, int]
    valid: tuple[int, int]
    content: tuple[int, int]
    offset: tuple[int, int] = (0, 0)
    flip: bool = False
    jitter: bool = False

    def boxes(self, boxes: np.ndarray) -> np.ndarray:
        """Carry boxes [n, 4] from photograph pixels to float64 [n, 4] canvas pixels, clipped to the
        content."""
        height, width = self.content
        scale = np.array([width / self.source[1], height / self.source[0]] * 2)
        moved = np.clip(boxes.astype(np.float64) * scale, 0, [width, height] * 2)
        if self.flip:
            moved = flip_boxes(moved, width)
        return moved + np.array([self.offset[1], self.offset[0]] * 2)

    def nearest(self, axis: int, pixels: np.ndarray) -> np.ndarray:
        """Rows (axis 0) or columns (1) of the photograph that are nearest to those of the canvas; -1 beside it."""
        place = pixels - self.offset[axis]
        rows = place * self.source[axis] // self.content[axis]
        if self.flip and axis == 1:
            rows = self.source[axis] - 1 - rows
        return np.where((place >= 0) & (place < self.content[axis]), rows, -1)

    def draw(self, rgb: np.ndarray, out: np.ndarray, fill: tuple[int, int, int], rng: np.random.Generator) -> None:
        """Draw the photograph uint8 [h, w, 3] into ``out``, a canvas uint8 [H, W, 3] of zeros."""
        if self.jitter:
            rgb = jitter_colour(rgb, rng)
        if self.flip:
            rgb = flip_image(rgb)
        height, width = self.content
        top, left = self.offset
        if self.content != self.valid:
            out[: self.valid[0], : self.valid[1]] = fill
        out[top : top + height, left : left + width] = resize_image(rgb, height, width)


def draw_view(
    height: int, width: int, canvas: tuple[int, int], augmentation: Augmentation, rng: np.random.Generator
) -> View:
    """Draw a random view of an image ``height`` x ``width`` on ``canvas`` (H, W).

    The number of draws does not depend on the settings: switching one off leaves what the others draw
    unchanged.
    """
    scale, zoom, top, left, flip, jitter = rng.random(6)
    factor = augmentation.multi_scale[int(scale * len(augmentation.multi_scale))]
    room = [max(int(side * factor + 0.5), 1) for side in canvas]
    valid = fit_size(height, width, room[0], room[1], augmentation.keep_ratio)
    zoom_out = 1.0 + zoom * (augmentation.expand_ratio - 1.0)
    content = (max(int(valid[0] / zoom_out + 0.5), 1), max(int(valid[1] / zoom_out + 0.5), 1))
    return View(
        source=(height, width),
        canvas=canvas,
        valid=valid,
        content=content,
        offset=(int(top * (valid[0] - content[0] + 1)), int(left * (valid[1] - content[1] + 1))),
        flip=bool(flip < augmentation.flip_ratio),
        jitter=bool(jitter < augmentation.photo_ratio),
    )
