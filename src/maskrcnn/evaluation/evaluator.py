"""Evaluation of a detector on a COCO-format data set: results, the metrics of boxes and masks, pictures."""

from __future__ import annotations

import os
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from maskrcnn.data.sources.classes import ClassList
from maskrcnn.distributed.process_group import ProcessGroup
from maskrcnn.errors import DataError, EvaluationError
from maskrcnn.evaluation.ground_truth import GroundTruth
from maskrcnn.evaluation.metrics import (
    COCO_RULES,
    Metrics,
    MetricSettings,
    compute_image_metrics,
    compute_metrics,
)
from maskrcnn.evaluation.report import class_table, coco_table, proposal_table, skipped_report, speed_report
from maskrcnn.evaluation.sharing import gather_results, share_of
from maskrcnn.files import write_json
from maskrcnn.inference.images import ImageSource, Skipped, decode_file
from maskrcnn.inference.pipeline import DetectorFunction, ImageResult, InferenceRun, Speed
from maskrcnn.inference.results import ImageId
from maskrcnn.inference.settings import InferenceSettings
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
class EvaluationOptions:
    """What is evaluated, and what an evaluation leaves behind.

    Attributes:
        max_images: Only so many images, the first ones; 0 means all.
        output_dir: Folder of bbox.json, segm.json, metrics.json and pictures; None writes nothing.
        pictures: Number of pictures to draw.
        picture_score: Lowest score of a detection in pictures.
        metric: How results are scored.
        per_image: Whether every image is scored for itself, too.
        exif: Whether images count as rotated by their EXIF orientation where their size does not tell.
        progress: Whether to show a progress bar.
    """

    max_images: int = 0
    output_dir: str | os.PathLike[str] | None = None
    pictures: int = 0
    picture_score: float = 0.5
    metric: MetricSettings = COCO_RULES
    per_image: bool = False
    exif: bool = True
    progress: bool = True

    @classmethod
    def from_config(cls, cfg: Config) -> EvaluationOptions:
        """Returns the options of a run."""
        return cls(
            max_images=cfg.eval_images,
            output_dir=cfg.eval_output,
            pictures=cfg.eval_pictures,
            picture_score=cfg.picture_score_thr,
            metric=MetricSettings.from_config(cfg),
            per_image=cfg.single_result,
            exif=cfg.exif == "apply",
        )


@dataclass(frozen=True)
class EvaluationResult:
    """What an evaluation found.

    Attributes:
        metrics: Those of 'bbox' and, if the ground truth has masks, of 'segm'.
        classes: The classes with their ids in the ground truth.
        bbox: COCO result records in the order of the annotation file's images, best score first.
        segm: Likewise.
        images: How many could be read.
        skipped: The images that could not.
        speed: What the time went on.
        per_image: AP and AP50 of each kind by file name, if they were asked for.
        notes: Lines about the annotation file.
        proposals: Recall of the network's proposals, if it was asked for.
    """

    metrics: dict[str, Metrics]
    classes: ClassList
    bbox: list[dict[str, Any]] = field(repr=False)
    segm: list[dict[str, Any]] = field(repr=False)
    images: int
    skipped: list[Skipped]
    speed: Speed
    per_image: dict[str, dict[str, dict[str, float]]] | None = None
    notes: tuple[str, ...] = ()
    proposals: dict[str, float] | None = None

    def metric(self, kind: str, name: str = "AP") -> float:
        """Returns one metric, for instance ``metric('segm', 'AP50')``."""
        return self.metrics[kind].stats[name]

    def summary(self) -> dict[str, float]:
        """Returns what a training run follows: AP and AP50 of boxes and masks, -1 for masks without truth."""
        values = {}
        for kind in ("bbox", "segm"):
            of_kind = self.metrics[kind].stats if kind in self.metrics else {}
            values[f"{kind}_ap"] = of_kind.get("AP", -1.0)
            values[f"{kind}_ap50"] = of_kind.get("AP50", -1.0)
        return values

    def to_dict(self) -> dict[str, Any]:
        """Returns the content of metrics.json.

        The model zoo's names stand beside ours, and for the last kind on their own, as its scripts expect them.
        """
        with_aliases = {kind: metrics.with_aliases() for kind, metrics in self.metrics.items()}
        last = self.metrics["segm" if "segm" in self.metrics else "bbox"]
        return {
            **with_aliases,
            **{name: value for name, value in last.with_aliases().items() if name not in last.stats},
            **({} if self.proposals is None else {"proposal": self.proposals}),
            "per_class": per_class_rows(self.metrics, self.classes.names),
            **({} if self.per_image is None else {"per_image": self.per_image}),
            "images": self.images,
            "skipped": [{"file": str(item.path), "reason": item.reason} for item in self.skipped],
            "notes": list(self.notes),
            "speed": self.speed.to_dict(),
        }

    def report(self) -> str:
        """Returns everything as text: COCO's tables, the classes, images left out, speed."""
        parts = [coco_table(metrics) for metrics in self.metrics.values()]
        parts += [proposal_table(self.proposals)] if self.proposals else []
        parts += [class_table(self.metrics, self.classes.names), skipped_report(self.skipped), "\n".join(self.notes)]
        return "\n\n".join(part for part in [*parts, speed_report(self.speed)] if part)


