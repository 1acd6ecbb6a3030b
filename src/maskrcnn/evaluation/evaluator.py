"""Evaluate a detector on a COCO-format data set: results, the twelve figures of boxes and masks, pictures."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tqdm import tqdm

from maskrcnn.data.sources.classes import ClassList
from maskrcnn.distributed.process_group import ProcessGroup
from maskrcnn.errors import CheckpointError, EvaluationError
from maskrcnn.evaluation.ground_truth import GroundTruth, load_ground_truth
from maskrcnn.evaluation.metrics import COCO_METRIC, Metrics, MetricSettings, compute_metrics
from maskrcnn.evaluation.report import class_table, coco_table, skipped_report, speed_report
from maskrcnn.evaluation.sharing import share_of, together
from maskrcnn.inference.images import ImageSource, Skipped, read_image
from maskrcnn.inference.pipeline import DetectorFunction, ImageResult, InferenceSettings, Speed, detect_files
from maskrcnn.inference.results import write_json
from maskrcnn.inference.visualize import (
    draw_objects,
    objects_from_annotations,
    objects_from_records,
    save_picture,
    side_by_side,
)

if TYPE_CHECKING:
    from maskrcnn.config import Config


@dataclass(frozen=True)
class EvaluationResult:
    """What an evaluation found.

    ``metrics`` maps 'bbox' and, if the ground truth has masks, 'segm' to their figures; ``bbox`` and
    ``segm`` are COCO result records in the order of the annotation file's images, best score first.
    """

    metrics: dict[str, Metrics]
    classes: ClassList
    bbox: list[dict[str, Any]] = field(repr=False)
    segm: list[dict[str, Any]] = field(repr=False)
    images: int
    skipped: list[Skipped]
    speed: Speed

    def figure(self, kind: str, name: str = "AP") -> float:
        """One figure, for instance ``figure('segm', 'AP50')``."""
        return self.metrics[kind].figures[name]

    def summary(self) -> dict[str, float]:
        """The figures a training run follows: AP and AP50 of boxes and masks, -1 for masks without truth."""
        figures = {}
        for kind in ("bbox", "segm"):
            of_kind = self.metrics[kind].figures if kind in self.metrics else {}
            figures[f"{kind}_ap"] = of_kind.get("AP", -1.0)
            figures[f"{kind}_ap50"] = of_kind.get("AP50", -1.0)
        return figures

    def to_dict(self) -> dict[str, Any]:
        """The content of metrics.json."""
        return {
            **{kind: metrics.figures for kind, metrics in self.metrics.items()},
            "per_class": per_class_rows(self.metrics, self.classes.names),
            "images": self.images,
            "skipped": [{"file": str(item.path), "reason": item.reason} for item in self.skipped],
            "speed": self.speed.to_dict(),
        }

    def report(self) -> str:
        """Everything as text: COCO's tables, the classes, images left out, speed."""
        parts = [coco_table(metrics) for metrics in self.metrics.values()]
        parts += [class_table(self.metrics, self.classes.names), skipped_report(self.skipped)]
        return "\n\n".join(part for part in [*parts, speed_report(self.speed)] if part)


def per_class_rows(metrics: dict[str, Metrics], names: Sequence[str]) -> list[dict[str, Any]]:
    """The classes' figures for metrics.json, in the order of ``names``."""
    rows = []
    for position, name in enumerate(names):
        of_kind = {kind: asdict(values.per_class[position]) for kind, values in metrics.items()}
        first = next(iter(of_kind.values()))
        figures = {kind: {"AP": row["ap"], "AP50": row["ap50"]} for kind, row in of_kind.items()}
        rows.append({"name": name, "category_id": first["category_id"], "objects": first["objects"], **figures})
    return rows


