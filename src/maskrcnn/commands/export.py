"""What export.py does, from the command line to the files it leaves."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from maskrcnn.cli import program
from maskrcnn.config import load_config
from maskrcnn.errors import CheckpointError, ConfigError, ExportError

EVERYDAY = (
    "ckpt_file",
    "file_format",
    "file_name",
    "img_width",
    "img_height",
    "both_canvases",
    "test_batch_size",
    "test_score_thr",
    "test_max_per_img",
    "device_target",
)


def main(argv: Sequence[str] | None = None, defaults: Path | None = None) -> None:
    """Writes ``--ckpt_file`` as ``--file_name`` in ``--file_format``, and its metadata.

    Raises:
        MaskRCNNError: The settings or the checkpoint cannot be used, or the format cannot be written here.
    """
    cfg = load_config(
        argv,
        defaults=defaults,
        description="Export a checkpoint: img_height x img_width pixels, test_batch_size images at a time.",
        usage=f"{program('export')} --ckpt_file FILE --file_format MINDIR|ONNX|AIR",
        everyday=EVERYDAY,
    )
    if not cfg.ckpt_file:
        raise CheckpointError("no checkpoint is given: name one with --ckpt_file FILE")
    # Only now, since these imports take time, and mistakes in the settings are to be told at once.
    from maskrcnn.device import join_process_group
    from maskrcnn.export.exporter import export_weights
    from maskrcnn.export.files import INSTEAD_OF_AIR
    from maskrcnn.inference.open import read_checkpoint

    content = read_checkpoint(cfg, Path(cfg.ckpt_file))
    cfg, names, category_ids = content.cfg, content.class_names, content.category_ids
    notes = list(content.notes)
    if category_ids is None:
        category_ids = tuple(range(1, len(names) + 1))
        notes.append(f"{cfg.ckpt_file} has no category ids: results will have the labels 1 to {len(names)} instead")
    for note in notes:
        print(f"note: {note}")
    try:
        join_process_group(cfg)
    except ConfigError as error:
        if cfg.file_format != "AIR":
            raise
        raise ExportError(f"{error}: {INSTEAD_OF_AIR}") from error
    for path in export_weights(content.weights, cfg, names, category_ids):
        print(f"{path} ({path.stat().st_size / 2**20:.1f} MiB)")