def per_class_rows(metrics: dict[str, Metrics], names: Sequence[str]) -> list[dict[str, Any]]:
    """Returns the classes' AP and AP50 for metrics.json, in the order of ``names``."""
    rows = []
    for position, name in enumerate(names):
        of_kind = {kind: asdict(values.per_class[position]) for kind, values in metrics.items()}
        first = next(iter(of_kind.values()))
        precisions = {kind: {"AP": row["ap"], "AP50": row["ap50"]} for kind, row in of_kind.items()}
        rows.append({"name": name, "category_id": first["category_id"], "objects": first["objects"], **precisions})
    return rows


def evaluate(
    detector: DetectorFunction,
    truth: GroundTruth,
    image_dir: str | os.PathLike[str],
    classes: ClassList,
    settings: InferenceSettings,
    options: EvaluationOptions,
    group: ProcessGroup | None = None,
    proposals: dict[str, float] | None = None,
) -> EvaluationResult | None:
    """Runs a detector over the images of a COCO-format data set and scores what it finds.

    The objects of an image that cannot be read count as missed, and the image is reported. Several ranks share the
    images, each with its own detector.

    Args:
        detector: The network.
        truth: The ground truth.
        image_dir: The folder of its images.
        classes: The classes in the order of the network's labels, with their ids in the ground truth.
        settings: How image files become detections.
        options: What is evaluated, and what is left behind.
        group: The processes that evaluate together.
        proposals: The recall of the network's proposals, to stand in the result.

    Returns:
        The result, that of one process whatever their number, to rank 0; None to the others.

    Raises:
        DataError: An image cannot be read, and the settings are strict.
        EvaluationError: No image could be read, or what the network gave cannot be scored.
    """
    sources = image_sources(truth, Path(image_dir), options)
    image_ids = [source.image_id for source in sources]
    objects = truth.objects_of(classes.category_ids, image_ids)  # that there are some is known before the network runs
    group = group or ProcessGroup()
    run = InferenceRun(detector, share_of(sources, group), classes.category_ids, settings)
    results = run.with_progress("evaluate", hidden=not options.progress or group.rank > 0)
    gathered = gather_results(sources, results, run.skipped, run.speed, group)
    if gathered is None:
        return None
    in_order, skipped, speed = gathered
    if not in_order:
        raise EvaluationError(
            f"none of the {len(sources)} images in {image_dir} could be read; the first: "
            f"{skipped[0].path}: {skipped[0].reason}"
        )

    lacking = truth.lacking(classes)
    listed = {own for name, own in zip(classes.names, classes.category_ids) if name not in lacking}
    records = {
        "bbox": [record for result in in_order for record in result.bbox if record["category_id"] in listed],
        "segm": [record for result in in_order for record in result.segm if record["category_id"] in listed],
    }
    folder = None if options.output_dir is None else Path(options.output_dir)
    if folder:  # before they are scored, so that an error in the annotations does not lose them
        for kind, of_kind in records.items():
            write_json(folder / f"{kind}.json", of_kind)
    scored = (truth, records, classes.category_ids, image_ids, options.metric)
    evaluation = EvaluationResult(
        compute_metrics(*scored),
        classes,
        records["bbox"],
        records["segm"],
        len(in_order),
        skipped,
        speed,
        by_file_name(truth, compute_image_metrics(*scored)) if options.per_image else None,
        tuple(truth_notes(truth, classes, objects, options.metric)),
        proposals,
    )
    if folder:
        write_json(folder / "metrics.json", evaluation.to_dict(), indent=1)
        chosen = _spread(in_order, options.pictures)
        for failure in draw_pictures(chosen, truth, classes, folder, options.picture_score):
            print(f"note: no picture of {failure.path}: {failure.reason}", file=sys.stderr, flush=True)
    return evaluation


def evaluation_files(cfg: Config) -> tuple[Path, Path]:
    """Returns the annotation file and the image folder of a run: ann_file and image_dir, or those in coco_root.

    With dataset other, image_dir is the folder of the TXT file's images: if there is a coco_root, its images are meant.

    Raises:
        EvaluationError: They are not given, or the folder does not exist.
    """
    if cfg.ann_file and not (cfg.coco_root or cfg.image_dir):
        return Path(cfg.ann_file), images_beside(Path(cfg.ann_file), cfg)
    if not cfg.coco_root and not cfg.ann_file:
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


