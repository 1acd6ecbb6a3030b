"""What export.py does, from the command line to the files it leaves."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from maskrcnn.config import Config, load_config
from maskrcnn.errors import CheckpointError, ConfigError, ExportError
from maskrcnn.evaluation.commands import classes_of_checkpoint
from maskrcnn.export.metadata import Metadata, ModelFile, describe, file_sha256, metadata_path


def export_main(argv: Sequence[str], defaults: Path) -> None:
    """Write ``--ckpt_file`` as ``--file_name`` in ``--file_format``, and its metadata."""
    cfg = load_config(
        argv,
        defaults=defaults,
        description="Export a checkpoint: img_height x img_width pixels, test_batch_size images at a time.",
    )
    if not cfg.ckpt_file:
        raise CheckpointError("no checkpoint is given: name one with --ckpt_file FILE")
    for path in export(cfg):
        print(f"{path} ({path.stat().st_size / 2**20:.1f} MiB)")


def export(cfg: Config) -> list[Path]:
    """Export as a configuration says. Returns the model files and, last, the metadata file."""
    # These import MindSpore, which takes seconds.
    from maskrcnn.evaluation.detector import Detector
    from maskrcnn.export.files import INSTEAD_OF_AIR, SUFFIXES, write_model
    from maskrcnn.export.fold import fold_norms
    from maskrcnn.training.checkpoint import load_meta

    names, category_ids = classes_of_checkpoint(cfg, load_meta(cfg.ckpt_file), cfg.ckpt_file)
    if category_ids is None:
        category_ids = tuple(range(1, len(names) + 1))
        print(
            f"note: {cfg.ckpt_file} does not say its category ids: result files will have the labels 1 to {len(names)}"
        )
    target = Path(cfg.file_name)
    suffix = SUFFIXES[cfg.file_format]
    if target.suffix in SUFFIXES.values():
        target = target.with_suffix("")
    try:
        detector = Detector.from_config(cfg, len(names) + 1)
    except ConfigError as error:
        if cfg.file_format != "AIR":
            raise
        raise ExportError(f"{error}: {INSTEAD_OF_AIR}") from error
    detector.load(cfg.ckpt_file)
    fold_norms(detector.network)

    canvases = {target.name: (cfg.img_height, cfg.img_width)}
    if cfg.both_canvases:
        canvases[f"{target.name}_upright"] = (cfg.img_width, cfg.img_height)
    models, paths, opset = [], [], 0
    for name, (height, width) in canvases.items():
        path = target.parent / (name + suffix)
        opset = write_model(detector.network, cfg.file_format, path, cfg.test_batch_size, height, width)
        models.append(ModelFile(path.name, height, width, cfg.test_batch_size, file_sha256(path)))
        paths.append(path)
    metadata = describe(cfg, tuple(names), tuple(category_ids), Path(cfg.ckpt_file), opset)
    description = metadata_path(target.parent / (target.name + suffix))
    replace(metadata, models=tuple(models)).with_others(_older(description)).write(description)
    return [*paths, description]


def _older(path: Path) -> Metadata | None:
    try:
        return Metadata.read(path)
    except ExportError:
        return None  # none yet, or one of another version: it is replaced
