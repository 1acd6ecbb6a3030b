"""What eval.py, predict.py and postprocess.py do, from the command line to the files they leave."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from maskrcnn.config import Config, load_arguments, load_config
from maskrcnn.data.sources.classes import ClassList, without_background
from maskrcnn.distributed.process_group import ProcessGroup, started_by_msrun
from maskrcnn.errors import CheckpointError, ConfigError, EvaluationError
from maskrcnn.evaluation.evaluator import (
    check_checkpoint_classes,
    evaluate_from_config,
    evaluation_files,
    judge,
)
from maskrcnn.evaluation.ground_truth import load_ground_truth
from maskrcnn.evaluation.metrics import MetricSettings
from maskrcnn.evaluation.report import class_table, coco_table, skipped_report, speed_report
from maskrcnn.export.metadata import Metadata, metadata_path
from maskrcnn.inference.pipeline import DetectorFunction
from maskrcnn.inference.predictor import find_images, predict_from_config

if TYPE_CHECKING:
    from maskrcnn.inference.exported import ExportedModel


def eval_main(argv: Sequence[str], defaults: Path) -> None:
    """Evaluate ``--checkpoint_path`` or ``--model`` on ``--coco_root``, or on ``--ann_file`` and ``--image_dir``."""
    cfg = load_config(argv, defaults=defaults, description="Evaluate a checkpoint or an exported model on COCO data.")
    group = _join(cfg)
    exported = _exported_metadata(cfg)
    meta = {} if exported else _checkpoint_meta(cfg)
    cfg = cfg.replace(**exported.settings()) if exported else cfg
    ann_file, _ = evaluation_files(cfg)
    truth = load_ground_truth(ann_file)
    names = exported.classes if exported else cfg.coco_classes
    classes = ClassList.from_categories(truth.categories, names, str(ann_file))
    if exported:
        model = _exported_model(cfg, exported)
        result = evaluate_from_config(cfg, model, classes, truth, model.both_canvases, group)
    else:
        check_checkpoint_classes(meta.get("class_names"), classes, cfg.checkpoint_path)
        result = evaluate_from_config(cfg, _detector(cfg, len(classes) + 1), classes, truth, group=group)
    if result:
        print(result.report())
        print(f"Results, figures and pictures are in {cfg.eval_output}")
    group.barrier("rank 0 to judge the results")


def predict_main(argv: Sequence[str], defaults: Path) -> None:
    """Find objects with ``--checkpoint_path`` or ``--model`` in the image files and folders that are named."""
    cfg, paths = load_arguments(
        argv,
        defaults=defaults,
        description="Find objects in images: pictures and predictions.json.",
        usage="predict.py IMAGE_OR_FOLDER... --checkpoint_path FILE",
    )
    if not paths:
        raise ConfigError("predict.py needs image files or folders: predict.py IMAGE_OR_FOLDER...")
    find_images(paths)  # a misspelt path is reported before the network is built
    if exported := _exported_metadata(cfg):
        cfg = cfg.replace(**exported.settings())
        model = _exported_model(cfg, exported)
        names, category_ids = exported.classes, exported.category_ids
        prediction = predict_from_config(cfg, model, paths, names, category_ids, model.both_canvases)
    else:
        names, category_ids = classes_of_checkpoint(cfg, _checkpoint_meta(cfg), cfg.checkpoint_path)
        prediction = predict_from_config(cfg, _detector(cfg, len(names) + 1), paths, names, category_ids)
    found = sum(len(image["detections"]) for image in prediction.images)
    print(f"{found} detections in {len(prediction.images)} images, written to {cfg.predict_output}")
    for text in (skipped_report(prediction.skipped), speed_report(prediction.speed)):
        if text:
            print(text)


def postprocess_main(argv: Sequence[str], defaults: Path) -> None:
    """Judge result files that something else has written, and leave the tables in acc.log."""
    cfg, paths = load_arguments(
        argv,
        defaults=defaults,
        description="Judge COCO result files: prints the tables and writes acc.log into log_dir.",
        usage="postprocess.py BBOX_JSON [SEGM_JSON] --ann_file FILE [--model FILE]",
    )
    if len(paths) not in (1, 2):
        raise ConfigError(f"expected BBOX_JSON and perhaps SEGM_JSON, got {len(paths)} files")
    if not (cfg.ann_file or cfg.coco_root):
        raise ConfigError("postprocess.py needs the annotations: give --ann_file FILE or --coco_root FOLDER")
    ann_file = cfg.ann_file or Path(cfg.coco_root) / cfg.instance_set.format(cfg.val_data_type)
    truth = load_ground_truth(ann_file)
    exported = _exported_metadata(cfg)
    names = exported.classes if exported else cfg.coco_classes
    classes = ClassList.from_categories(truth.categories, names, str(ann_file))
    records = {kind: _read_records(path) for kind, path in zip(("bbox", "segm"), paths)}
    image_ids = [image["id"] for image in truth.images[: cfg.eval_images or None]]
    metrics = judge(truth, records, classes, image_ids, MetricSettings.from_config(cfg))
    parts = [coco_table(of_kind) for of_kind in metrics.values()] + [class_table(metrics, classes.names)]
    text = "\n\n".join(parts)
    print(text)
    log = Path(cfg.log_dir) / "acc.log"
    try:
        log.parent.mkdir(parents=True, exist_ok=True)
        log.write_text(text + "\n", encoding="utf-8")
    except OSError as error:
        raise EvaluationError(f"cannot write {log}: {error.strerror or error}") from error


def classes_of_checkpoint(
    cfg: Config, meta: dict[str, Any], path: str
) -> tuple[tuple[str, ...], tuple[int, ...] | None]:
    """Names and category ids: the checkpoint's own, or coco_classes, without ids, where it has none."""
    if meta.get("class_names"):
        category_ids = meta.get("category_ids")
        return tuple(meta["class_names"]), tuple(category_ids) if category_ids else None
    names = without_background(cfg.coco_classes)
    if not names:
        raise CheckpointError(f"{path} does not say its class names: name them with --coco_classes")
    return names, None


