"""Pascal VOC: XML boxes in ``Annotations``, one mask image for all objects of an image in ``SegmentationObject``.

A mask's class is the colour of its pixels in ``SegmentationClass``, named by ``labelmap.txt`` or else VOC's own colours
and classes. A box of an XML file and a mask of the same class that it fits are one object; what is left of either is
an object of its own. Boxes are read as they are, except those of VOC itself, which count pixels from 1.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple
from xml.etree.ElementTree import Element

import numpy as np
from pycocotools import mask as coco_mask

from maskrcnn.data.formats.files import iter_xml, read_bitmap, read_text, start_of
from maskrcnn.data.formats.geometry import bitmap_to_rle, number
from maskrcnn.data.formats.labels import (
    SPLITS,
    LabelFileError,
    LabelFormat,
    LabelledImage,
    LabelledObject,
    LabelSet,
    ReadOptions,
    unusable_file,
)
from maskrcnn.data.formats.tree import FileTree, ImageFinder
from maskrcnn.data.sources.report import Issue, Reason

_OBJECTS, _CLASSES = "SegmentationObject", "SegmentationClass"
_NAMES = (
    *("aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow", "diningtable", "dog"),
    *("horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor"),
)
_BACKGROUND = ("background", "void")
_VOID = 0xE0E0C0  # the colour of index 255: borders that belong to no object
_SAME = 0.5  # intersection over union from which a box and a mask are one object


def find(tree: FileTree) -> list[Path]:
    """Returns the XML files whose root is VOC's, and the mask images in SegmentationObject."""
    boxes = [path for path in tree.with_suffix(".xml") if _is_voc(start_of(path))]
    return boxes + [path for path in tree.with_suffix(".png") if path.parent.name == _OBJECTS]


def read(files: list[Path], finder: ImageFinder, options: ReadOptions) -> LabelSet:
    """Returns the labels of a VOC data set; classes in the order of labelmap.txt."""
    labels = LabelSet("voc", iter(()))
    colours = _standard_colours(options.class_names or _NAMES)
    for path in finder.tree.with_suffix(".txt"):
        if path.name == "labelmap.txt":
            try:
                colours = _read_label_map(path)
                labels.classes = tuple(dict.fromkeys(name for name in colours.values() if name not in _BACKGROUND))
            except LabelFileError as error:
                labels.issues.append(unusable_file(path, error))
    labels.images = _images(files, _Context(colours, _splits(finder.tree), finder, options), labels.issues)
    return labels


FORMAT = LabelFormat("voc", "Pascal VOC", find, read)


class _Context(NamedTuple):
    """What all images of a data set share; ``colours`` are red * 65536 + green * 256 + blue."""

    colours: dict[int, str]
    splits: dict[str, str]
    finder: ImageFinder
    options: ReadOptions


def _is_voc(start: str) -> bool:
    return "<annotation>" in start or "<annotation " in start


def _standard_colours(names: tuple[str, ...]) -> dict[int, str]:
    """Returns VOC's colour of each class: the bits of its index, three at a time, from the top bits down."""
    colours = {}
    for index, name in enumerate(names, 1):
        channels = [0, 0, 0]
        for position in range(8):
            for channel in range(3):
                channels[channel] |= (index >> (3 * position + channel) & 1) << (7 - position)
        colours[(channels[0] << 16) + (channels[1] << 8) + channels[2]] = name
    return colours


def _read_label_map(path: Path) -> dict[int, str]:
    """Returns the colours of a file of lines ``name:red,green,blue:parts:actions``.

    Raises:
        LabelFileError: a line is none.
    """
    colours = {}
    for row, line in enumerate(read_text(path).splitlines(), 1):
        name, _, rest = line.strip().partition(":")
        if not name or name.startswith("#"):
            continue
        try:
            red, green, blue = (int(value) for value in rest.split(":")[0].split(","))
        except ValueError:
            raise LabelFileError(f"its line {row} is not name:red,green,blue:...") from None
        colours[(red << 16) + (green << 8) + blue] = name
    return colours


def _splits(tree: FileTree) -> dict[str, str]:
    """Returns the split of each image name that a file in ImageSets lists."""
    splits = {}
    for path in tree.with_suffix(".txt"):
        if "ImageSets" in path.parts and path.stem.lower() in SPLITS:
            for line in start_lines(path):
                splits.setdefault(line.split()[0], SPLITS[path.stem.lower()])
    return splits


def start_lines(path: Path) -> list[str]:
    """Returns the lines of a text file that are not empty; none of one that cannot be read."""
    try:
        return [line for line in read_text(path).splitlines() if line.strip()]
    except LabelFileError:
        return []


def _images(files: list[Path], context: _Context, issues: list[Issue]) -> Iterator[LabelledImage]:
    masks = {path.stem: path for path in files if path.suffix.lower() == ".png"}
    for path in files:
        if path.suffix.lower() == ".xml":
            try:
                root = next(iter_xml(path, ("annotation",)), None)
                if root is None:
                    raise LabelFileError("it has no annotation")
                yield _image(path, root, masks.pop(path.stem, None), context)
            except LabelFileError as error:
                masks.pop(path.stem, None)
                issues.append(unusable_file(path, error))
    for path in masks.values():
        try:
            yield _image(path, None, path, context)
        except LabelFileError as error:
            issues.append(unusable_file(path, error))


