"""CVAT XML for images 1.1: one file for all images of a task or project.

Polygons, ellipses and masks are masks, a box is a box. Shapes of one label and one group id are parts of one object.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple
from xml.etree.ElementTree import Element

import numpy as np

from maskrcnn.data.formats.files import iter_xml, start_of
from maskrcnn.data.formats.geometry import (
    bitmap_to_rle,
    box_of,
    ellipse,
    number,
    paste_bitmap,
    rectangle,
    rotated,
    widened_line,
)
from maskrcnn.data.formats.labels import (
    LabelFileError,
    LabelFormat,
    LabelledImage,
    LabelledObject,
    LabelSet,
    ReadOptions,
    split_of,
    unusable_file,
)
from maskrcnn.data.formats.parts import Part, join_parts
from maskrcnn.data.formats.tree import FileTree, ImageFinder
from maskrcnn.data.sources.report import Issue, Reason

_WITHOUT_AREA = ("points", "cuboid", "skeleton")
_SHAPES = ("polygon", "polyline", "box", "ellipse", "mask", *_WITHOUT_AREA)


class _Shape(NamedTuple):
    label: str
    group: Any
    part: Part


def find(tree: FileTree) -> list[Path]:
    """Returns the XML files whose root is CVAT's."""
    return [path for path in tree.with_suffix(".xml") if "<annotations" in start_of(path)]


def read(files: list[Path], finder: ImageFinder, options: ReadOptions) -> LabelSet:
    """Returns the labels of CVAT files, classes in the task's order."""
    labels = LabelSet("cvat", iter(()))
    names: dict[str, None] = {}
    usable = []
    for path in files:
        try:
            names.update(dict.fromkeys(_label_names(path)))
            usable.append(path)
        except LabelFileError as error:
            labels.issues.append(unusable_file(path, error))
    labels.classes = tuple(names)
    labels.images = _images(usable, finder, options, labels.issues)
    return labels


FORMAT = LabelFormat("cvat", "CVAT XML for images", find, read)


def _label_names(path: Path) -> list[str]:
    """Returns the names of the task's labels, which stand before the images.

    Raises:
        LabelFileError: it is CVAT's other format, for videos.
    """
    names = []
    for element in iter_xml(path, ("label", "image", "track")):
        if element.tag == "track":
            raise LabelFileError("it is CVAT's XML for videos: export the task as 'CVAT for images 1.1'")
        if element.tag == "image":
            break
        if name := (element.findtext("name") or "").strip():
            names.append(name)
    return names


def _images(
    files: list[Path], finder: ImageFinder, options: ReadOptions, issues: list[Issue]
) -> Iterator[LabelledImage]:
    for path in files:
        try:
            for element in iter_xml(path, ("image",)):
                yield _image(element, path, finder, options)
        except LabelFileError as error:
            issues.append(unusable_file(path, error))


def _image(element: Element, path: Path, finder: ImageFinder, options: ReadOptions) -> LabelledImage:
    name = element.get("name", "")
    where = f"{path}: image {element.get('id', '?')} ({name})"
    height, width = (_side(element.get(key)) for key in ("height", "width"))
    issues: list[Issue] = []
    groups: dict[Any, list[_Shape]] = {}
    for position, entry in enumerate(element, 1):
        if entry.tag not in _SHAPES:
            continue
        at = f"{entry.tag} {position}"
        if entry.tag in _WITHOUT_AREA or (entry.tag == "polyline" and not options.line_width):
            issues.append(Issue(Reason.NO_AREA, f"{where}, {at}"))
            continue
        try:
            shape = _shape(entry, at, (height, width), options)
        except ValueError as error:
            issues.append(Issue(Reason.MALFORMED, f"{where}, {at}: {error}"))
            continue
        groups.setdefault(shape.group or position, []).append(shape)
    image = finder.find(name, path.parent) if name else None
    return LabelledImage(
        name=name,
        where=where,
        path=image,
        objects=[_joined(group, options) for group in groups.values()],
        height=height,
        width=width,
        issues=issues,
        split=split_of(Path(element.get("subset") or image or path), finder.root),
    )


def _joined(group: list[_Shape], options: ReadOptions) -> LabelledObject:
    return join_parts(group[0].label, [shape.part for shape in group], options.rectangles_are_masks)


def _shape(entry: Element, at: str, size: tuple[int | None, int | None], options: ReadOptions) -> _Shape:
    label = entry.get("label", "").strip()
    if not label:
        raise ValueError("it has no label")
    group = entry.get("group_id", "0")
    return _Shape(label, (label, group) if group != "0" else None, _part(entry, at, size, options))


def _part(entry: Element, at: str, size: tuple[int | None, int | None], options: ReadOptions) -> Part:
    def value(key: str) -> float:
        if entry.get(key) is None:
            raise ValueError(f"it has no '{key}'")
        return number(entry.get(key))

    angle = math.radians(number(entry.get("rotation", 0)))  # clockwise as the image is seen
    if entry.tag in ("polygon", "polyline"):
        points = [number(v) for pair in entry.get("points", "").split(";") for v in _pair(pair)]
        return Part(at, polygons=[points] if entry.tag == "polygon" else widened_line(points, options.line_width))
    if entry.tag == "box":
        corners = (value("xtl"), value("ytl"), value("xbr"), value("ybr"))
        outline = rectangle(*corners)
        if angle:
            outline = rotated(outline, angle, ((corners[0] + corners[2]) / 2, (corners[1] + corners[3]) / 2))
            corners = box_of(outline)
        return Part(at, box=corners, polygons=[outline])
    if entry.tag == "ellipse":
        return Part(at, polygons=[ellipse(value("cx"), value("cy"), value("rx"), value("ry"), angle)])
    if None in size:
        raise ValueError("a mask needs the image's height and width")
    top, left, rows, columns = (int(value(key)) for key in ("top", "left", "height", "width"))
    bitmap = _bitmap(entry.get("rle", ""), rows, columns)
    return Part(at, rle=bitmap_to_rle(paste_bitmap(bitmap, top, left, *size)))


def _pair(text: str) -> list[str]:
    pair = text.split(",")
    if len(pair) != 2:
        raise ValueError(f"its points {text[:40]!r} are no pair of numbers")
    return pair


def _bitmap(text: str, rows: int, columns: int) -> np.ndarray:
    """Returns a mask given by runs along the rows of its own rectangle, background first: uint8 [rows, columns]."""
    try:
        runs = [int(run) for run in text.split(",")]
    except ValueError:
        raise ValueError(f"its rle {text[:40]!r} is no list of whole numbers") from None
    if min(runs) < 0 or sum(runs) != rows * columns or not runs:
        raise ValueError(f"its rle does not add up to {columns}x{rows} pixels")
    return np.repeat(np.arange(len(runs)) % 2, runs).reshape(rows, columns).astype(np.uint8)


def _side(text: str | None) -> int | None:
    return int(text) if text and text.isdecimal() and int(text) > 0 else None