def _join(cfg: Config) -> ProcessGroup:
    """The processes that evaluate together; they must have the same weights to evaluate."""
    if not started_by_msrun():
        return ProcessGroup()
    from maskrcnn.device import join_process_group  # imports MindSpore, which takes seconds

    group = join_process_group(cfg)
    path = Path(cfg.model or cfg.checkpoint_path)
    group.check_same(path.read_bytes() if path.is_file() else b"", f"contents of {path}")
    return group


def _checkpoint_meta(cfg: Config) -> dict[str, Any]:
    """Metadata of the run's checkpoint, empty for one that has none."""
    from maskrcnn.checkpoint.format import load_meta  # imports MindSpore, which takes seconds

    if not cfg.checkpoint_path:
        raise CheckpointError("no checkpoint is given: name one with --checkpoint_path FILE, or a --model FILE")
    return load_meta(cfg.checkpoint_path)


def _detector(cfg: Config, num_classes: int) -> DetectorFunction:
    """The network of the run's checkpoint; ``num_classes`` counts the background."""
    from maskrcnn.inference.detector import Detector  # imports MindSpore, which takes seconds

    detector = Detector.from_config(cfg, num_classes)
    detector.load(cfg.checkpoint_path)
    return detector


def _exported_metadata(cfg: Config) -> Metadata | None:
    """Metadata of the run's exported model, None if it is to use a checkpoint."""
    if not cfg.model:
        return None
    if cfg.checkpoint_path:
        raise ConfigError("both --model and --checkpoint_path are given: name one of them")
    return Metadata.read(metadata_path(Path(cfg.model)))


def _exported_model(cfg: Config, metadata: Metadata) -> ExportedModel:
    from maskrcnn.inference.exported import load_exported  # imports a runtime, which takes seconds

    return load_exported(Path(cfg.model), metadata, cfg.device_target, cfg.device_id)


def _read_records(path: str) -> list[dict[str, Any]]:
    try:
        records = json.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise EvaluationError(f"cannot read the results {path}: {error.strerror or error}") from error
    except ValueError as error:
        raise EvaluationError(f"the results {path} are no JSON: {error}") from error
    if not isinstance(records, list):
        raise EvaluationError(f"the results {path} are a {type(records).__name__}, not a list of results")
    return records
