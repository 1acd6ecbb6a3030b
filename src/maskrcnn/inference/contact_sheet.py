"""A contact sheet: many small labelled pictures on one page."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import cv2
import numpy as np

from maskrcnn.inference.text import draw_text, text_size
from maskrcnn.inference.visualize import class_colour

_GROUND, _INK, _PAPER = (245, 245, 245), (30, 30, 30), (255, 255, 255)
_TINT = 0.4
_BAR, _GAP = 22, 8
_FONT_SCALE = 0.42


class SheetObject(NamedTuple):
    """An object: box x1, y1, x2, y2 and mask (bool [h, w] or None) in pixels of the picture, label 1..K, its name."""

    box: tuple[float, float, float, float]
    mask: np.ndarray | None
    label: int
    name: str


class SheetPicture(NamedTuple):
    """A picture uint8 RGB [h, w, 3] with its objects and a caption."""

    rgb: np.ndarray
    objects: Sequence[SheetObject]
    caption: str


def contact_sheet(pictures: Sequence[SheetPicture], columns: int = 4, cell: tuple[int, int] = (260, 340)) -> np.ndarray:
    """Returns the pictures in rows, each fitted into a cell of (height, width) pixels under its caption.

    Args:
        pictures: at least one.
        columns: pictures in a row.
        cell: height and width of the space for a picture.

    Returns:
        uint8 RGB [H, W, 3].
    """
    height, width = cell
    rows = -(-len(pictures) // columns)
    columns = min(columns, len(pictures))
    page = np.full(
        (rows * (height + _BAR + _GAP) + _GAP, columns * (width + _GAP) + _GAP, 3), np.array(_GROUND, np.uint8)
    )
    for index, picture in enumerate(pictures):
        top = _GAP + index // columns * (height + _BAR + _GAP)
        left = _GAP + index % columns * (width + _GAP)
        small = _drawn(picture, height, width)
        y, x = top + _BAR + (height - small.shape[0]) // 2, left + (width - small.shape[1]) // 2
        page[y : y + small.shape[0], x : x + small.shape[1]] = small
        caption = _shortened(picture.caption, width)
        draw_text(page, caption, (left, top + _BAR - 7), _FONT_SCALE, _INK)
    return page


def _drawn(picture: SheetPicture, height: int, width: int) -> np.ndarray:
    """Returns a picture with its objects, fitted into height x width."""
    scale = min(height / picture.rgb.shape[0], width / picture.rgb.shape[1])
    size = (max(round(picture.rgb.shape[1] * scale), 1), max(round(picture.rgb.shape[0] * scale), 1))
    way = cv2.INTER_AREA if scale < 1 else cv2.INTER_NEAREST
    small = cv2.resize(picture.rgb, size, interpolation=way)
    # large objects first, so that small ones stay visible
    ordered = sorted(picture.objects, key=lambda o: -(o.box[2] - o.box[0]) * (o.box[3] - o.box[1]))
    for item in ordered:
        if item.mask is not None:
            _tint(small, item, size)
    for item in ordered:
        corners = np.rint(np.array(item.box) * scale).astype(int).tolist()
        cv2.rectangle(small, corners[:2], corners[2:], class_colour(item.label), 1)
    for item, place in zip(ordered, _label_places(ordered, scale, size)):
        if place is not None:
            _write(small, item, place)
    return small


def _tint(small: np.ndarray, item: SheetObject, size: tuple[int, int]) -> None:
    mask = cv2.resize(item.mask.astype(np.uint8) * 255, size, interpolation=cv2.INTER_AREA) >= 128
    colour = np.array(class_colour(item.label), np.float32)
    small[mask] = np.rint(small[mask] * (1 - _TINT) + colour * _TINT).astype(np.uint8)


def _label_places(
    objects: Sequence[SheetObject], scale: float, size: tuple[int, int]
) -> Iterator[tuple[int, int, int, int] | None]:
    """Yields the rectangle x1, y1, x2, y2 of each object's name; None where it would hide another name."""
    taken: list[tuple[int, int, int, int]] = []
    for item in objects:
        wide, tall, below = text_size(item.name, _FONT_SCALE)
        x = int(min(max(item.box[0] * scale, 0), max(size[0] - wide - 4, 0)))
        y = int(max(item.box[1] * scale - tall - below - 2, 0))
        place = (x, y, min(x + wide + 4, size[0]), min(y + tall + below + 2, size[1]))
        if not item.name or any(
            place[0] < t[2] and place[2] > t[0] and place[1] < t[3] and place[3] > t[1] for t in taken
        ):
            yield None
            continue
        taken.append(place)
        yield place


def _write(small: np.ndarray, item: SheetObject, place: tuple[int, int, int, int]) -> None:
    x1, y1, x2, y2 = place
    colour = class_colour(item.label)
    small[y1:y2, x1:x2] = colour
    light = 0.299 * colour[0] + 0.587 * colour[1] + 0.114 * colour[2] > 140
    below = text_size(item.name, _FONT_SCALE).below
    draw_text(small, item.name, (x1 + 2, y2 - below), _FONT_SCALE, _INK if light else _PAPER)


def _shortened(text: str, width: int) -> str:
    """Returns as much of the end of a text as fits into ``width`` pixels."""
    if text_size(text, _FONT_SCALE).width <= width:
        return text
    while text and text_size("..." + text, _FONT_SCALE).width > width:
        text = text[1:]
    return "..." + text
