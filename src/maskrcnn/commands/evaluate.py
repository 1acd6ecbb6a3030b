"""What eval.py does, from the command line to the files it leaves."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from maskrcnn.cli import program
from maskrcnn.config import load_config
from maskrcnn.errors import ConfigError

EVERYDAY = (
    "checkpoint_path",
    "model",
    "coco_root",
    "ann_file",
    "image_dir",
    "eval_output",
    "test_score_thr",
    "device_target",
    "eval_images",
    "report",
)


def main(argv: Sequence[str] | None = None, defaults: Path | None = None) -> None:
    """Evaluates ``--checkpoint_path`` or ``--model`` on ``--coco_root``, or on ``--ann_file`` and ``--image_dir``.

    Raises:
        MaskRCNNError: The settings, the model or the data cannot be used.
    """
    cfg = load_config(
        argv,
        defaults=defaults,
        description="Evaluate a checkpoint or an exported model on COCO data.",
        usage=f"{program('eval')} --checkpoint_path FILE --coco_root DIR",
        everyday=EVERYDAY,
    )
    # Only now, since these imports take time, and mistakes in the settings are to be told at once.
    from maskrcnn.commands.model import prepare_device
    from maskrcnn.evaluation.evaluator import EvaluationOptions, evaluate, evaluation_files
    from maskrcnn.evaluation.ground_truth import load_ground_truth
    from maskrcnn.evaluation.proposals import evaluate_proposals
    from maskrcnn.inference.open import model_file, open_model
    from maskrcnn.report.build import build_report
    from maskrcnn.report.runs import find_log

    group = prepare_device(cfg)
    ann_file, image_dir = evaluation_files(cfg)
    truth = load_ground_truth(ann_file, image_dir=image_dir, exif=cfg.exif == "apply", strict=cfg.strict)
    model = open_model(cfg, unnamed=truth.class_names)
    classes = truth.find_classes(model.class_names, model.category_ids)
    if group.rank == 0:
        for note in model.notes:
            print(f"note: {note}")
    options = EvaluationOptions.from_config(cfg)
    proposals = None
    if cfg.proposal_recall:
        if model.proposer is None:
            raise ConfigError("proposal_recall needs a checkpoint: an exported model gives no proposals")
        proposals = evaluate_proposals(model.proposer, truth, image_dir, classes, model.settings, options, group)
    result = evaluate(model.detector, truth, image_dir, classes, model.settings, options, group, proposals)
    if result:
        print(result.report())
        print(f"Results, metrics and pictures are in {cfg.eval_output}")
        if cfg.report:
            line = build_report(
                Path(cfg.eval_output) / "report.html",
                truth,
                {"bbox": result.bbox, "segm": result.segm},
                classes,
                result.metrics,
                options.metric,
                image_ids=[image["id"] for image in truth.images[: cfg.eval_images or None]],
                image_dir=image_dir,
                log_dir=Path(cfg.log_dir) if find_log(Path(cfg.log_dir)) else None,
                title=f"{model_file(cfg).name} on {ann_file.name}",
                exif=options.exif,
            )
            print(line)
    group.barrier("rank 0 to score the results")