def _image(path: Path, root: Element | None, mask_file: Path | None, context: _Context) -> LabelledImage:
    issues: list[Issue] = []
    name = path.stem
    height = width = None
    boxes: list[LabelledObject] = []
    if root is not None:
        name = (root.findtext("filename") or "").strip() or path.stem
        height, width = (_side(root.findtext(f"size/{key}")) for key in ("height", "width"))
        boxes = _boxes(path, root, issues)
    masks: list[LabelledObject] = []
    if mask_file is not None:
        try:
            bitmap = read_bitmap(mask_file).values
            height, width = bitmap.shape
            masks = _masks(mask_file, bitmap, boxes, context, issues)
        except LabelFileError as error:
            issues.append(unusable_file(mask_file, error))
    image = context.finder.find(name, path.parent) or context.finder.with_stem(path.stem, path.parent)
    return LabelledImage(
        name=image.name if image else name,
        where=str(path),
        path=image,
        objects=_joined(boxes, masks),
        height=height,
        width=width,
        issues=issues,
        split=context.splits.get(path.stem),
    )


def _boxes(path: Path, root: Element, issues: list[Issue]) -> list[LabelledObject]:
    voc_itself = "VOC" in (root.findtext("source/database") or "") + (root.findtext("folder") or "")
    found = []
    for position, entry in enumerate(root.findall("object"), 1):
        at = f"object {position}"
        label = (entry.findtext("name") or "").strip()
        try:
            if not label:
                raise ValueError("it has no name")
            x1, y1, x2, y2 = (number(entry.findtext(f"bndbox/{key}")) for key in ("xmin", "ymin", "xmax", "ymax"))
        except ValueError as error:
            issues.append(Issue(Reason.MALFORMED, f"{path}: {at}: {error}"))
            continue
        if voc_itself:  # the first pixel is 1, and the last belongs to the box
            x1, y1 = x1 - 1, y1 - 1
        found.append(LabelledObject(label, at, (x1, y1, x2, y2)))
    return found


def _masks(
    path: Path, bitmap: np.ndarray, boxes: list[LabelledObject], context: _Context, issues: list[Issue]
) -> list[LabelledObject]:
    """Returns an object for each colour of a mask image, but black and VOC's void."""
    class_file = path.parent.parent / _CLASSES / path.name
    classes = read_bitmap(class_file) if class_file.is_file() else None
    if classes is not None and classes.values.shape != bitmap.shape:
        raise LabelFileError(f"it has {bitmap.shape[1]}x{bitmap.shape[0]} pixels, {class_file} has others")
    found = []
    for colour in np.unique(bitmap).tolist():
        if colour in (0, _VOID):
            continue
        at = f"{path.name}, colour {_rgb(colour)}"
        mask = bitmap == colour
        value = 0
        if classes is not None:
            values, counts = np.unique(classes.values[mask], return_counts=True)
            value = int(values[counts.argmax()])
            label = _label_of_colour(value, classes.coloured, context.colours)
        else:
            label = _label_of_box(mask, boxes) or ("" if boxes else context.options.class_name)
        if not label or label in _BACKGROUND:
            detail = "it has no class" if classes is None else f"its class has the colour {_rgb(value)}"
            issues.append(Issue(Reason.UNKNOWN_CATEGORY, f"{path}: {at}: {detail}"))
            continue
        found.append(LabelledObject(label, at, segmentation=bitmap_to_rle(mask)))
    return found


def _label_of_colour(value: int, coloured: bool, colours: dict[int, str]) -> str:
    """Returns the class of a pixel of SegmentationClass, empty where it has none.

    Palettes are read as colours; in a grey image without one the value is the class's index, the background being 0.
    """
    if coloured:
        return colours.get(value, "")
    names = [name for name in colours.values() if name not in _BACKGROUND]
    return names[value - 1] if 1 <= value <= len(names) else ""


def _rgb(colour: int) -> str:
    return f"{colour >> 16},{colour >> 8 & 255},{colour & 255}"


def _label_of_box(mask: np.ndarray, boxes: list[LabelledObject]) -> str | None:
    """Returns the class of the box that a mask fits best, None where it fits none."""
    bounds = _bounds(mask)
    best = max(boxes, key=lambda item: _overlap(bounds, item.box), default=None)
    return best.label if best is not None and _overlap(bounds, best.box) >= _SAME else None


def _joined(boxes: list[LabelledObject], masks: list[LabelledObject]) -> list[LabelledObject]:
    """Returns boxes and masks with the pairs that are one object joined, best pairs first."""
    bounds = []
    for item in masks:
        x, y, width, height = coco_mask.toBbox(item.segmentation).tolist()
        bounds.append((x, y, x + width, y + height))
    pairs = sorted(
        (
            (_overlap(box.box, bounds[j]), i, j)
            for i, box in enumerate(boxes)
            for j, mask in enumerate(masks)
            if box.label == mask.label
        ),
        reverse=True,
    )
    joined: dict[int, int] = {}
    for overlap, i, j in pairs:
        if overlap >= _SAME and i not in joined and j not in joined.values():
            joined[i] = j
    objects = [
        LabelledObject(box.label, box.where, box.box, masks[joined[i]].segmentation) if i in joined else box
        for i, box in enumerate(boxes)
    ]
    return objects + [mask for j, mask in enumerate(masks) if j not in joined.values()]


def _bounds(mask: np.ndarray) -> tuple[float, float, float, float]:
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    return float(columns[0]), float(rows[0]), float(columns[-1] + 1), float(rows[-1] + 1)


def _overlap(a, b) -> float:
    """Returns the intersection over union of two boxes x1, y1, x2, y2."""
    width, height = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    if width <= 0 or height <= 0:
        return 0.0
    both = width * height
    return both / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - both)


def _side(text: str | None) -> int | None:
    return int(text) if text and text.strip().isdecimal() and int(text) > 0 else None
