"""Weights from elsewhere into our checkpoints, and back: ``python -m maskrcnn.convert SOURCE OUT``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from maskrcnn.checkpoint.format import MOMENT_PREFIXES, save_checkpoint
from maskrcnn.convert import torchvision
from maskrcnn.convert.adapting import Conversion
from maskrcnn.convert.files import Weights, read_file
from maskrcnn.convert.reading import convert_source, make_meta, read_weights
from maskrcnn.convert.safetensors import write_safetensors
from maskrcnn.convert.sources import convert_weights
from maskrcnn.errors import CheckpointError
from maskrcnn.files import whole_file

__all__ = ["Conversion", "Weights", "convert_file", "convert_weights", "export_file", "read_weights"]


def convert_file(
    source: str | Path,
    out: str | Path | None,
    *,
    norm_eps: float | None = None,
    all_classes: bool = False,
    class_names: Sequence[str] = (),
    entry: str = "",
    settings: Mapping[str, Any] | None = None,
) -> Conversion:
    """Converts the weights in ``source`` and, unless ``out`` is None, writes them as a checkpoint of ours.

    Args:
        source: A file of any known format.
        out: The checkpoint to write.
        norm_eps: eps of the source's batch normalisation; None for what is usual there.
        all_classes: Keep torchvision's 91 classes instead of COCO's 80.
        class_names: Names of the labels 1..K, for a source that does not say them.
        entry: The key of the weights to take from a training script's checkpoint that has several.
        settings: Values of configuration keys for the checkpoint to hold, besides those that its source tells.

    Raises:
        CheckpointError: See ``read_file`` and ``convert_weights``; or the number of names is another.
        ConfigError: The settings cannot work.
    """
    source = Path(source)
    result, digest = convert_source(
        source, read_file(source, entry), norm_eps=norm_eps, all_classes=all_classes, class_names=class_names
    )
    meta = make_meta(result, source, digest, settings)
    if out is not None:
        save_checkpoint(Path(out), ((name, one.array) for name, one in result.tensors.items()), meta)
    return result


def export_file(source: str | Path, out: str | Path) -> dict[str, np.ndarray]:
    """Writes a checkpoint of ours as torchvision lays it out, .safetensors or .npz by the name of ``out``.

    Raises:
        CheckpointError: ``source`` is not a whole network of ours, torchvision's layout cannot hold it, or ``out`` has
            another ending or cannot be written.
    """
    source, out = Path(source), Path(out)
    weights = read_file(source)
    if not weights.meta:
        raise CheckpointError(f"{source} is no checkpoint of ours: only these can be exported")
    arrays = {name: array for name, array in weights.arrays.items() if not name.startswith(MOMENT_PREFIXES)}
    result = torchvision.to_torchvision(arrays, str(source))
    if out.suffix == ".safetensors":
        names = weights.meta.get("class_names") or []
        write_safetensors(out, result, {"format": "pt", "class_names": "\n".join(names)})
    elif out.suffix == ".npz":
        _write_npz(out, result)
    else:
        raise CheckpointError(f"{out}: an export ends in .safetensors or .npz")
    return result


def _write_npz(path: Path, arrays: dict[str, np.ndarray]) -> None:
    try:
        with whole_file(path) as file:
            np.savez(file, **arrays)
    except OSError as error:
        raise CheckpointError(f"cannot write {path}: {error.strerror or error}") from error