def evaluate(
    detector: DetectorFunction,
    ann_file: str | os.PathLike[str] | GroundTruth,
    image_dir: str | os.PathLike[str],
    settings: InferenceSettings,
    class_names: Sequence[str] = (),
    *,
    max_images: int = 0,
    output_dir: str | os.PathLike[str] | None = None,
    pictures: int = 0,
    picture_score: float = 0.5,
    progress: bool = True,
    group: ProcessGroup | None = None,
    metric: MetricSettings = COCO_METRIC,
) -> EvaluationResult | None:
    """Run ``detector`` over the images of a COCO-format data set and judge what it finds.

    ``detector(image uint8 [N, H, W, 3], image_shape float32 [N, 2])`` returns Detections with labels in the order of
    ``class_names``; an empty list takes the annotation file's categories by id. ``max_images`` 0 means all. With
    ``output_dir`` bbox.json, segm.json, metrics.json and ``pictures`` pictures are written there. The objects of an
    image that cannot be read count as missed, and the image is reported; ``settings.strict`` stops instead. The
    processes of ``group`` share the images, each with its own detector; the result is that of one, and given to rank 0
    only.

    Raises DataError and EvaluationError.
    """
    truth = ann_file if isinstance(ann_file, GroundTruth) else load_ground_truth(ann_file)
    classes = ClassList.from_categories(truth.categories, class_names, str(truth.path))
    images = truth.images[: max_images or None]
    sources = image_sources(images, Path(image_dir))
    group = group or ProcessGroup()
    own = share_of(sources, group)
    skipped: list[Skipped] = []
    speed = Speed()
    results = detect_files(detector, own, classes.category_ids, settings, skipped, speed)
    progress_bar = tqdm(results, total=len(own), desc="evaluate", unit="image", disable=not progress or group.rank > 0)
    merged = together(sources, progress_bar, skipped, speed, group)
    if merged is None:
        return None
    in_order, skipped, speed = merged
    if not in_order:
        raise EvaluationError(
            f"none of the {len(sources)} images in {image_dir} could be read; the first: "
            f"{skipped[0].path}: {skipped[0].reason}"
        )

    records = {
        "bbox": [record for result in in_order for record in result.bbox],
        "segm": [record for result in in_order for record in result.segm],
    }
    ids = [source.image_id for source in sources]
    metrics = judge(truth, records, classes, ids, metric)
    evaluation = EvaluationResult(metrics, classes, records["bbox"], records["segm"], len(in_order), skipped, speed)
    if output_dir is not None:
        save_results(evaluation, output_dir)
        draw_pictures(_spread(in_order, pictures), truth, classes, Path(output_dir), picture_score)
    return evaluation


def evaluate_from_config(
    cfg: Config,
    detector: DetectorFunction,
    classes: ClassList,
    truth: GroundTruth | None = None,
    both_canvases: bool = True,
    group: ProcessGroup | None = None,
) -> EvaluationResult | None:
    """``evaluate`` with the settings of a run, on the data that ``evaluation_files`` names.

    ``classes`` are those of the run; their category ids are looked up in the annotation file by name.
    ``truth`` is that file, if it has been read already.
    """
    ann_file, image_dir = evaluation_files(cfg)
    return evaluate(
        detector,
        truth or ann_file,
        image_dir,
        InferenceSettings.from_config(cfg, both_canvases),
        classes.names,
        max_images=cfg.eval_images,
        output_dir=cfg.eval_output,
        pictures=cfg.eval_pictures,
        picture_score=cfg.picture_score_thr,
        group=group,
        metric=MetricSettings.from_config(cfg),
    )


def evaluation_files(cfg: Config) -> tuple[Path, Path]:
    """The annotation file and the image folder of a run: ann_file and image_dir, or those in coco_root.

    With dataset other, image_dir is the folder of the TXT file's images: if there is a coco_root, its images are meant.
    """
    if not cfg.coco_root and not (cfg.ann_file and cfg.image_dir):
        raise EvaluationError(
            "there is nothing to evaluate on: give --coco_root FOLDER, or --ann_file FILE and --image_dir FOLDER"
        )
    root = Path(cfg.coco_root)
    ann_file = Path(cfg.ann_file) if cfg.ann_file else root / cfg.instance_set.format(cfg.val_data_type)
    named = cfg.image_dir and (cfg.dataset == "coco" or not cfg.coco_root)
    image_dir = Path(cfg.image_dir) if named else root / cfg.val_data_type
    if not image_dir.is_dir():
        keys = "image_dir" if named else "coco_root and val_data_type"
        raise EvaluationError(f"there is no image folder {image_dir}: check {keys}")
    return ann_file, image_dir


