"""An inspection as text, and as JSON."""

from __future__ import annotations

from typing import Any

import numpy as np

from maskrcnn.data.inspection.inspection import Inspection
from maskrcnn.data.inspection.labels import class_counts
from maskrcnn.data.inspection.sizes import roi_levels
from maskrcnn.data.prepare.table import table

_SIDES = (0, 8, 16, 32, 64, 128, 256, float("inf"))
_OVERLAPS = (
    ("0.7 or more, positive", 0.7, 2),
    ("0.5 to 0.7", 0.5, 0.7),
    ("0.3 to 0.5", 0.3, 0.5),
    ("below 0.3", -1, 0.3),
)


def report_lines(found: Inspection) -> list[str]:
    """Returns the report for the user."""
    return [
        *_split_table(found),
        "",
        *_class_table(found),
        "",
        *_size_tables(found),
        "",
        *_advice(found),
        "",
        *([str(finding) for finding in found.findings] or ["Nothing to mend, nothing suspicious."]),
    ]


def _split_table(found: Inspection) -> list[str]:
    rows: list[tuple[Any, ...]] = [
        ("", "images", "empty", "objects", "with masks", "boxes only", "crowd", "an image: median", "most")
    ]
    for split in found.splits:
        counts, objects = split.per_image(), ~split.crowd
        rows.append(
            (
                split.name,
                len(split.images),
                int((counts == 0).sum()),
                int(objects.sum()),
                int((objects & split.has_mask).sum()),
                int((objects & ~split.has_mask).sum()),
                int(split.crowd.sum()),
                int(np.median(counts)) if counts.size else 0,
                int(counts.max(initial=0)),
            )
        )
    return table(rows)


def _class_table(found: Inspection) -> list[str]:
    train = found.splits[0]
    names = np.array(train.classes, object)[train.label] if len(train.label) else np.zeros(0, object)
    rows: list[tuple[Any, ...]] = [("class", *(split.name for split in found.splits), "images", "median side, pixels")]
    counts = [class_counts(split, found.classes) for split in found.splits]
    for index, name in enumerate(found.classes):
        of_class = (names == name) & ~train.crowd
        side = int(np.median(np.sqrt(train.area[of_class])) + 0.5) if of_class.any() else 0
        images = len(np.unique(train.image[of_class]))
        rows.append((name, *(int(count[index]) for count in counts), images, side))
    return table(rows)


def _size_tables(found: Inspection) -> list[str]:
    boxes, cfg = found.input_boxes, found.cfg
    sides = np.sqrt((boxes[:, 2:] - boxes[:, :2]).prod(1))
    scale = found.scales.mean(1) if len(found.scales) else np.ones(1)
    lines = [
        f"Training objects at an input of {cfg.img_width}x{cfg.img_height} "
        f"(images resized by {scale.min():.2f} to {scale.max():.2f}, median {np.median(scale):.2f}):"
    ]
    rows: list[tuple[Any, ...]] = [("side, pixels", "objects", "", "best anchor overlaps by", "objects", "")]
    histogram, _ = np.histogram(sides, _SIDES)
    total = max(len(boxes), 1)
    for index, count in enumerate(histogram.tolist()):
        low, high = _SIDES[index], _SIDES[index + 1]
        name = f"{low} to {high}" if high != float("inf") else f"{low} and more"
        row: tuple[Any, ...] = (name, count, _share(count, total))
        if index < len(_OVERLAPS):
            text, least, below = _OVERLAPS[index]
            fitting = int(((found.anchors.overlap >= least) & (found.anchors.overlap < below)).sum())
            row += (text, fitting, _share(fitting, total))
        else:
            row += ("", "", "")
        rows.append(row)
    lines += table(rows)
    levels = roi_levels(boxes) if len(boxes) else np.zeros(0, int)
    anchors = np.bincount(found.anchors.level, minlength=len(cfg.anchor_strides))
    lines.append("Features of boxes from " + _levels({k: int((levels == k).sum()) for k in (2, 3, 4, 5)}, total))
    lines.append("Best anchors on " + _levels({k + 2: int(n) for k, n in enumerate(anchors)}, total))
    return lines


def _levels(counts: dict[int, int], total: int) -> str:
    return ", ".join(f"P{level}: {_share(count, total)}" for level, count in counts.items())


def _share(count: int, total: int) -> str:
    return f"{100 * count / total:.0f} %"


def _advice(found: Inspection) -> list[str]:
    advice = found.input_advice
    lines = [
        f"Suggested: --img_width {advice.img_width} --img_height {advice.img_height} --max_instance_count {found.slots}"
    ]
    if advice.tile:
        lines.append(
            f"The images are larger than the largest sensible input: maskrcnn prepare --tile {advice.tile} cuts them"
        )
    return lines


def report_json(found: Inspection) -> dict[str, Any]:
    """Returns the figures and all findings, fit for JSON."""
    counts = [class_counts(split, found.classes).tolist() for split in found.splits]
    return {
        "splits": {
            split.name: {
                "images": len(split.images),
                "objects": int((~split.crowd).sum()),
                "masks": int((split.has_mask & ~split.crowd).sum()),
                "crowd": int(split.crowd.sum()),
                "objects_per_image": split.per_image().tolist(),
            }
            for split in found.splits
        },
        "classes": {
            name: {split.name: of_split[index] for split, of_split in zip(found.splits, counts)}
            for index, name in enumerate(found.classes)
        },
        "suggested": {
            "img_width": found.input_advice.img_width,
            "img_height": found.input_advice.img_height,
            "tile": found.input_advice.tile,
            "max_instance_count": found.slots,
        },
        "findings": [
            {"kind": f.kind.name, "must_mend": f.must_mend, "text": f.kind.text, "places": list(f.places)}
            for f in found.findings
        ],
    }
