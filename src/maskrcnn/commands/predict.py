"""What predict.py does, from the command line to the files it leaves."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from maskrcnn.cli import program
from maskrcnn.config import load_arguments
from maskrcnn.errors import ConfigError

EVERYDAY = (
    "checkpoint_path",
    "model",
    "predict_output",
    "picture_score_thr",
    "test_score_thr",
    "test_max_per_img",
    "mask_thr_binary",
    "tile",
    "device_target",
    "test_batch_size",
)


def main(argv: Sequence[str] | None = None, defaults: Path | None = None) -> None:
    """Finds objects with ``--checkpoint_path`` or ``--model`` in the image files and folders that are named.

    Raises:
        MaskRCNNError: The settings, the model or all of the images cannot be used.
    """
    cfg, paths = load_arguments(
        argv,
        defaults=defaults,
        description="Find objects in images: pictures and predictions.json.",
        usage=f"{program('predict')} IMAGE_OR_FOLDER... --checkpoint_path FILE",
        everyday=EVERYDAY,
    )
    if cfg.redraw:
        from maskrcnn.inference.redraw import redraw

        for item in redraw(cfg.redraw, cfg.predict_output, cfg.picture_score_thr):
            print(f"note: no picture of {item.path}: {item.reason}")
        print(f"the pictures of {cfg.redraw} are drawn again in {cfg.predict_output}")
        return
    if not paths:
        raise ConfigError(f"it needs image files or folders: {program('predict')} IMAGE_OR_FOLDER...")
    # Only now, since these imports take time, and mistakes in the settings are to be told at once.
    from maskrcnn.commands.model import prepare_device
    from maskrcnn.evaluation.report import skipped_report, speed_report
    from maskrcnn.inference.open import open_model
    from maskrcnn.inference.predictor import PredictionOptions, find_images, predict

    images = find_images(paths)  # a misspelt path is reported before the network is built
    prepare_device(cfg)
    model = open_model(cfg)
    for note in model.notes:
        print(f"note: {note}")
    options = PredictionOptions.from_config(cfg)
    prediction = predict(model, images, options)
    if images.own_pictures:
        print(f"note: {images.own_pictures} pictures of earlier runs were left out")
    for item in prediction.not_drawn:
        print(f"note: no picture of {item.path}: {item.reason}")
    found = sum(len(image["detections"]) for image in prediction.images)
    print(f"{found} detections in {len(prediction.images)} images, written to {options.output_dir}")
    for text in (skipped_report(prediction.skipped), speed_report(prediction.speed)):
        if text:
            print(text)
