"""Pictures of objects: boxes, translucent masks with contours, and labels that can be read."""

from __future__ import annotations

import colorsys
import zlib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
from pycocotools import mask as coco_mask

from maskrcnn.errors import EvaluationError
from maskrcnn.files import whole_file
from maskrcnn.inference.results import CategoryId
from maskrcnn.inference.text import draw_text, text_size

MASK_ALPHA = 0.45
LEAST_LONG_SIDE = 960  # smaller images are enlarged up to MOST_ENLARGED times, so that labels do not hide them
MOST_ENLARGED = 4.0
MOST_LONG_SIDE = 32000  # larger ones are shrunk: two of them side by side must fit into a JPEG
GOLDEN_RATIO = 0.618033988749895
WHITE, BLACK, GREY = (255, 255, 255), (0, 0, 0), (40, 40, 40)
# A comment in every picture, by which a later run knows that it is none of the user's photographs.
SIGNATURE = b"drawn by maskrcnn"
_START_OF_IMAGE, _COMMENT = b"\xff\xd8", b"\xff\xfe"
_PNG_HEADER = 33  # bytes of a PNG's signature and its first chunk, IHDR
_TEXT = b"tEXtSoftware\0" + SIGNATURE
_PNG_TEXT = (len(_TEXT) - 4).to_bytes(4, "big") + _TEXT + zlib.crc32(_TEXT).to_bytes(4, "big")


class DrawnObject(NamedTuple):
    """One object to draw: box x1, y1, x2, y2 in image pixels, COCO segmentation or None, label 1..K, text."""

    box: tuple[float, float, float, float]
    segmentation: Any
    label: int
    text: str


