"""From result files, annotations and a run's log to report.html, and from several runs to compare.html."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from maskrcnn.data.sources.classes import ClassList
from maskrcnn.errors import EvaluationError
from maskrcnn.evaluation.ground_truth import GroundTruth
from maskrcnn.evaluation.metrics import Metrics, MetricSettings, make_problems
from maskrcnn.inference.images import ImageSource
from maskrcnn.report.gallery import Gallery, Kind, worst_first
from maskrcnn.report.outcomes import collect_outcomes
from maskrcnn.report.page import write_page
from maskrcnn.report.runs import differing_settings, read_run
from maskrcnn.report.summary import metric_rows, summarize
from maskrcnn.threads import map_in_order

MOST_IMAGES = 500  # of the gallery
_COMPARED = ("bbox", "segm")  # kinds whose detections are followed one by one


def build_report(
    path: Path,
    truth: GroundTruth,
    records: Mapping[str, Sequence[dict[str, Any]]],
    classes: ClassList,
    metrics: Mapping[str, Metrics],
    settings: MetricSettings,
    *,
    image_ids: Sequence[Any] | None = None,
    image_dir: Path | None = None,
    log_dir: Path | None = None,
    title: str = "Detections",
    exif: bool = True,
    most_images: int = MOST_IMAGES,
) -> str:
    """Writes the report of an evaluation.

    Args:
        path: The HTML file.
        truth: The annotations.
        records: COCO results, of boxes under 'bbox' and of masks under 'segm', either or both.
        classes: What the results' categories are called.
        metrics: What ``compute_metrics`` gives for them.
        settings: How they were computed.
        image_ids: Images that count; None for all of the annotation file.
        image_dir: Their folder, for the gallery; without it the page shows shapes only.
        log_dir: A training run's log folder, for its curves.
        title: The page's heading.
        exif: Whether images count as rotated by their EXIF orientation.
        most_images: How many images the gallery holds at most, the worst ones.

    Returns:
        One line that says what was written.

    Raises:
        EvaluationError: The results do not fit the annotations, a log is damaged, or the page cannot be written.
    """
    kinds, summaries = [], {}
    for name, problem in make_problems(truth, records, classes.category_ids, image_ids, settings).items():
        if name in _COMPARED:
            problem = replace(problem, max_detections=(settings.most_detections,))
            kinds.append(Kind(name, problem, collect_outcomes(problem)))
            summaries[name] = summarize(problem, metrics[name], kinds[-1].outcomes, settings.engine)
    score = summaries[kinds[-1].name]["score"]
    start = round(score["score"], 2) if score else 0.5
    order = worst_first(kinds, start)[:most_images]
    gallery = Gallery(kinds, {} if image_dir is None else _files(truth, image_dir, exif), path)
    total = len(kinds[0].problem.image_ids)
    data = {
        "page": "report",
        "classes": list(classes.names),
        "kinds": summaries,
        "boundary": metric_rows(metrics["boundary"]) if "boundary" in metrics else None,
        "start": start,
        "images_in_all": total,
        "objects": int(kinds[0].outcomes.counts.sum()),
        "sources": {"annotations": str(truth.path), "images": str(image_dir or "")},
        "runs": [] if log_dir is None else [_without_settings(read_run(log_dir))],
    }
    workers = min(8, os.cpu_count() or 1)
    pictures = map_in_order(gallery.picture, order, workers=workers, ahead=4 * workers, name="previews")
    held = write_page(path, title, data, pictures)
    shown = "all" if held == total else f"the {held} worst of"
    size = os.path.getsize(path) / 1e6
    return f"Report: {path} ({size:.1f} MB, {shown} {total} images)"


def build_comparison(path: Path, folders: Sequence[Path]) -> str:
    """Writes a page with the curves of several runs over each other, and in which settings they differ.

    Args:
        path: The HTML file.
        folders: The runs' log folders, at least two.

    Returns:
        One line that says what was written.

    Raises:
        EvaluationError: A folder holds no run, or the page cannot be written.
    """
    if len(folders) < 2:
        raise EvaluationError("there is nothing to compare: name the log folders of at least two runs")
    runs = [read_run(folder, name) for folder, name in zip(folders, _distinct_names(folders))]
    data = {
        "page": "compare",
        "classes": [],
        "kinds": {},
        "runs": [_without_settings(run) for run in runs],
        "settings": differing_settings(runs),
    }
    write_page(path, "Runs compared", data)
    return f"Comparison of {len(runs)} runs: {path}"


def _files(truth: GroundTruth, image_dir: Path, exif: bool) -> dict[Any, ImageSource]:
    """The image files by image id."""
    return {
        image["id"]: ImageSource(
            image["id"], truth.file.image_path(entry, image_dir), (image["height"], image["width"]), exif
        )
        for image, entry in zip(truth.images, truth.file.images)
    }


def _without_settings(run: dict[str, Any]) -> dict[str, Any]:
    """A run for the page, which shows only the settings that differ."""
    return {key: value for key, value in run.items() if key != "config"}


def _distinct_names(folders: Sequence[Path]) -> list[str]:
    """The shortest ends of the folders' paths, of equal length, that tell them apart; a number where nothing does."""
    parts = [folder.resolve().parts for folder in folders]
    longest = max(map(len, parts))
    for count in range(1, longest + 1):
        names = ["/".join(of_folder[-count:]).lstrip("/") for of_folder in parts]
        if len(set(names)) == len(names):
            return names
    return [f"{name} ({number})" for number, name in enumerate(names, 1)]
