"""The TXT format: one image a line, ``path x1,y1,x2,y2,class ...``, boxes in pixels and no masks.

``class`` is an index from 1 into the class names, which the format does not have: ``--class_names``, or a
``classes.txt`` beside the file.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from maskrcnn.data.formats.files import read_text, start_of
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
from maskrcnn.data.formats.tree import FileTree, ImageFinder
from maskrcnn.data.formats.yolo import read_names
from maskrcnn.data.sources.classes import without_background
from maskrcnn.data.sources.image_file import IMAGE_SUFFIXES
from maskrcnn.data.sources.report import Issue, Reason

_OBJECT = re.compile(r"[^,\s]+(,[^,\s]+){4}$")
_FIELDS = 5


def find(tree: FileTree) -> list[Path]:
    """Returns the text files of lines with an image and its boxes."""
    return [path for path in tree.with_suffix(".txt") if _is_txt(start_of(path))]


def read(files: list[Path], finder: ImageFinder, options: ReadOptions) -> LabelSet:
    """Returns the labels of TXT files."""
    labels = LabelSet("txt", iter(()))
    names = without_background(options.class_names)
    for path in files:
        if not names and (path.parent / "classes.txt").is_file():
            try:
                names = without_background(read_names(path.parent / "classes.txt"))
            except LabelFileError as error:
                labels.issues.append(unusable_file(path.parent / "classes.txt", error))
    labels.classes = names
    labels.images = _images(files, names, finder, labels.issues)
    return labels


FORMAT = LabelFormat("txt", "TXT: a line an image, boxes", find, read)


def _is_txt(start: str) -> bool:
    lines = [fields for line in start.splitlines() if (fields := line.split()) and not fields[0].startswith("#")]
    images = [fields for fields in lines if fields[0].lower().endswith(IMAGE_SUFFIXES)]
    return len(images) >= len(lines) / 2 and any(_OBJECT.match(fields[1]) for fields in images if len(fields) > 1)


def _images(
    files: list[Path], names: tuple[str, ...], finder: ImageFinder, issues: list[Issue]
) -> Iterator[LabelledImage]:
    for path in files:
        try:
            if not names:
                raise LabelFileError("the TXT format has no class names: give them by --class_names, or in classes.txt")
            lines = read_text(path).splitlines()
        except LabelFileError as error:
            issues.append(unusable_file(path, error))
            continue
        for number, line in enumerate(lines, 1):
            name, *fields = line.split() or ["#"]
            if not name.startswith("#"):
                yield _image(name, fields, path, number, names, finder)


def _image(
    name: str, fields: list[str], path: Path, number: int, names: tuple[str, ...], finder: ImageFinder
) -> LabelledImage:
    where = f"{path}: line {number} ({name})"
    issues: list[Issue] = []
    objects = []
    for position, field in enumerate(fields, 1):
        parts = field.split(",")
        try:
            if len(parts) != _FIELDS:
                raise ValueError
            box, label = tuple(map(float, parts[:4])), int(parts[4])
        except ValueError:
            issues.append(Issue(Reason.MALFORMED, f"{where}, object {position}: {field[:60]}"))
            continue
        if not 1 <= label <= len(names):
            issues.append(Issue(Reason.UNKNOWN_CATEGORY, f"{where}, object {position}: class {label} of {len(names)}"))
            continue
        objects.append(LabelledObject(names[label - 1], f"object {position}", box))
    image = finder.find(name, path.parent)
    split = split_of(Path(name), finder.root) or split_of(path, finder.root)
    return LabelledImage(name, where, image, objects, issues=issues, split=split)
