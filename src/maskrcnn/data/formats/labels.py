"""What every label format is read into: images with labelled objects, in pixels of the image."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from maskrcnn.data.formats.tree import FileTree, ImageFinder
from maskrcnn.data.sources.report import Issue, Reason

SPLITS = {"train": "train", "training": "train", "val": "val", "valid": "val", "validation": "val", "test": "test"}
"""Folder and file names that say which split their images belong to."""


@dataclass(frozen=True)
class LabelledObject:
    """One object as a label file describes it, not yet checked against the image.

    Attributes:
        label: name of its class.
        where: what to call it in messages, for instance "shape 3".
        box: x1, y1, x2, y2; None where the mask's own bounds are the box.
        segmentation: polygons ``[[x1, y1, ...], ...]`` or a COCO RLE; None where only a box is known.
        crowd: a region to ignore rather than an object.
    """

    label: str
    where: str
    box: Sequence[float] | None = None
    segmentation: Any = None
    crowd: bool = False


@dataclass(frozen=True)
class LabelledImage:
    """One image with its objects.

    Attributes:
        name: its file name as the labels give it.
        where: the label file, and the entry in it, for messages.
        path: the image file; None where it is missing or embedded.
        data: the bytes of an embedded image; None otherwise.
        height: rows that the labels claim; None without a claim.
        width: columns that the labels claim; None without a claim.
        objects: what is labelled.
        issues: what was found wrong while the labels were read.
        split: "train", "val" or "test" where the source says so.
        relative: coordinates are fractions of the image's sides, not pixels.
        labelled: False for an image that has no labels of its own, not even empty ones.
    """

    name: str
    where: str
    path: Path | None
    objects: Sequence[LabelledObject] = ()
    data: bytes | None = None
    height: int | None = None
    width: int | None = None
    issues: Sequence[Issue] = ()
    split: str | None = None
    relative: bool = False
    labelled: bool = True


@dataclass(frozen=True)
class ReadOptions:
    """What a user may say about labels that do not say it themselves.

    Attributes:
        class_names: names of the classes, in the order of their indices, for formats without names.
        class_name: the class of masks that have none.
        label_attribute: the attribute of a region that holds its class.
        line_width: pixels that open lines are widened to; 0 leaves lines out.
        rectangles_are_masks: rectangles are the objects' outlines rather than boxes around them.
        split_parts: every connected part of a mask image is an object of its own.
    """

    class_names: tuple[str, ...] = ()
    class_name: str = "object"
    label_attribute: str = ""
    line_width: float = 0.0
    rectangles_are_masks: bool = False
    split_parts: bool = False


@dataclass
class LabelSet:
    """The labels of one source.

    Attributes:
        format: name of the format.
        classes: names in the source's own order; empty where it has none.
        images: the images, read one by one while they are iterated.
        issues: what concerns no single image; complete once ``images`` is exhausted.
    """

    format: str
    images: Iterator[LabelledImage]
    classes: Sequence[str] = ()
    issues: list[Issue] = field(default_factory=list)


class LabelFormat(NamedTuple):
    """One format.

    Attributes:
        name: what ``--format`` calls it.
        title: what it is, for a table.
        find: the label files (or folders) of this format in a tree; empty where there are none.
        read: their labels.
    """

    name: str
    title: str
    find: Callable[[FileTree], list[Path]]
    read: Callable[[list[Path], ImageFinder, ReadOptions], LabelSet]


class LabelFileError(ValueError):
    """A label file that cannot be used at all; the message says why."""


def unusable_file(path: Path, why: object) -> Issue:
    """Returns the issue of a label file that cannot be used."""
    return Issue(Reason.UNREADABLE_LABELS, f"{path}: {why}")


def split_of(path: Path, root: Path) -> str | None:
    """Returns the split that a path's own name or its folders below ``root`` say, the innermost first."""
    try:
        parts = path.relative_to(root).parts
    except ValueError:
        parts = path.parts[-3:]
    for part in reversed(parts):
        word = part.lower().split(".")[0].rstrip("0123456789_-")
        if (split := SPLITS.get(word) or SPLITS.get(word.rsplit("_", 1)[-1])) is not None:
            return split
    return None
