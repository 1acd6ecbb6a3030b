"""LabelMe: one JSON file for an image, beside it.

Polygons, circles and masks are masks; a rectangle is a box. Shapes of one label and one group id are parts of one
object; a rectangle in a group with masks belongs to the mask.
"""

from __future__ import annotations

import base64
import binascii
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple, Optional

import cv2
import numpy as np

from maskrcnn.data.formats.files import read_json, start_of
from maskrcnn.data.formats.geometry import (
    bitmap_to_rle,
    box_of,
    ellipse,
    paste_bitmap,
    points_to_polygon,
    rectangle,
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

_NOT_OBJECTS = ("_background_", "__ignore__")
_WITHOUT_AREA = ("point", "points")
_LINES = ("line", "linestrip")
_Size = tuple[Optional[int], Optional[int]]  # height and width


def find(tree: FileTree) -> list[Path]:
    """Returns the JSON files with the keys of LabelMe."""
    return [path for path in tree.with_suffix(".json") if _is_labelme(path)]


def read(files: list[Path], finder: ImageFinder, options: ReadOptions) -> LabelSet:
    """Returns the labels of LabelMe files, and the images in their folders that have no file."""
    labels = LabelSet("labelme", iter(()))
    labels.images = _images(files, finder, options, labels.issues)
    return labels


FORMAT = LabelFormat("labelme", "LabelMe JSON", find, read)


def _is_labelme(path: Path) -> bool:
    start = start_of(path)
    if not start.lstrip().startswith("{"):
        return False
    if ('"shapes"' in start and '"shape_type"' in start) or '"imagePath"' in start:
        return True
    if any(key in start for key in ('"annotations"', '"categories"', '"filename"', '"_via_')):
        return False
    try:  # the image may be embedded before the shapes
        content = read_json(path)
    except LabelFileError:
        return '"shapes"' in start
    return isinstance(content, dict) and "shapes" in content and "imagePath" in content


class _Shape(NamedTuple):
    label: str
    group: Any
    part: Part


def _images(
    files: list[Path], finder: ImageFinder, options: ReadOptions, issues: list[Issue]
) -> Iterator[LabelledImage]:
    labelled = set()
    for path in files:
        try:
            image = _image(path, finder, options)
        except LabelFileError as error:
            issues.append(unusable_file(path, error))
            continue
        labelled.add(image.path)
        yield image
    broken = {(path.parent, path.stem) for path in files}
    folders = {path.parent for path in labelled if path is not None}
    for path in finder.images:
        if path.parent in folders and path not in labelled and (path.parent, path.stem) not in broken:
            yield LabelledImage(path.name, str(path), path, split=split_of(path, finder.root), labelled=False)


def _image(path: Path, finder: ImageFinder, options: ReadOptions) -> LabelledImage:
    content = read_json(path)
    if not isinstance(content, dict) or not isinstance(content.get("shapes"), list):
        raise LabelFileError("it has no list of shapes")
    name = content.get("imagePath")
    if not isinstance(name, str) or not name:
        raise LabelFileError(f"its imagePath is {name!r}, not the name of an image")
    height, width = (content.get(key) for key in ("imageHeight", "imageWidth"))
    height, width = (side if type(side) is int and side > 0 else None for side in (height, width))
    issues: list[Issue] = []
    shapes = []
    for number, entry in enumerate(content["shapes"], 1):
        where = f"{path}: shape {number}"
        try:
            shape = _shape(entry, number, (height, width), options)
        except ValueError as error:
            issues.append(Issue(Reason.MALFORMED, f"{where}: {error}"))
            continue
        if isinstance(shape, Reason):
            issues.append(Issue(shape, f"{where} ({entry.get('shape_type')})"))
        elif shape is not None:
            shapes.append(shape)
    image = finder.find(name, path.parent) or finder.find(path.stem + Path(name).suffix, path.parent)
    return LabelledImage(
        name=Path(name.replace("\\", "/")).name,
        where=str(path),
        path=image,
        data=None if image else _embedded(content.get("imageData"), path, issues),
        objects=_objects(shapes, options),
        height=height,
        width=width,
        issues=issues,
        split=split_of(image or path, finder.root),
    )


def _shape(entry: Any, number: int, size: _Size, options: ReadOptions) -> _Shape | Reason | None:
    """Returns one shape; a Reason for one that is no object, None for LabelMe's own background.

    Raises:
        ValueError: it is malformed.
    """
    if not isinstance(entry, dict):
        raise ValueError("it is no JSON object")
    label = entry.get("label")
    if not isinstance(label, str) or not label.strip():
        raise ValueError(f"its label is {label!r}, not a name")
    if label.strip() in _NOT_OBJECTS:
        return None
    kind = entry.get("shape_type") or "polygon"
    points = points_to_polygon(entry.get("points"))
    if kind in _WITHOUT_AREA or (kind in _LINES and not options.line_width):
        return Reason.NO_AREA
    part = _part(entry, kind, points, size, number, options)
    group = entry.get("group_id")
    return _Shape(label.strip(), number if group is None else (label, str(group)), part)


def _part(entry: dict, kind: str, points: list[float], size: _Size, number: int, options: ReadOptions) -> Part:
    name = f"shape {number}"
    if kind in ("polygon", "oriented_rectangle"):
        return Part(name, polygons=[points])
    if kind in _LINES:
        return Part(name, polygons=widened_line(points, options.line_width))
    if len(points) != 4:
        raise ValueError(f"a {kind} has two points, this has {len(points) // 2}")
    x1, y1, x2, y2 = points
    if kind == "rectangle":
        return Part(name, box=box_of(points), polygons=[rectangle(*box_of(points))])
    if kind == "circle":
        radius = math.hypot(x2 - x1, y2 - y1)
        return Part(name, polygons=[ellipse(x1, y1, radius, radius)])
    if kind == "mask":
        if None in size:
            raise ValueError("its mask needs imageHeight and imageWidth")
        return Part(name, rle=bitmap_to_rle(paste_bitmap(_mask(entry.get("mask")), round(y1), round(x1), *size)))
    raise ValueError(f"its shape_type {kind!r} is unknown")


def _mask(text: Any) -> np.ndarray:
    data = _decoded(text)
    mask = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_GRAYSCALE) if data else None
    if mask is None:
        raise ValueError("its mask is no embedded image")
    return mask


def _embedded(text: Any, path: Path, issues: list[Issue]) -> bytes | None:
    """Returns the bytes of the embedded image, None where there is none."""
    if text is None:
        return None
    data = _decoded(text)
    if data is None:
        issues.append(Issue(Reason.MALFORMED, f"{path}: its imageData is no base64 text"))
    return data


def _decoded(text: Any) -> bytes | None:
    if not isinstance(text, str):
        return None
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return None


def _objects(shapes: list[_Shape], options: ReadOptions) -> list[LabelledObject]:
    groups: dict[Any, list[_Shape]] = {}
    for shape in shapes:
        groups.setdefault(shape.group, []).append(shape)
    return [
        join_parts(group[0].label, [shape.part for shape in group], options.rectangles_are_masks)
        for group in groups.values()
    ]
