"""YOLO: a text file for an image, coordinates as fractions of its sides.

A line is ``class cx cy width height`` for a box, or ``class x1 y1 x2 y2 x3 y3 ...`` for a polygon. Names and folders
are those of ``data.yaml``; without one, ``classes.txt`` (or ``obj.names``) lies with the text files, which lie beside
the images or in a folder ``labels`` beside ``images``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from maskrcnn.data.formats.files import read_text, start_of
from maskrcnn.data.formats.labels import (
    SPLITS,
    LabelFileError,
    LabelFormat,
    LabelledImage,
    LabelledObject,
    LabelSet,
    ReadOptions,
    split_of,
    unusable_file,
)
from maskrcnn.data.formats.tree import FileTree, ImageFinder
from maskrcnn.data.sources.report import Issue, Reason

_NAME_FILES = ("classes.txt", "obj.names", "classes.names", "labels.txt", "_darknet.labels")
_LINE = re.compile(r"\s*\d+(\s+-?[\d.]+(e-?\d+)?){4,}\s*$", re.IGNORECASE)
_BOX = 4  # coordinates; a prediction's confidence may follow
_FARTHEST = 2.0  # fractions beyond this are pixels, or something else altogether


def find(tree: FileTree) -> list[Path]:
    """Returns data.yaml files, files of names and label files: all text files of a folder where one looks like it."""
    texts = [path for path in tree.with_suffix(".txt") if path.name not in _NAME_FILES]
    folders = {path.parent for path in texts if _is_labels(start_of(path))}
    labels = [path for path in texts if path.parent in folders or (folders and "labels" in path.parts)]
    described = [path for path in tree.with_suffix(".yaml", ".yml") if _is_data_yaml(path)]
    if not labels:
        return []
    return [*described, *(path for path in tree.files if path.name in _NAME_FILES), *labels]


def read(files: list[Path], finder: ImageFinder, options: ReadOptions) -> LabelSet:
    """Returns the labels of a YOLO data set."""
    labels = LabelSet("yolo", iter(()))
    names: Sequence[str] = options.class_names
    splits: dict[Path, str] = {}
    boxes_only = False
    texts = []
    for path in files:
        try:
            if path.suffix.lower() in (".yaml", ".yml"):
                content = _read_yaml(path)
                names = names or _names_of(content)
                boxes_only = boxes_only or "kpt_shape" in content  # key points follow the box
                splits.update(_splits_of(content, path.parent))
            elif path.name in _NAME_FILES:
                names = names or read_names(path)
            else:
                texts.append(path)
        except LabelFileError as error:
            labels.issues.append(unusable_file(path, error))
    labels.classes = tuple(names)
    if not names:
        why = "there are no class names: give them by --class_names, or in data.yaml or classes.txt"
        labels.issues.append(unusable_file(finder.root, why))
        return labels
    labels.images = _images(texts, _Context(labels.classes, boxes_only, splits, finder), labels.issues)
    return labels


FORMAT = LabelFormat("yolo", "YOLO text files", find, read)


def read_names(path: Path) -> tuple[str, ...]:
    """Returns the class names of a text file, one a line.

    Raises:
        LabelFileError: it cannot be read, or holds none.
    """
    names = tuple(line.strip() for line in read_text(path).splitlines())
    while names and not names[-1]:
        names = names[:-1]
    if not names or not all(names):
        raise LabelFileError(f"its line {names.index('') + 1} is empty" if names else "it holds no class names")
    return names


def _is_data_yaml(path: Path) -> bool:
    start = start_of(path)
    return re.search(r"^names\s*:", start, re.MULTILINE) is not None


def _is_labels(start: str) -> bool:
    lines = [line for line in start.splitlines() if line.strip()]
    return bool(lines) and _LINE.match(lines[0]) is not None


def _read_yaml(path: Path) -> dict[str, Any]:
    try:
        content = yaml.safe_load(read_text(path))
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f"line {mark.line + 1}: " if mark else ""
        raise LabelFileError(f"it is no valid YAML ({line}{getattr(error, 'problem', error)})") from None
    if not isinstance(content, dict):
        raise LabelFileError("it has no keys")
    return content


def _names_of(content: dict[str, Any]) -> tuple[str, ...]:
    """Returns the class names in the order of their indices; a list, or a mapping from the indices.

    Raises:
        LabelFileError: they are neither, or an index is missing.
    """
    names = content.get("names")
    if isinstance(names, dict):
        if sorted(names, key=str) != sorted(range(len(names)), key=str):
            raise LabelFileError(f"its names are not numbered from 0 to {len(names) - 1}")
        names = [names[index] for index in range(len(names))]
    if not isinstance(names, list) or not names:
        raise LabelFileError("its names are no list of class names")
    return tuple(str(name).strip() for name in names)


def _splits_of(content: dict[str, Any], folder: Path) -> dict[Path, str]:
    """Returns the split of each folder or image that data.yaml names, as resolved paths; those that exist."""
    base = folder / str(content.get("path") or "")
    splits = {}
    for key in ("train", "val", "test"):
        named = content.get(key)
        for name in named if isinstance(named, list) else [named]:
            for path in (base / str(name), folder / str(name)) if name else ():
                if path.is_dir():
                    splits[path.resolve()] = SPLITS[key]
                elif path.suffix == ".txt" and path.is_file():
                    lines = read_text(path).split()
                    splits.update({(path.parent / line).resolve(): SPLITS[key] for line in lines})
    return splits


class _Context(NamedTuple):
    """What all label files of a data set share."""

    names: tuple[str, ...]
    boxes_only: bool
    splits: dict[Path, str]
    finder: ImageFinder

    def split(self, image: Path | None, labels: Path) -> str | None:
        """Returns the split of an image: as data.yaml says, or as the folders are called."""
        if image is not None and self.splits:
            resolved = image.resolve()
            for path in (resolved, *resolved.parents):
                if path in self.splits:
                    return self.splits[path]
        return split_of(labels, self.finder.root)


def _images(files: list[Path], context: _Context, issues: list[Issue]) -> Iterator[LabelledImage]:
    described = set()
    for path in files:
        image = context.finder.with_stem(path.stem, path.parent)
        described.add(image)
        try:
            lines = read_text(path).splitlines()
        except LabelFileError as error:
            issues.append(unusable_file(path, error))
            continue
        yield _labelled(path, lines, image, context)
    for image in context.finder.images:
        if image not in described:
            yield LabelledImage(image.name, str(image), image, split=context.split(image, image), labelled=False)


def _labelled(path: Path, lines: list[str], image: Path | None, context: _Context) -> LabelledImage:
    issues: list[Issue] = []
    objects = []
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        where = f"{path}: line {number}"
        try:
            found = _object(line, number, context.names, context.boxes_only)
        except ValueError as error:
            issues.append(Issue(Reason.MALFORMED, f"{where}: {error}"))
            continue
        if isinstance(found, int):
            last = len(context.names) - 1
            issues.append(Issue(Reason.UNKNOWN_CATEGORY, f"{where}: class {found}, the names are 0 to {last}"))
        else:
            objects.append(found)
    return LabelledImage(
        name=image.name if image else path.stem,
        where=str(path),
        path=image,
        objects=objects,
        issues=issues,
        split=context.split(image, path),
        relative=True,
    )


def _object(line: str, number: int, names: tuple[str, ...], boxes_only: bool) -> LabelledObject | int:
    """Returns the object of one line, or its class index where that is not one of ``names``.

    Raises:
        ValueError: the line is malformed.
    """
    first, *rest = line.split()
    if not first.isdecimal():
        raise ValueError(f"its class {first[:20]!r} is no index")
    try:
        values = [float(text) for text in rest]
    except ValueError:
        raise ValueError(f"{line.strip()[:60]!r} is not a class and numbers") from None
    if any(not abs(value) <= _FARTHEST for value in values):
        raise ValueError(f"{line.strip()[:60]!r} has coordinates that are no fractions of the image")
    if len(values) < _BOX:
        raise ValueError(f"it has {len(values)} numbers, a box has {_BOX} and a polygon six or more")
    index = int(first)
    if index >= len(names):
        return index
    where = f"line {number}"
    if boxes_only or len(values) in (_BOX, _BOX + 1):
        cx, cy, width, height = values[:_BOX]
        box = (cx - width / 2, cy - height / 2, cx + width / 2, cy + height / 2)
        return LabelledObject(names[index], where, box)
    if len(values) % 2:
        raise ValueError(f"its polygon has an odd number of coordinates ({len(values)})")
    return LabelledObject(names[index], where, segmentation=[values])
