"""Readers of the label formats that annotation tools write.

All readers are our own. The well-kept library for this, datumaro, needs numpy 2.2 since its version 1.13, and MindSpore
2.10 needs numpy 1; it would also bring two dozen packages. And what matters here most is what it does not do: to say of
every label that cannot be used in which file it stands and what is wrong with it.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from maskrcnn.data.formats import coco, cvat, instance_png, labelme, object_png, txt, via, voc, yolo
from maskrcnn.data.formats.labels import LabelFormat, LabelSet, ReadOptions
from maskrcnn.data.formats.tree import FileTree, ImageFinder
from maskrcnn.errors import DataError

FORMATS = {
    module.FORMAT.name: module.FORMAT for module in (coco, labelme, via, cvat, yolo, voc, instance_png, object_png, txt)
}
"""The formats by their names, in the order of a table for users."""


def read_labels(
    source: Path, options: ReadOptions, format_name: str = "", image_folders: Sequence[Path] = ()
) -> LabelSet:
    """Recognises the format of a folder or file by its content, and reads it.

    Args:
        source: a folder with labels, or one label file.
        options: what the labels do not say themselves.
        format_name: the format to insist on; empty to recognise it.
        image_folders: where else images are to be looked for.

    Raises:
        DataError: the source is missing or empty, its format is not recognised, or it holds several.
    """
    if not source.exists():
        raise DataError(f"there is no file or folder {source}")
    tree = FileTree(source)
    if not tree.files:
        raise DataError(f"the folder {source} is empty")
    label_format, found = _recognised(tree, format_name)
    return label_format.read(found, ImageFinder(tree, image_folders), options)


def _recognised(tree: FileTree, format_name: str) -> tuple[LabelFormat, list[Path]]:
    if format_name:
        label_format = FORMATS[format_name]
        found = label_format.find(tree) or ([tree.source] if tree.source.is_file() else [])
        if not found:
            raise DataError(f"{tree.source} holds no labels of the format {format_name} ({label_format.title})")
        return label_format, found
    matches = [(known, found) for known in FORMATS.values() if (found := known.find(tree))]
    if not matches:
        known = ", ".join(FORMATS)
        raise DataError(f"no labels were recognised in {tree.source}: known formats are {known}; insist with --format")
    if len(matches) > 1:
        listed = " and ".join(f"{known.name} ({found[0]})" for known, found in matches)
        raise DataError(f"{tree.source} holds labels in several formats, {listed}: choose with --format, or by folder")
    return matches[0]
