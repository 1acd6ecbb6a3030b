"""What postprocess.py does, from the command line to the files it leaves."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from maskrcnn.cli import program
from maskrcnn.config import load_arguments
from maskrcnn.errors import ConfigError, EvaluationError

EVERYDAY = (
    "ann_file",
    "coco_root",
    "val_data_type",
    "model",
    "coco_classes",
    "log_dir",
    "eval_images",
    "metric_engine",
    "metric_protocol",
    "metric_boundary",
)


def main(argv: Sequence[str] | None = None, defaults: Path | None = None) -> None:
    """Scores result files that something else has written, and leaves the tables in acc.log.

    Raises:
        MaskRCNNError: The settings, the results or the annotations cannot be used.
    """
    cfg, paths = load_arguments(
        argv,
        defaults=defaults,
        description="Score COCO result files: prints the tables and writes acc.log into log_dir.",
        usage=f"{program('postprocess')} BBOX_JSON [SEGM_JSON] --ann_file FILE [--model FILE]",
        everyday=EVERYDAY,
    )
    if len(paths) not in (1, 2):
        raise ConfigError(f"expected BBOX_JSON and perhaps SEGM_JSON, got {len(paths)} files")
    if not (cfg.ann_file or cfg.coco_root):
        raise ConfigError("it needs the annotations: give --ann_file FILE or --coco_root FOLDER")
    # Only now, since these imports take time, and mistakes in the settings are to be told at once.
    from maskrcnn.data.sources.classes import without_background
    from maskrcnn.evaluation.evaluator import truth_notes
    from maskrcnn.evaluation.ground_truth import load_ground_truth
    from maskrcnn.evaluation.metrics import MetricSettings, compute_metrics
    from maskrcnn.evaluation.report import class_table, coco_table
    from maskrcnn.evaluation.result_file import check_results, read_results, sizes_of_masks
    from maskrcnn.export.metadata import Metadata, metadata_path

    ann_file = cfg.ann_file or Path(cfg.coco_root) / cfg.instance_set.format(cfg.val_data_type)
    found = {kind: read_results(path) for kind, path in zip(("bbox", "segm"), paths)}
    sizes = sizes_of_masks(found.get("segm", ()))
    truth = load_ground_truth(ann_file, sizes=sizes, strict=cfg.strict)
    names = Metadata.read(metadata_path(Path(cfg.model))).classes if cfg.model else without_background(cfg.coco_classes)
    classes = truth.find_classes(names or truth.class_names)
    records = {kind: check_results(found[kind], kind, truth, path) for kind, path in zip(found, paths)}
    image_ids = [image["id"] for image in truth.images[: cfg.eval_images or None]]
    settings = MetricSettings.from_config(cfg)
    metrics = compute_metrics(truth, records, classes.category_ids, image_ids, settings)
    objects = truth.objects_of(classes.category_ids, image_ids)
    parts = [coco_table(of_kind) for of_kind in metrics.values()] + [class_table(metrics, classes.names)]
    parts.append("\n".join(truth_notes(truth, classes, objects, settings)))
    text = "\n\n".join(part for part in parts if part)
    print(text)
    log = Path(cfg.log_dir) / "acc.log"
    try:
        log.parent.mkdir(parents=True, exist_ok=True)
        log.write_text(text + "\n", encoding="utf-8", errors="backslashreplace")
    except OSError as error:
        raise EvaluationError(f"cannot write {log}: {error.strerror or error}") from error