def images_beside(ann_file: Path, cfg: Config) -> Path:
    """Returns the image folder that an annotation file's place and name tell: COCO's layout, or a flat one.

    ROOT/annotations/instances_SPLIT.json has its images in ROOT/SPLIT.

    Raises:
        EvaluationError: There is no such folder.
    """
    before, after = Path(cfg.instance_set).name.split("{}")
    split = ann_file.name.removeprefix(before).removesuffix(after)
    root = ann_file.resolve().parent
    roots = (root.parent, root) if root.name == Path(cfg.instance_set).parent.name else (root,)
    candidates = [folder / name for folder in roots for name in dict.fromkeys((split, cfg.val_data_type))]
    for folder in candidates:
        if folder.is_dir():
            return folder
    raise EvaluationError(
        f"there is nothing to evaluate on: the images of {ann_file} are not in {' or '.join(map(str, candidates))}; "
        "give --coco_root FOLDER, or --ann_file FILE and --image_dir FOLDER"
    )


def image_sources(truth: GroundTruth, image_dir: Path, options: EvaluationOptions) -> list[ImageSource]:
    """Returns the files of the images to evaluate."""
    return [
        ImageSource(
            image["id"], truth.file.image_path(entry, image_dir), (image["height"], image["width"]), options.exif
        )
        for image, entry in list(zip(truth.images, truth.file.images))[: options.max_images or None]
    ]


def by_file_name(
    truth: GroundTruth, of_images: Mapping[ImageId, dict[str, dict[str, float]]]
) -> dict[str, dict[str, dict[str, float]]]:
    """Returns what is known of images by their ids under their file names."""
    names = {image["id"]: image["file_name"] for image in truth.images}
    return {names[image_id]: values for image_id, values in of_images.items()}


def truth_notes(
    truth: GroundTruth, classes: ClassList, objects: Iterable[dict[str, Any]], metric: MetricSettings
) -> Iterator[str]:
    """Yields what a user should know about the annotations that results were scored against.

    Args:
        truth: The ground truth.
        classes: The classes with their ids in it.
        objects: The annotations that count.
        metric: How results are scored.
    """
    if lacking := truth.lacking(classes):
        names = ", ".join(f"'{name}'" for name in lacking)
        yield f"note: {truth.path} has no category {names}: no AP for {'it' if len(lacking) == 1 else 'them'}"
    objects_of_image = Counter(entry["image_id"] for entry in objects if not entry["iscrowd"])
    most = max(objects_of_image.values())
    if most > metric.most_detections:
        yield (
            f"note: an image has {most} objects, but only the best {metric.most_detections} detections of an image are "
            f"scored: raise max_detections, and test_max_per_img for the network to find more"
        )
    yield from truth.report.lines()


def draw_pictures(
    results: Sequence[ImageResult], truth: GroundTruth, classes: ClassList, folder: Path, score: float
) -> list[Skipped]:
    """Draws ground truth and detections of images side by side into ``folder``/pictures.

    Args:
        results: The images and what was found in them.
        truth: The ground truth.
        classes: The classes with their ids in it.
        folder: Where the evaluation's files are.
        score: Lowest score of a detection in a picture.

    Returns:
        The images whose picture could not be drawn or saved.
    """
    annotations = {result.source.image_id: [] for result in results}
    for annotation in truth.annotations:
        if annotation["image_id"] in annotations:
            annotations[annotation["image_id"]].append(annotation)
    failures = []
    for result in results:
        source = result.source
        expected = objects_from_annotations(annotations[source.image_id], classes.category_ids, classes.names)
        found = objects_from_records(result.bbox, result.segm, classes.category_ids, classes.names, score)
        titles = [f"ground truth: {len(expected)} objects", f"detections with score >= {score:g}: {len(found)}"]
        try:
            rgb = decode_file(source)
            picture = side_by_side([draw_objects(rgb, expected), draw_objects(rgb, found)], titles)
            save_picture(folder / "pictures" / f"{quote(str(source.image_id), safe='')}.jpg", picture)
        except (DataError, EvaluationError, MemoryError) as error:
            failures.append(Skipped(source.path, str(error) or "not enough memory"))
    return failures


def _spread(results: Sequence[ImageResult], count: int) -> list[ImageResult]:
    """``count`` results spread evenly over the data set, which is often sorted by scene or class."""
    count = min(count, len(results))
    return [results[k * len(results) // count] for k in range(count)]
