"""Text in pictures, in any script.

OpenCV's fonts know ASCII alone. Other text is drawn with a font of the system that has its letters; where there is
none it is transliterated.
"""

from __future__ import annotations

from functools import cache
from typing import NamedTuple

import cv2
import numpy as np
from anyascii import anyascii
from PIL import Image, ImageDraw, ImageFont

_OPENCV_FONT = cv2.FONT_HERSHEY_SIMPLEX
# Fonts of common systems, those of most scripts first; Pillow looks for them in the system's own folders.
_FONT_FILES = (
    "DejaVuSans.ttf",
    "NotoSans-Regular.ttf",
    "NotoSansCJK-Regular.ttc",
    "NotoSansCJKsc-Regular.otf",
    "wqy-microhei.ttc",
    "wqy-zenhei.ttc",
    "DroidSansFallbackFull.ttf",
    "NotoSansDevanagari-Regular.ttf",
    "NotoSansThai-Regular.ttf",
    "Arial Unicode.ttf",
    "PingFang.ttc",
    "arial.ttf",
    "msyh.ttc",
    "Nirmala.ttf",
    "unifont.ttf",
)
_EM = 30  # pixels of an em whose capitals are as high as those of OpenCV's font at scale 1
_NO_LETTER = "\uffff"  # drawn as the box that stands for a letter the font does not have


class TextSize(NamedTuple):
    """Pixels that a line of text takes: its width, and its height above and below the base line."""

    width: int
    above: int
    below: int


def text_size(text: str, scale: float) -> TextSize:
    """Returns the size of a line of text; at ``scale`` 1 capitals are 21 pixels high."""
    text, font = _prepared(text, scale)
    if font is None:
        (width, height), below = cv2.getTextSize(text, _OPENCV_FONT, scale, 1)
        return TextSize(width, height, below)
    left, top, right, bottom = font.getbbox(text, anchor="ls")
    return TextSize(int(right - min(left, 0)) + 1, int(-top) + 1, int(max(bottom, 0)) + 1)


def draw_text(
    picture: np.ndarray, text: str, place: tuple[int, int], scale: float, colour: tuple[int, int, int]
) -> None:
    """Draws a line of text into a picture uint8 [h, w, 3], in place.

    Args:
        picture: The picture.
        text: The line.
        place: x and y of the left end of its base line.
        scale: Its size; at 1 capitals are 21 pixels high.
        colour: In the order of the picture's channels.
    """
    text, font = _prepared(text, scale)
    if font is None:
        cv2.putText(picture, text, place, _OPENCV_FONT, scale, colour, 1, cv2.LINE_AA)
        return
    size = text_size(text, scale)
    left, top = max(place[0], 0), max(place[1] - size.above, 0)
    part = picture[top : place[1] + size.below, left : place[0] + size.width]
    drawn = Image.fromarray(np.ascontiguousarray(part))
    ImageDraw.Draw(drawn).text((place[0] - left, place[1] - top), text, fill=colour, font=font, anchor="ls")
    part[:] = np.asarray(drawn)


def _prepared(text: str, scale: float) -> tuple[str, ImageFont.FreeTypeFont | None]:
    """The text in letters that can be drawn, and the font that has them; None for OpenCV's."""
    text = " ".join(text.split())
    if text.isascii():
        return text, None
    file = _font_with(frozenset(text))
    if file is not None:
        return text, _font(file, round(_EM * scale))
    return anyascii(text.encode("utf-8", "replace").decode()), None


@cache
def _font_with(letters: frozenset[str]) -> str | None:
    """The first of the fonts that are here that has all of these letters."""
    for file in _FONT_FILES:
        try:
            font = _font(file, _EM)
            missing = bytes(font.getmask(_NO_LETTER))
            if all(letter.isspace() or bytes(font.getmask(letter)) != missing for letter in letters):
                return file
        except (OSError, UnicodeError):  # it is not here, or the text has half a surrogate pair
            continue
    return None


@cache
def _font(file: str, size: int) -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(file, size)
