"""The inspection of a data set in COCO's layout: figures, findings, advice."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from maskrcnn.config import Config
from maskrcnn.data.inspection.findings import Finding, Kind
from maskrcnn.data.inspection.fingerprint import near_pairs
from maskrcnn.data.inspection.labels import SplitLabels, class_counts, read_split
from maskrcnn.data.inspection.sizes import (
    AnchorFit,
    SizeAdvice,
    fit_anchors,
    input_scale,
    suggest_input,
    suggest_slots,
)
from maskrcnn.errors import DataError

_TOO_SMALL = 8.0  # pixels of the smaller side at the input
_FEW = 10
_HARMLESS = 0.01  # share of objects that may be labelled badly without harm


@dataclass
class Inspection:
    """What was found in a data set.

    Attributes:
        cfg: the settings that it was looked at with.
        splits: train, and val if there is one.
        classes: names, training's first.
        input_boxes: float [n, 4], the training objects without crowds in pixels of the input.
        scales: float [m, 2], by which the training images are resized.
        anchors: how anchors fit ``input_boxes``.
        findings: what must be mended, then what is worth a look.
        input_advice: a suggested input size.
        slots: a suggested max_instance_count.
    """

    cfg: Config
    splits: list[SplitLabels]
    classes: list[str]
    input_boxes: np.ndarray
    scales: np.ndarray
    anchors: AnchorFit
    findings: list[Finding]
    input_advice: SizeAdvice
    slots: int

    @property
    def must_mend(self) -> bool:
        """Whether something must be mended before training."""
        return any(finding.must_mend for finding in self.findings)


def inspect_data(cfg: Config, progress: bool = False) -> Inspection:
    """Looks a data set over.

    Args:
        cfg: ``coco_root`` and the names in it, and the input size, anchors and slots to judge by.
        progress: show progress bars.

    Raises:
        DataError: there is no data set of training, or its annotation file cannot be used.
    """
    root = Path(cfg.coco_root)
    splits = []
    for name, data_type in (("train", cfg.train_data_type), ("val", cfg.val_data_type)):
        ann_file = root / cfg.instance_set.format(data_type)
        if ann_file.is_file():
            splits.append(read_split(name, ann_file, root / data_type, cfg.num_parallel_workers, progress))
        elif name == "train":
            raise DataError(f"there is no {ann_file}: name a folder in COCO's layout, as maskrcnn prepare makes it")
    train = splits[0]
    classes = list(dict.fromkeys(name for split in splits for name in split.classes))
    scales = input_scale(train.sizes, cfg.img_height, cfg.img_width)
    objects = ~train.crowd
    boxes = (train.boxes * np.tile(scales, 2)[train.image])[objects] if len(train.images) else np.zeros((0, 4))
    anchors = fit_anchors(
        boxes, cfg.img_height, cfg.img_width, cfg.anchor_scales, cfg.anchor_ratios, cfg.anchor_strides
    )
    advice = suggest_input(train.sizes, np.sqrt(train.area[objects])) if len(train.images) else SizeAdvice(0, 0, 0)
    slots = suggest_slots(train.per_image())
    findings = [
        *_of_reading(splits),
        *_of_objects(splits),
        *_of_classes(splits, classes),
        *_of_images(splits, cfg, slots),
        *_of_sizes(train, boxes, advice),
    ]
    findings.sort(key=lambda finding: not finding.must_mend)
    return Inspection(cfg, splits, classes, boxes, scales, anchors, findings, advice, slots)


def _finding(kind: Kind, places: Sequence[str], advice: str = "", few: bool = False) -> list[Finding]:
    return [Finding(kind, list(places), advice, few)] if places else []


def _of_reading(splits: Sequence[SplitLabels]) -> list[Finding]:
    faults = [fault for split in splits for fault in split.faults]
    found = _finding(Kind.FAULT, faults, "Training leaves them out: correct them, or run maskrcnn prepare.")
    if not (splits[0].per_image() > 0).any():
        found.append(Finding(Kind.NO_TRAINING, ["train"]))
    return found


def _of_objects(splits: Sequence[SplitLabels]) -> list[Finding]:
    advice = {
        Kind.SAME_PLACE: "Delete one of each.",
        Kind.MISFIT: "Correct the box or the mask; most tools can compute boxes from masks.",
        Kind.TWO_CLASSES: "Right for a thing and its part only.",
        Kind.TINY: "Delete what was clicked by mistake.",
        Kind.WHOLE_IMAGE: "Delete labels that mean the image as a whole.",
    }
    suspicious = [item for split in splits for item in split.suspicious]
    total = sum(len(split.label) for split in splits)
    found: list[Finding] = []
    for kind, text in advice.items():
        places = [item.where for item in suspicious if item.kind is kind]
        found += _finding(kind, places, text, few=len(places) < _HARMLESS * total)
    return found


def _of_classes(splits: Sequence[SplitLabels], classes: Sequence[str]) -> list[Finding]:
    train = class_counts(splits[0], classes)
    few = [f"{name}: {count}" for name, count in zip(classes, train) if 0 < count < _FEW]
    found = _finding(Kind.FEW, few, "Label more of them, or merge classes (maskrcnn prepare --merge).")
    if len(splits) > 1:
        val = class_counts(splits[1], classes)
        untrained = [name for name, t, v in zip(classes, train, val) if v and not t]
        found += _finding(Kind.UNTRAINED, untrained, "Divide the images anew: maskrcnn prepare --val 0.2.")
        found += _finding(Kind.UNVALIDATED, [name for name, t, v in zip(classes, train, val) if t and not v])
    return found


def _of_images(splits: Sequence[SplitLabels], cfg: Config, slots: int) -> list[Finding]:
    found: list[Finding] = []
    empty = [_image(split, i) for split in splits for i in np.flatnonzero(split.per_image() == 0)]
    found += _finding(Kind.EMPTY, empty, "Fine if nothing is there (keep_empty trains on them), else label them.")
    train = splits[0]
    crowded = [_image(train, i) for i in np.flatnonzero(train.per_image() > cfg.max_instance_count)]
    found += _finding(Kind.CROWDED, crowded, f"Set max_instance_count to {slots}.")
    own = [(i, j) for i, j in _near(train, train) if i < j]
    same = [f"{_image(train, i)} and {_image(train, j)}" for i, j in own]
    found += _finding(Kind.REPEATED, same, "Frames of one scene count for little more than one.")
    if len(splits) > 1:
        leaks = [f"{_image(splits[1], j)} and {_image(train, i)}" for i, j in _near(train, splits[1])]
        advice = "Average precision would be too good: keep scenes together (maskrcnn prepare --group_by)."
        found += _finding(Kind.LEAK, leaks, advice)
    return found


def _of_sizes(train: SplitLabels, boxes: np.ndarray, advice: SizeAdvice) -> list[Finding]:
    """Returns the objects that are too small for the network at the input size."""
    small = np.flatnonzero((boxes[:, 2:] - boxes[:, :2]).min(1) < _TOO_SMALL) if len(boxes) else []
    index = np.flatnonzero(~train.crowd)
    places = [f"{_image(train, train.image[index[i]])}" for i in small]
    text = f"Tiles (maskrcnn prepare --tile {advice.tile})" if advice.tile else "A larger input"
    return _finding(Kind.TOO_SMALL, places, f"{text} would help.")


def _near(first: SplitLabels, second: SplitLabels) -> list[tuple[int, int]]:
    return near_pairs(first.fingerprints, first.thumbnails, second.fingerprints, second.thumbnails)


def _image(split: SplitLabels, index: int) -> str:
    return f"{split.name} image {split.images[index].id} ({split.images[index].file_name})"
