"""Do two result folders hold the same detections? For instance Python's evaluation and the C++ app's.

    python benchmarks/compare_results.py EXPECTED FOUND ANN_FILE

Both folders hold bbox.json and segm.json. Prints for boxes and for masks how many of EXPECTED's detections are in FOUND
(the same image and class, IoU at least 0.99, each used once), the largest difference of their scores, and both APs.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

SHAPE = {"bbox": "bbox", "segm": "segmentation"}


def by_class(records: list[dict[str, Any]]) -> dict[tuple[int, int], list[dict[str, Any]]]:
    """Records of each image and class, best score first."""
    groups = defaultdict(list)
    for record in sorted(records, key=lambda one: -one["score"]):
        groups[record["image_id"], record["category_id"]].append(record)
    return groups


def match(expected: list, found: list, kind: str) -> dict[str, Any]:
    """Greedy one-to-one matching within each image and class."""
    theirs, matched, difference = by_class(found), 0, 0.0
    for key, group in by_class(expected).items():
        others = theirs.get(key, [])
        if not others:
            continue
        shapes = [[record[SHAPE[kind]] for record in records] for records in (group, others)]
        if kind == "bbox":
            shapes = [np.array(boxes, np.float64) for boxes in shapes]
        overlaps = coco_mask.iou(*shapes, [0] * len(others))
        for row, record in zip(overlaps, group):
            nearest = int(row.argmax())
            if row[nearest] >= 0.99:
                matched += 1
                difference = max(difference, abs(record["score"] - others[nearest]["score"]))
                overlaps[:, nearest] = -1
    return {"expected": len(expected), "found": len(found), "matched": matched, "largest_score_difference": difference}


def average_precision(truth: COCO, records: list, kind: str) -> list[float]:
    """AP, AP50 and AP75 by pycocotools."""
    with contextlib.redirect_stdout(io.StringIO()):
        judge = COCOeval(truth, truth.loadRes(records), kind)
        judge.evaluate()
        judge.accumulate()
        judge.summarize()
    return [round(float(value), 5) for value in judge.stats[:3]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("expected", type=Path)
    parser.add_argument("found", type=Path)
    parser.add_argument("ann_file")
    args = parser.parse_args()
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO(args.ann_file)
    for kind in SHAPE:
        expected, found = (
            json.loads((folder / f"{kind}.json").read_text(encoding="utf-8")) for folder in (args.expected, args.found)
        )
        result = {"kind": kind, **match(expected, found, kind)}
        result["ap_expected"], result["ap_found"] = (average_precision(truth, r, kind) for r in (expected, found))
        print(json.dumps(result))


if __name__ == "__main__":
    main()
