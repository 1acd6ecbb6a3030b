"""Look a data set over before training: from the command line to the report and the exit code."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from pycocotools import mask as coco_mask

from maskrcnn.config import load_arguments
from maskrcnn.data.batches.transforms import decode_image
from maskrcnn.data.inspection.findings import Kind
from maskrcnn.data.inspection.inspection import Inspection, inspect_data
from maskrcnn.data.inspection.labels import SplitLabels
from maskrcnn.data.inspection.report import report_json, report_lines
from maskrcnn.data.sources.source import read_image
from maskrcnn.errors import ConfigError
from maskrcnn.inference.contact_sheet import SheetObject, SheetPicture, contact_sheet
from maskrcnn.inference.visualize import save_picture

EXIT_MUST_MEND = 1
DESCRIPTION = """\
Look a data set in COCO's layout over before training: classes, sizes, suspicious labels, images that are both in
training and in validation, how objects fall on anchors and pyramid levels at the input size, and pictures of labelled
samples. The exit code is 1 if something must be mended, and 0 otherwise."""
USAGE = "maskrcnn check DIR [--key value]..."
EVERYDAY = (
    "img_width",
    "img_height",
    "max_instance_count",
    "train_data_type",
    "val_data_type",
    "instance_set",
)
OUTPUT = "check"
_PICTURES, _SUSPICIOUS = 24, 16
_MARGIN = 0.6  # of an object's sides, around it in a picture of a suspicious one
_PAIRS = (Kind.SAME_PLACE, Kind.TWO_CLASSES)
_CROPPED = (Kind.MISFIT, Kind.SAME_PLACE, Kind.TWO_CLASSES, Kind.TINY, Kind.WHOLE_IMAGE)


def main(argv: Sequence[str] | None = None) -> int:
    """Prints the report, and writes it with contact sheets into DIR/check."""
    cfg, paths = load_arguments(argv, description=DESCRIPTION, usage=USAGE, everyday=EVERYDAY)
    if len(paths) != 1:
        raise ConfigError(f"expected one folder, got {len(paths)}: {USAGE}")
    cfg = cfg.replace(coco_root=paths[0])
    found = inspect_data(cfg, progress=sys.stderr.isatty())
    lines = report_lines(found)
    print("\n".join(lines))
    folder = Path(paths[0]) / OUTPUT
    folder.mkdir(exist_ok=True)
    (folder / "report.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    text = json.dumps(report_json(found), ensure_ascii=False, indent=1)
    (folder / "report.json").write_text(text + "\n", encoding="utf-8")
    print(f"\nPictures: {', '.join(map(str, write_sheets(found, folder)))}; all findings: {folder / 'report.json'}")
    return EXIT_MUST_MEND if found.must_mend else 0


def write_sheets(found: Inspection, folder: Path) -> list[Path]:
    """Writes a contact sheet of each split and one of suspicious objects; returns the files."""
    written = []
    for split in found.splits:
        pictures = [_picture(split, found.classes, index) for index in _samples(split, found.cfg.seed)]
        if pictures:
            written.append(folder / f"{split.name}.jpg")
            save_picture(written[-1], contact_sheet(pictures))
    suspicious = [
        _suspicious_picture(split, found.classes, item.index, item.kind)
        for split in found.splits
        for item in split.suspicious
        if item.kind in _CROPPED
    ]
    if suspicious:
        written.append(folder / "suspicious.jpg")
        save_picture(written[-1], contact_sheet(suspicious[:_SUSPICIOUS]))
    return written


def _samples(split: SplitLabels, seed: int) -> list[int]:
    """Returns the images to show: of every class the first that the seed chooses, rarest class first, then others."""
    order = np.random.default_rng(seed).permutation(len(split.images)).tolist()
    rank = {image: position for position, image in enumerate(order)}
    chosen: dict[int, None] = {}
    for label in np.argsort(np.bincount(split.label[split.label >= 0], minlength=len(split.classes))):
        images = sorted(set(split.image[split.label == label].tolist()), key=rank.__getitem__)
        chosen.update(dict.fromkeys(images[:1]))
    chosen.update(dict.fromkeys(order))
    return list(chosen)[:_PICTURES]


def _picture(split: SplitLabels, classes: Sequence[str], index: int) -> SheetPicture:
    objects = [_sheet_object(split, classes, i) for i in split.objects_of(index)]
    return SheetPicture(_pixels(split, index), objects, f"{split.images[index].file_name}: {len(objects)}")


def _suspicious_picture(split: SplitLabels, classes: Sequence[str], index: int, kind: Kind) -> SheetPicture:
    """Returns the surroundings of an object; with the others there, if it is one of two at one place."""
    image = int(split.image[index])
    x1, y1, x2, y2 = split.boxes[index]
    margin = np.array([x2 - x1, y2 - y1]) * _MARGIN + 10
    height, width = split.sizes[image]
    left, top = np.floor(np.maximum(np.array([x1, y1]) - margin, 0)).astype(int).tolist()
    right, bottom = np.ceil(np.minimum(np.array([x2, y2]) + margin, [width, height])).astype(int).tolist()
    objects = []
    for i in split.objects_of(image) if kind in _PAIRS else [index]:
        item = _sheet_object(split, classes, i)
        box = tuple(np.array(item.box) - (left, top, left, top))
        if box[2] > 0 and box[3] > 0 and box[0] < right - left and box[1] < bottom - top:
            mask = None if item.mask is None else item.mask[top:bottom, left:right]
            objects.append(item._replace(box=box, mask=mask))
    name = kind.name.lower().replace("_", " ")
    pixels = _pixels(split, image)[top:bottom, left:right]
    return SheetPicture(pixels, objects, f"{name}: {split.images[image].file_name}")


def _pixels(split: SplitLabels, index: int) -> np.ndarray:
    height, width = split.sizes[index].tolist()
    image = read_image(split.paths[index], height, width)
    return decode_image(image.data, image.orientation)


def _sheet_object(split: SplitLabels, classes: Sequence[str], index: int) -> SheetObject:
    name = split.classes[split.label[index]]
    label = classes.index(name) + 1
    counts = split.segmentations[index]
    size = split.sizes[split.image[index]].tolist()
    mask = None if counts is None else coco_mask.decode({"size": size, "counts": counts}).astype(bool)
    text = name + (" (crowd)" if split.crowd[index] else "")
    return SheetObject(tuple(split.boxes[index]), mask, label, text)
