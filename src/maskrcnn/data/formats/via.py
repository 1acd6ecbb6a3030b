"""VGG Image Annotator (VIA 1 and 2): a JSON file of regions, a whole project, or a CSV file with a line a region.

The class is an attribute of each region; which one is found out, or named by ``--label_attribute``.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from maskrcnn.data.formats.files import read_json, read_text, start_of
from maskrcnn.data.formats.geometry import ellipse, number, rectangle, widened_line
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

_PROJECT = "_via_img_metadata"
_USUAL_ATTRIBUTES = ("label", "labels", "class", "classname", "class_name", "category", "name", "type", "object")
_COLUMNS = ("filename", "region_shape_attributes", "region_attributes")
_FIELD_LIMIT = 1 << 27  # of the csv module, which refuses the outline of a large polygon at 128 KiB


class _Region(NamedTuple):
    where: str
    shape: Any
    attributes: Any


class _Entry(NamedTuple):
    """One image of a file."""

    name: str
    where: str
    regions: list[_Region]


def find(tree: FileTree) -> list[Path]:
    """Returns the JSON and CSV files with the keys of VIA."""
    found = [path for path in tree.with_suffix(".json") if _is_json(start_of(path))]
    return found + [path for path in tree.with_suffix(".csv") if "region_shape_attributes" in start_of(path)]


def read(files: list[Path], finder: ImageFinder, options: ReadOptions) -> LabelSet:
    """Returns the labels of VIA files."""
    labels = LabelSet("via", iter(()))
    labels.images = _images(files, finder, options, labels.issues)
    return labels


FORMAT = LabelFormat("via", "VIA JSON or CSV", find, read)


def _is_json(start: str) -> bool:
    return _PROJECT in start or "_via_settings" in start or ('"filename"' in start and '"regions"' in start)


def _images(
    files: list[Path], finder: ImageFinder, options: ReadOptions, issues: list[Issue]
) -> Iterator[LabelledImage]:
    for path in files:
        try:
            entries = _csv_entries(path) if path.suffix.lower() == ".csv" else _json_entries(path, issues)
            attribute = options.label_attribute or _label_attribute(path, entries)
        except LabelFileError as error:
            issues.append(unusable_file(path, error))
            continue
        for entry in entries:
            yield _image(entry, path, attribute, finder, options)


def _json_entries(path: Path, issues: list[Issue]) -> list[_Entry]:
    content = read_json(path)
    if isinstance(content, dict) and _PROJECT in content:
        content = content[_PROJECT]
    if not isinstance(content, (dict, list)):
        raise LabelFileError("it holds no images with regions")
    entries = []
    for key, value in content.items() if isinstance(content, dict) else enumerate(content):
        where = f"{path}: image {str(key)[:80]!r}"
        name = value.get("filename") if isinstance(value, dict) else None
        regions = value.get("regions", []) if isinstance(value, dict) else None
        if isinstance(regions, dict):  # of VIA 1: {"0": region, ...}
            regions = list(regions.values())
        if not isinstance(name, str) or not name or not isinstance(regions, list):
            issues.append(Issue(Reason.MALFORMED, f"{where} has no filename with regions"))
            continue
        found = []
        for index, region in enumerate(regions):
            region = region if isinstance(region, dict) else {}
            shape, attributes = region.get("shape_attributes"), region.get("region_attributes")
            found.append(_Region(f"region {index}", shape, attributes))
        entries.append(_Entry(name, f"{path}: {name}", found))
    return entries


def _csv_entries(path: Path) -> list[_Entry]:
    csv.field_size_limit(_FIELD_LIMIT)
    rows = csv.DictReader(io.StringIO(read_text(path), newline=""))
    rows.fieldnames = [str(name).lstrip("#").strip() for name in rows.fieldnames or ()]
    missing = [name for name in _COLUMNS if name not in rows.fieldnames]
    if missing:
        raise LabelFileError(f"it has no column '{missing[0]}'")
    entries: dict[str, _Entry] = {}
    try:
        for row in rows:
            name = row["filename"] or ""
            entry = entries.setdefault(name, _Entry(name, f"{path}: {name}", []))
            shape, attributes = (_parsed(row[key]) for key in _COLUMNS[1:])
            if shape != {}:  # of a line for an image without regions
                entry.regions.append(_Region(f"line {rows.line_num}", shape, attributes))
    except csv.Error as error:
        raise LabelFileError(f"line {rows.line_num} is no CSV ({error})") from None
    return list(entries.values())


def _parsed(text: str | None) -> Any:
    """Returns the JSON value in a field of the CSV; None where it is none."""
    if text is None or text == "":
        return {} if text == "" else None
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _label_attribute(path: Path, entries: Iterable[_Entry]) -> str | None:
    """Returns the attribute that holds the class; None where no region has attributes.

    Raises:
        LabelFileError: there are several, none with a usual name.
    """
    names: dict[str, None] = {}
    for entry in entries:
        for region in entry.regions:
            if isinstance(region.attributes, dict):
                names.update(dict.fromkeys(region.attributes))
    if len(names) <= 1:
        return next(iter(names), None)
    usual = [name for wanted in _USUAL_ATTRIBUTES for name in names if name.lower() == wanted]
    if not usual:
        raise LabelFileError(
            f"its regions have the attributes {', '.join(names)}: name the class's by --label_attribute"
        )
    return usual[0]


def _image(
    entry: _Entry, path: Path, attribute: str | None, finder: ImageFinder, options: ReadOptions
) -> LabelledImage:
    issues: list[Issue] = []
    objects = []
    for region in entry.regions:
        where = f"{entry.where}, {region.where}"
        try:
            found = _object(region, attribute, options)
        except ValueError as error:
            issues.append(Issue(Reason.MALFORMED, f"{where}: {error}"))
            continue
        if isinstance(found, Reason):
            issues.append(Issue(found, f"{where} ({region.shape.get('name')})"))
        else:
            objects.append(found)
    image = finder.find(entry.name, path.parent)
    split = split_of(image or path, finder.root) or split_of(path, finder.root)
    return LabelledImage(entry.name, entry.where, image, objects, issues=issues, split=split)


def _object(region: _Region, attribute: str | None, options: ReadOptions) -> LabelledObject | Reason:
    if not isinstance(region.shape, dict):
        raise ValueError("it has no shape_attributes")
    kind = region.shape.get("name")
    if kind == "point" or (kind == "polyline" and not options.line_width):
        return Reason.NO_AREA
    part = _part(region, kind, options)
    return join_parts(_label(region.attributes, attribute, options), [part], options.rectangles_are_masks)


def _part(region: _Region, kind: Any, options: ReadOptions) -> Part:
    shape = region.shape

    def side(key: str) -> float:
        if key not in shape:
            raise ValueError(f"its {kind} has no '{key}'")
        return number(shape[key])

    if kind in ("polygon", "polyline"):
        xs, ys = shape.get("all_points_x"), shape.get("all_points_y")
        if not isinstance(xs, list) or not isinstance(ys, list) or len(xs) != len(ys):
            raise ValueError("its all_points_x and all_points_y are no lists of equal length")
        points = [number(value) for point in zip(xs, ys) for value in point]
        return Part(region.where, polygons=[points] if kind == "polygon" else widened_line(points, options.line_width))
    if kind == "rect":
        corners = (side("x"), side("y"), side("x") + side("width"), side("y") + side("height"))
        return Part(region.where, box=corners, polygons=[rectangle(*corners)])
    if kind == "circle":
        return Part(region.where, polygons=[ellipse(side("cx"), side("cy"), side("r"), side("r"))])
    if kind == "ellipse":
        angle = number(shape.get("theta", 0))  # radians, clockwise as the image is seen
        return Part(region.where, polygons=[ellipse(side("cx"), side("cy"), side("rx"), side("ry"), angle)])
    raise ValueError(f"its shape {kind!r} is unknown")


def _label(attributes: Any, attribute: str | None, options: ReadOptions) -> str:
    """Returns the class of a region: text, the one option that is ticked, or the class of all where there is none.

    Raises:
        ValueError: the region has no class, or several.
    """
    if attribute is None:
        return options.class_name
    value = attributes.get(attribute) if isinstance(attributes, dict) else None
    if isinstance(value, dict):
        ticked = [name for name, on in value.items() if on]
        value = ticked[0] if len(ticked) == 1 else None
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        value = f"{value:g}"
    if not isinstance(value, str) or not value.strip():
        raise ValueError(f"its attribute '{attribute}' names no class")
    return value.strip()
