"""What export.py does, from the command line to the files it leaves."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from maskrcnn.commands.evaluate import classes_of_checkpoint
from maskrcnn.config import Config, load_config
from maskrcnn.errors import CheckpointError, ConfigError, ExportError
from maskrcnn.export.metadata import Metadata, ModelFile, describe, metadata_path
from maskrcnn.files import sha256

if TYPE_CHECKING:
    from maskrcnn.models.mask_rcnn import MaskRCNN


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
    from maskrcnn.export.files import SUFFIXES, write_model  # imports MindSpore, which takes seconds

    classes, category_ids = _classes(cfg)
    network = _folded_network(cfg, len(classes) + 1)
    target = Path(cfg.file_name)
    if target.suffix in SUFFIXES.values():
        target = target.with_suffix("")
    canvases = {target.name: (cfg.img_height, cfg.img_width)}
    if cfg.both_canvases:
        canvases[f"{target.name}_upright"] = (cfg.img_width, cfg.img_height)
    paths, models, opset = [], [], 0
    for name, (height, width) in canvases.items():
        path = target.parent / (name + SUFFIXES[cfg.file_format])
        opset = write_model(network, cfg.file_format, path, cfg.test_batch_size, height, width)
        paths.append(path)
        models.append(ModelFile(path.name, height, width, cfg.test_batch_size, sha256(path)))
    metadata = replace(describe(cfg, classes, category_ids, Path(cfg.ckpt_file), opset), models=tuple(models))
    path = metadata_path(paths[0])
    metadata.with_others(_older(path)).write(path)
    return [*paths, path]


def _classes(cfg: Config) -> tuple[tuple[str, ...], tuple[int, ...]]:
    """Names and category ids of the checkpoint's classes; the labels 1..K where it has no ids."""
    from maskrcnn.checkpoint.format import load_meta

    names, category_ids = classes_of_checkpoint(cfg, load_meta(cfg.ckpt_file), cfg.ckpt_file)
    if category_ids is None:
        category_ids = tuple(range(1, len(names) + 1))
        print(f"note: {cfg.ckpt_file} has no category ids: results will have the labels 1 to {len(names)} instead")
    return names, category_ids


def _folded_network(cfg: Config, num_classes: int) -> MaskRCNN:
    """The network with the checkpoint's weights; ``num_classes`` counts the background."""
    from maskrcnn.export.files import INSTEAD_OF_AIR
    from maskrcnn.export.fold import fold_norms
    from maskrcnn.inference.detector import Detector

    try:
        detector = Detector.from_config(cfg, num_classes)
    except ConfigError as error:
        if cfg.file_format != "AIR":
            raise
        raise ExportError(f"{error}: {INSTEAD_OF_AIR}") from error
    detector.load(cfg.ckpt_file)
    fold_norms(detector.network)
    return detector.network


def _older(path: Path) -> Metadata | None:
    try:
        return Metadata.read(path)
    except ExportError:
        return None  # none yet, or one of another version: it is replaced
