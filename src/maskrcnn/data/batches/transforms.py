"""Pixels: decoding, fitting into the canvas, colour jitter. Everything works on uint8 RGB; the network normalises.

An image is resized into the canvas with its ratio kept and padded with zeros on the right and at the bottom, so network
coordinates are image coordinates times one factor per axis.
"""

from __future__ import annotations

import cv2
import numpy as np

from maskrcnn.data.sources.exif import exif_orientation, orientation_to_apply
from maskrcnn.data.sources.orientation import UPRIGHT, orient_image
from maskrcnn.errors import DataError

# Photometric distortion of SSD (Liu et al. 2016, section 2.2): largest changes of brightness (of 255), of
# contrast and saturation (factors), and of hue (degrees).
MAX_BRIGHTNESS = 32.0
CONTRAST_RANGE = (0.5, 1.5)
SATURATION_RANGE = (0.5, 1.5)
MAX_HUE = 18.0


def canvas_for(height: int, width: int, img_height: int, img_width: int) -> tuple[int, int]:
    """Returns the canvas (H, W) for an image: upright if the image is (h > w), so that it is not squeezed.

    Args:
        height: rows of the image.
        width: columns of the image.
        img_height: one side of both canvases.
        img_width: the other side.
    """
    short, long = sorted((img_height, img_width))
    return (long, short) if height > width else (short, long)


def fit_size(height: int, width: int, canvas_h: int, canvas_w: int, keep_ratio: bool = True) -> tuple[int, int]:
    """Returns the (h, w) in pixels at which an image fills the canvas.

    Args:
        height: rows of the image.
        width: columns of the image.
        canvas_h: rows of the canvas.
        canvas_w: columns of the canvas.
        keep_ratio: fill one side and keep the ratio; otherwise fill both.
    """
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
    return orient_image(cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB), orientation)


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
    return orient_image(rgb, orientation)


def resize_image(rgb: np.ndarray, height: int, width: int) -> np.ndarray:
    """Resizes uint8 [h, w, 3] to uint8 [height, width, 3], bilinear with half-pixel centres."""
    if rgb.shape[:2] == (height, width):
        return rgb
    return cv2.resize(rgb, (width, height), interpolation=cv2.INTER_LINEAR)


def jitter_colour(rgb: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Returns uint8 [h, w, 3] with brightness, contrast, saturation and hue changed at random, as SSD does.

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
