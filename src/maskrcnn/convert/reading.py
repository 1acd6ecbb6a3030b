"""Weights of any known source, in memory, as a checkpoint of ours holds them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from maskrcnn.checkpoint.weights import LoadedWeights, is_training_state
from maskrcnn.config import Config
from maskrcnn.config.limits import shown
from maskrcnn.config.stored import contradict
from maskrcnn.convert.adapting import CLASS_SCORE, Conversion
from maskrcnn.convert.files import Weights, read_file
from maskrcnn.convert.layout import network_settings
from maskrcnn.convert.sources import SETTINGS_OF_LAYOUT, convert_weights, is_ours
from maskrcnn.errors import CheckpointError, ConfigError
from maskrcnn.files import sha256

# torchvision gives its own COCO weights of 2019 an eps of 0; the file's name says the start of its sha256.
EPS_ZERO_FILES = ("bf2d0c1e",)


def read_weights(path: str | Path) -> LoadedWeights:
    """Reads the weights in a file of any source that can be converted, as a checkpoint of ours would hold them.

    A checkpoint of ours is read as it is, without the state of the optimizer. Where it does not hold the settings of
    its network, since it was converted by an older version or saved by MindSpore, the metadata get those that can be
    told.

    Raises:
        CheckpointError: Missing, damaged, or of no known source.
    """
    path = Path(path)
    file = read_file(path)
    _check_no_integers(path, file.arrays)
    if file.meta or is_ours(file.arrays):
        arrays = {name: array for name, array in file.arrays.items() if not is_training_state(name)}
        return LoadedWeights(path, arrays, _with_settings(file.meta, arrays), list(file.notes))
    result, digest = convert_source(path, file)
    notes = [f"{result.layout}, {result.format}, converted", *result.notes]
    arrays = {name: one.array for name, one in result.tensors.items()}
    return LoadedWeights(path, arrays, make_meta(result, path, digest), notes)


def _check_no_integers(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Refuses quantised weights: integers mean nothing without their scales. Counters have one element or none."""
    for name, array in arrays.items():
        if array.ndim >= 2 and not np.issubdtype(array.dtype, np.floating):
            raise CheckpointError(
                f"{path} holds {name} as {array.dtype}: quantised weights cannot be read, use those in floating point"
            )


def convert_source(
    path: Path,
    file: Weights,
    *,
    norm_eps: float | None = None,
    all_classes: bool = False,
    class_names: Sequence[str] = (),
) -> tuple[Conversion, str]:
    """Converts what was read from a file.

    Args:
        path: The file.
        file: Its content.
        norm_eps: See ``convert_weights``; None also looks at which file it is.
        all_classes: See ``convert_weights``.
        class_names: Names of the labels 1..K, for a source that does not say them.

    Returns:
        The conversion and the checksum of the file.

    Raises:
        CheckpointError: See ``convert_weights``; or the number of names is another.
    """
    digest = sha256(path)
    if norm_eps is None and digest.startswith(EPS_ZERO_FILES):
        norm_eps = 0.0
    result = convert_weights(file, str(path), norm_eps, all_classes)
    if class_names:
        found = len(result.tensors[CLASS_SCORE].array) - 1 if CLASS_SCORE in result.tensors else 0
        if found != len(class_names):
            raise CheckpointError(f"{path} has {found} classes besides the background, {len(class_names)} are named")
        result = replace(result, classes=(tuple(class_names), tuple(range(1, found + 1))))
    return result, digest


def make_meta(result: Conversion, path: Path, digest: str, settings: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Returns the metadata of a converted checkpoint: its source, its classes and the settings of its network.

    Args:
        result: The conversion.
        path: The source file.
        digest: Its checksum.
        settings: Values of configuration keys that the user knows better than the source says.

    Raises:
        ConfigError: The settings cannot work, or the source is a backbone, which has none.
    """
    if settings and not result.settings:
        raise ConfigError(
            f"{path} is a {result.layout}: only whole networks have settings; remove {', '.join(settings)}"
        )
    source = {"file": path.name, "sha256": digest, "format": result.format, "layout": result.layout}
    meta: dict[str, Any] = {"source": source}
    if result.settings:
        shapes = {name: one.array.shape for name, one in result.tensors.items()}
        told = network_settings(shapes)
        config = _complete(told, result.settings, settings or {})
        for key, value in _complete(told).items():
            if key in told and contradict(key, config[key], value):
                raise ConfigError(f"{key} is {shown(config[key])}, but the weights in {path} say {shown(value)}")
        meta["config"] = config
    if result.classes:
        names, ids = result.classes
        meta.update(class_names=list(names), category_ids=list(ids))
    return meta


def _with_settings(meta: Mapping[str, Any], arrays: Mapping[str, Any]) -> dict[str, Any]:
    """Returns metadata with the settings that can be told, if they have none; {} settings for a backbone alone."""
    if "config" in meta:
        return dict(meta)
    shapes = {name: array.shape for name, array in arrays.items()}
    if CLASS_SCORE not in shapes:
        return dict(meta)
    told = network_settings(shapes)
    layout = meta.get("source", {}).get("layout")
    if layout in SETTINGS_OF_LAYOUT:
        told = _complete(told, SETTINGS_OF_LAYOUT[layout])
    return {**meta, "config": told}


def _complete(*layers: Mapping[str, Any]) -> dict[str, Any]:
    """Returns a whole configuration of these settings, the later ones on top."""
    values: dict[str, Any] = {}
    for layer in layers:
        for key, value in layer.items():
            values[key] = {**values.get(key, {}), **value} if isinstance(value, dict) else value
    return Config.from_dict(values).to_dict()