def check_checkpoint_classes(names: Sequence[str] | None, classes: ClassList, path: str | os.PathLike[str]) -> None:
    """Compare the class names stored in a checkpoint, if any, with the run's. Raises CheckpointError."""
    if names and tuple(names) != classes.names:
        stored = ClassList.from_names(names)
        raise CheckpointError(
            f"{path} was trained on other classes than this run's: {stored.difference(classes)}; "
            "use the coco_classes of its training"
        )


def image_sources(images: Iterable[dict[str, Any]], image_dir: Path) -> list[ImageSource]:
    """The files of an annotation file's images."""
    return [
        ImageSource(image["id"], image_dir / image["file_name"], (image["height"], image["width"])) for image in images
    ]


def judge(
    truth: GroundTruth,
    records: dict[str, list[dict[str, Any]]],
    classes: ClassList,
    image_ids: Sequence[int] | None = None,
    metric: MetricSettings = COCO_METRIC,
) -> dict[str, Metrics]:
    """Metrics of the kinds in ``records``; masks are left out where the objects to find have none."""
    wanted = {image["id"] for image in truth.images} if image_ids is None else set(image_ids)
    ids = frozenset(classes.category_ids)
    with_mask = any(
        annotation["image_id"] in wanted and annotation["category_id"] in ids and not annotation["iscrowd"]
        for annotation in truth.annotations
        if annotation["id"] not in truth.maskless
    )
    kinds = {kind: of_kind for kind, of_kind in records.items() if kind == "bbox" or with_mask}
    if metric.boundary and "segm" in kinds:
        kinds["boundary"] = kinds["segm"]
    return {
        kind: compute_metrics(truth, of_kind, kind, classes.category_ids, image_ids, metric)
        for kind, of_kind in kinds.items()
    }


def save_results(evaluation: EvaluationResult, output_dir: str | os.PathLike[str]) -> None:
    """Write bbox.json, segm.json and metrics.json, the last one last."""
    folder = Path(output_dir)
    write_json(folder / "bbox.json", evaluation.bbox)
    write_json(folder / "segm.json", evaluation.segm)
    write_json(folder / "metrics.json", evaluation.to_dict(), indent=1)


def draw_pictures(
    results: Sequence[ImageResult], truth: GroundTruth, classes: ClassList, folder: Path, score: float
) -> list[Path]:
    """Draw ground truth and detections of each image side by side into ``folder``/pictures."""
    wanted = {result.source.image_id: [] for result in results}
    for annotation in truth.annotations:
        if annotation["image_id"] in wanted:
            wanted[annotation["image_id"]].append(annotation)
    paths = []
    for result in results:
        rgb = read_image(result.source)
        annotations = wanted[result.source.image_id]
        expected = objects_from_annotations(annotations, classes.category_ids, classes.names)
        found = objects_from_records(result.bbox, result.segm, classes.category_ids, classes.names, score)
        at_least = f"detections with score >= {score:g}: {len(found)}"
        titles = [f"ground truth: {len(expected)} objects", at_least]
        drawn = [draw_objects(rgb, expected), draw_objects(rgb, found)]
        paths.append(folder / "pictures" / f"{result.source.image_id}.jpg")
        save_picture(paths[-1], side_by_side(drawn, titles))
    return paths


def _spread(results: Sequence[ImageResult], count: int) -> list[ImageResult]:
    """``count`` results spread evenly over the data set, which is often sorted by scene or class."""
    count = min(count, len(results))
    return [results[k * len(results) // count] for k in range(count)]
