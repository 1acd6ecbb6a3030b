"""A checkpoint as model files and the metadata beside them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from maskrcnn.checkpoint.weights import LoadedWeights, load_weights
from maskrcnn.config import Config
from maskrcnn.errors import ExportError
from maskrcnn.export.files import SUFFIXES, write_model
from maskrcnn.export.fold import fold_norms
from maskrcnn.export.metadata import Metadata, ModelFile, describe, metadata_path
from maskrcnn.files import sha256
from maskrcnn.models.build import build_network


def export_weights(
    weights: LoadedWeights, cfg: Config, names: Sequence[str], category_ids: Sequence[int | str]
) -> list[Path]:
    """Exports a network as a configuration says.

    Args:
        weights: Its weights.
        cfg: The network, the canvases, the format and the file name.
        names: The class names, that of label 1 first.
        category_ids: Their ids in the data set the network was trained on.

    Returns:
        The model files and, last, the metadata file.

    Raises:
        CheckpointError: The weights are those of another network.
        ExportError: The format cannot be written here, or the files cannot.
    """
    network = build_network(cfg, len(names) + 1)
    network.set_train(False)
    load_weights(network, weights)
    fold_norms(network)
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
    described = describe(cfg, tuple(names), tuple(category_ids), weights.path, opset)
    path = metadata_path(paths[0])
    replace(described, models=tuple(models)).with_others(_older(path)).write(path)
    return [*paths, path]


def _older(path: Path) -> Metadata | None:
    """The metadata of an earlier export of this name; None if there is none, or one that will be replaced."""
    try:
        return Metadata.read(path)
    except ExportError:
        return None
