"""What ``maskrcnn report`` does, from the command line to report.html."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from maskrcnn.errors import ConfigError
from maskrcnn.evaluation.engines import ENGINES
from maskrcnn.evaluation.evaluator import truth_notes
from maskrcnn.evaluation.ground_truth import load_ground_truth
from maskrcnn.evaluation.metrics import PROTOCOLS, MetricSettings, compute_metrics
from maskrcnn.evaluation.result_file import check_results, read_results, sizes_of_masks
from maskrcnn.report.build import MOST_IMAGES, build_report

FIELDS = {"bbox": "bbox", "segm": "segmentation"}  # what a record of each kind must have


def main(argv: Sequence[str] | None = None) -> None:
    """Writes one HTML file that shows what result files hold.

    Raises:
        MaskRCNNError: The results, the annotations or the run cannot be used.
    """
    args = _parser().parse_intermixed_args(argv)
    output = next((Path(name) for name in args.files if Path(name).suffix in (".html", ".htm")), Path("report.html"))
    paths = [name for name in args.files if Path(name) != output]
    if not paths:
        raise ConfigError("maskrcnn report needs result files: maskrcnn report BBOX_JSON SEGM_JSON --ann_file FILE")
    contents = {path: read_results(path) for path in paths}
    kinds = sort_by_kind(contents)
    sizes = sizes_of_masks(contents[kinds["segm"]] if "segm" in kinds else ())
    truth = load_ground_truth(args.ann_file, image_dir=args.image_dir, sizes=sizes, exif=args.exif == "apply")
    classes = truth.find_classes(args.classes or truth.class_names)
    records = {kind: check_results(contents[path], kind, truth, path) for kind, path in kinds.items()}
    settings = MetricSettings(args.metric_engine, args.metric_protocol, args.metric_boundary, args.max_detections)
    metrics = compute_metrics(truth, records, classes.category_ids, settings=settings)
    for note in truth_notes(truth, classes, truth.objects_of(classes.category_ids), settings):
        print(note)
    line = build_report(
        output,
        truth,
        records,
        classes,
        metrics,
        settings,
        image_dir=args.image_dir,
        log_dir=args.log_dir,
        title=args.title or " + ".join(Path(path).name for path in paths),
        exif=args.exif == "apply",
        most_images=args.max_images,
    )
    print(line)


def sort_by_kind(contents: Mapping[str, Sequence[Mapping[str, Any]]]) -> dict[str, str]:
    """Returns the file of each kind, boxes first. A file of records with both serves for both unless another has one.

    Args:
        contents: Records by file.

    Raises:
        ConfigError: Two files hold the same kind, or a file none.
    """
    of_file = {
        path: [kind for kind, field in FIELDS.items() if any(field in record for record in records)]
        for path, records in contents.items()
    }
    for path, kinds in of_file.items():
        if not kinds:
            what = "no results" if not contents[path] else "results without bbox and without segmentation"
            raise ConfigError(f"{path} holds {what}: there is nothing to report")
    chosen: dict[str, str] = {}
    for kind in FIELDS:
        holders = [path for path, kinds in of_file.items() if kind in kinds]
        only = [path for path in holders if of_file[path] == [kind]]
        if len(only) > 1 or (len(holders) > 1 and not only):
            first, second = (only if len(only) > 1 else holders)[:2]
            raise ConfigError(f"{first} and {second} both hold {kind} results: report them one at a time")
        if holders:
            chosen[kind] = (only or holders)[0]
    return chosen


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="maskrcnn report",
        description="Write one HTML file that shows what COCO result files hold: AP, curves, error types, a gallery.",
        usage="maskrcnn report BBOX_JSON [SEGM_JSON] --ann_file FILE [--image_dir DIR] [--log_dir RUN] [OUT.html]",
    )
    parser.add_argument("files", nargs="+", help="result files, and the HTML file to write (report.html)")
    parser.add_argument("--ann_file", required=True, help="COCO annotation file that the results are scored against")
    parser.add_argument("--image_dir", type=Path, help="folder of its images, for the gallery")
    parser.add_argument("--log_dir", type=Path, help="log folder of a training run, for its curves")
    parser.add_argument("--title", default="", help="heading of the page; by default the files' names")
    parser.add_argument("--classes", nargs="*", default=(), help="only these classes; by default all of the file")
    parser.add_argument("--max_images", type=int, default=MOST_IMAGES, help=f"images in the gallery ({MOST_IMAGES})")
    parser.add_argument("--max_detections", type=int, default=0, help="most detections of an image that count")
    parser.add_argument("--metric_engine", choices=ENGINES, default="auto", help="what computes AP (auto)")
    parser.add_argument("--metric_protocol", choices=list(PROTOCOLS), default="coco", help="its rules (coco)")
    parser.add_argument("--metric_boundary", action="store_true", help="boundary AP of masks too")
    parser.add_argument("--exif", choices=("apply", "ignore"), default="apply", help="EXIF orientation (apply)")
    return parser