def class_colour(label: int) -> tuple[int, int, int]:
    """Returns the RGB colour of a label: steps of the golden ratio around the hue circle keep neighbours apart."""
    hue = (label * GOLDEN_RATIO) % 1.0
    saturation = (0.95, 0.7, 0.85)[label % 3]
    value = (1.0, 0.9, 0.75)[(label // 3) % 3]
    return tuple(int(255 * channel + 0.5) for channel in colorsys.hsv_to_rgb(hue, saturation, value))


def objects_from_records(
    bbox: Sequence[dict[str, Any]],
    segm: Sequence[dict[str, Any]],
    category_ids: Sequence[CategoryId],
    names: Sequence[str],
    score_threshold: float = 0.5,
) -> list[DrawnObject]:
    """Returns the objects of an image's result records, box and mask records in the same order, with enough score."""
    labels = {category: label for label, category in enumerate(category_ids, 1)}
    drawn = []
    for box_record, mask_record in zip(bbox, segm):
        if box_record["score"] >= score_threshold:
            label = labels[box_record["category_id"]]
            text = f"{names[label - 1]} {box_record['score']:.2f}"
            drawn.append(DrawnObject(_corners(box_record["bbox"]), mask_record["segmentation"], label, text))
    return drawn


def objects_from_annotations(
    annotations: Iterable[dict[str, Any]], category_ids: Sequence[CategoryId], names: Sequence[str]
) -> list[DrawnObject]:
    """Returns the objects of an image's ground truth; categories that the run does not know are left out."""
    labels = {category: label for label, category in enumerate(category_ids, 1)}
    drawn = []
    for annotation in annotations:
        label = labels.get(annotation["category_id"])
        if label is not None:
            text = names[label - 1] + (" (crowd)" if annotation["iscrowd"] else "")
            drawn.append(DrawnObject(_corners(annotation["bbox"]), annotation.get("segmentation"), label, text))
    return drawn


def draw_objects(rgb: np.ndarray, objects: Sequence[DrawnObject]) -> np.ndarray:
    """Draws objects over a copy of an image.

    Large objects are drawn first, so small ones stay visible; labels are laid beside one another where there is room.

    Args:
        rgb: uint8 [h, w, 3].
        objects: In pixels of the image.

    Returns:
        uint8 [H, W, 3], larger than a small image and smaller than a huge one.
    """
    height, width = rgb.shape[:2]
    scale = min(max(LEAST_LONG_SIDE / max(height, width), 1.0), MOST_ENLARGED, MOST_LONG_SIDE / max(height, width))
    size = (max(round(width * scale), 1), max(round(height * scale), 1))
    method = cv2.INTER_CUBIC if scale > 1 else cv2.INTER_AREA
    picture = cv2.resize(rgb, size, interpolation=method) if scale != 1 else rgb.copy()
    thickness = max(1, round(max(size) / 500))
    ordered = sorted(objects, key=lambda o: -(o.box[2] - o.box[0]) * (o.box[3] - o.box[1]))
    for item in ordered:
        mask = segmentation_bitmap(item.segmentation, height, width)
        if mask is not None:
            _blend_mask(picture, mask, class_colour(item.label), thickness)
    for item in ordered:
        corners = np.rint(np.array(item.box) * scale).astype(int).tolist()
        cv2.rectangle(picture, corners[:2], corners[2:], class_colour(item.label), thickness, cv2.LINE_AA)
    _draw_labels(picture, ordered, scale)
    return picture


def segmentation_bitmap(segmentation: Any, height: int, width: int) -> np.ndarray | None:
    """Returns polygons, an RLE or a compressed RLE as uint8 [height, width] of 0 and 1; None if there is no area."""
    if isinstance(segmentation, list):
        polygons = [polygon for polygon in segmentation if len(polygon) >= 6]
        if not polygons:
            return None
        rle = coco_mask.merge(coco_mask.frPyObjects(polygons, height, width))
    elif not segmentation:
        return None
    elif isinstance(segmentation["counts"], list):
        rle = coco_mask.frPyObjects(segmentation, height, width)
    else:
        rle = segmentation
    bitmap = coco_mask.decode(rle)
    return bitmap if bitmap.any() else None


def _blend_mask(picture: np.ndarray, mask: np.ndarray, colour: tuple[int, int, int], thickness: int) -> None:
    """Tints the mask's pixels and draw its outline, in place."""
    size = (picture.shape[1], picture.shape[0])
    # Interpolating and cutting at one half gives smooth outlines where the picture is enlarged.
    mask = (cv2.resize(mask * np.uint8(255), size, interpolation=cv2.INTER_LINEAR) >= 128).astype(np.uint8)
    x, y, w, h = cv2.boundingRect(mask)
    if w == 0 or h == 0:
        return
    part, inside = picture[y : y + h, x : x + w], mask[y : y + h, x : x + w].astype(bool)
    tinted = part[inside] * (1 - MASK_ALPHA) + np.array(colour, np.float32) * MASK_ALPHA
    part[inside] = np.rint(tinted).astype(np.uint8)
    contours, _ = cv2.findContours(mask, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
    cv2.drawContours(picture, contours, -1, colour, max(1, thickness - 1), cv2.LINE_AA)


def _draw_labels(picture: np.ndarray, objects: Sequence[DrawnObject], scale: float) -> None:
    """Writes each object's text on a ground of its colour, smallest objects first to the place they want."""
    height, width = picture.shape[:2]
    font_scale = max(0.4, min(0.7, max(height, width) / 1800))
    taken: list[tuple[int, int, int, int]] = []
    for item in reversed(objects):
        text_width, above, below = text_size(item.text, font_scale)
        label_size = (text_width + 6, above + below + 4)
        x, y = _label_place(np.array(item.box) * scale, label_size, (width, height), taken)
        taken.append((x, y, x + label_size[0], y + label_size[1]))
        colour = class_colour(item.label)
        cv2.rectangle(picture, (x, y), (x + label_size[0] - 1, y + label_size[1] - 1), colour, cv2.FILLED)
        light = 0.299 * colour[0] + 0.587 * colour[1] + 0.114 * colour[2] > 140
        base = (x + 3, y + label_size[1] - below - 2)
        draw_text(picture, item.text, base, font_scale, BLACK if light else WHITE)


def _label_place(
    box: np.ndarray, label: tuple[int, int], picture: tuple[int, int], taken: Sequence[tuple[int, ...]]
) -> tuple[int, int]:
    """Top left corner for a label: above the box, in its upper corner or below it, where it is free."""
    x1, y1, x2, y2 = np.rint(box).astype(int).tolist()
    candidates = [(x1, y1 - label[1]), (x1, y1), (x2 - label[0], y1 - label[1]), (x1, y2)]
    candidates += [(x1, y1 + step * label[1]) for step in range(1, 6)]

    def clipped(place: tuple[int, int]) -> tuple[int, int]:
        return tuple(max(min(p, side - length), 0) for p, side, length in zip(place, picture, label))

    def free(place: tuple[int, int]) -> bool:
        x, y = place
        return all(
            x >= right or x + label[0] <= left or y >= bottom or y + label[1] <= top
            for left, top, right, bottom in taken
        )

    places = [clipped(place) for place in candidates]
    return next((place for place in places if free(place)), places[0])


def side_by_side(pictures: Sequence[np.ndarray], titles: Sequence[str]) -> np.ndarray:
    """Puts pictures uint8 [h, w, 3] in a row, each under its title: uint8 [H, W, 3]."""
    height, bar, gap = max(p.shape[0] for p in pictures), 30, 8
    columns = []
    for picture, title in zip(pictures, titles):
        column = np.full((height + bar, picture.shape[1], 3), GREY, np.uint8)
        column[bar : bar + picture.shape[0]] = picture
        draw_text(column, title, (8, 21), 0.6, WHITE)
        columns += [column, np.full((height + bar, gap, 3), GREY, np.uint8)]
    return np.concatenate(columns[:-1], axis=1)


def save_picture(path: Path, rgb: np.ndarray) -> None:
    """Writes uint8 RGB [h, w, 3] as a JPEG, signed as drawn here, whole or not at all.

    Raises:
        EvaluationError: It cannot be encoded or written.
    """
    encoded, data = cv2.imencode(".jpg", cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR))
    if not encoded:
        raise EvaluationError(f"cannot encode the picture {path} of {rgb.shape[1]}x{rgb.shape[0]} pixels")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with whole_file(path) as file:
            file.write(_signed(data.tobytes()))
    except OSError as error:
        raise EvaluationError(f"cannot write the picture {path}: {error.strerror or error}") from error


def is_own_picture(path: Path) -> bool:
    """Returns whether a file has the signature of pictures drawn here; False for one that cannot be read."""
    try:
        with open(path, "rb") as file:
            start = file.read(256)
    except OSError:
        return False
    jpeg = start.startswith(_START_OF_IMAGE) and _comment() in start
    return jpeg or start[_PNG_HEADER : _PNG_HEADER + len(_PNG_TEXT)] == _PNG_TEXT


def signed_png(png: bytes) -> bytes:
    """Returns a PNG with the signature as a text chunk behind its header."""
    return png[:_PNG_HEADER] + _PNG_TEXT + png[_PNG_HEADER:]


def _signed(jpeg: bytes) -> bytes:
    """A JPEG with the signature behind its first segment, which has to be the JFIF header."""
    header = 2 + 2 + int.from_bytes(jpeg[4:6], "big")
    return jpeg[:header] + _comment() + jpeg[header:]


def _comment() -> bytes:
    return _COMMENT + (2 + len(SIGNATURE)).to_bytes(2, "big") + SIGNATURE


def _corners(bbox: Sequence[float]) -> tuple[float, float, float, float]:
    x, y, width, height = bbox
    return x, y, x + width, y + height
