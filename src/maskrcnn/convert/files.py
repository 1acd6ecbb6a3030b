"""Weights out of files of any of the known formats, recognised by their contents, whatever they are called."""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from maskrcnn.checkpoint.format import AVERAGE_PREFIX, META_ENTRY, load_training_state, network_arrays
from maskrcnn.convert.containers import find_weights, unwrap
from maskrcnn.convert.pickles import load_pickle
from maskrcnn.convert.safetensors import LENGTH_BYTES, read_safetensors
from maskrcnn.convert.torch_files import LEGACY_MAGIC, PICKLE_NAME, read_legacy, read_zip
from maskrcnn.errors import CheckpointError

ZIP_START = b"PK\x03\x04"
PICKLE_START = b"\x80"  # of protocols 2 to 5
CHECKPOINT_START = b"\x0a"
JSON_START = b"{"


class Weights(NamedTuple):
    """Tensors of a file.

    Attributes:
        arrays: By name.
        format: Of the file, in words.
        meta: Our metadata, {} for a file that is not ours.
        notes: What a user should know of how the tensors were found.
    """

    arrays: dict[str, np.ndarray]
    format: str
    meta: dict[str, Any]
    notes: Sequence[str] = ()


def read_file(path: str | Path, entry: str = "") -> Weights:
    """Reads the tensors in a .pth, .safetensors, .npz, .pkl or .ckpt file.

    Nothing in the file is run: see ``pickles.py``.

    Args:
        path: The file, whatever it is called.
        entry: The key of the weights to take from a training script's checkpoint that has several.

    Raises:
        CheckpointError: Missing, damaged, of no known format, without weights, or a pickle that is an attack.
    """
    path = Path(path)
    try:
        with open(path, "rb") as file:
            start = file.read(LENGTH_BYTES + 1)
        if _is_safetensors(path, start):  # first: the length it begins with may look like anything
            return _unwrapped(read_safetensors(path), ".safetensors", path)
        return _read(path, start, entry)
    except FileNotFoundError:
        raise CheckpointError(f"{path} does not exist") from None
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read: {error.strerror or error}") from error
    except zipfile.BadZipFile as error:
        raise CheckpointError(f"{path} is damaged: {error}") from error


def _read(path: Path, start: bytes, entry: str) -> Weights:
    if start.startswith(ZIP_START):
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
        if any(name.split("/")[-1] == PICKLE_NAME for name in names):
            arrays, notes = read_zip(path, entry)
            return Weights(arrays, ".pth (zip format, read without torch)", {}, notes)
        if names and all(name.endswith(".npy") for name in names):
            return _unwrapped(_read_npz(path), ".npz", path)
    elif start.startswith(PICKLE_START):
        with open(path, "rb") as file:
            saved = load_pickle(file, str(path))
        if saved == LEGACY_MAGIC:
            arrays, notes = read_legacy(path, entry)
            return Weights(arrays, ".pth (older format, read without torch)", {}, notes)
        arrays, notes = find_weights(saved, str(path), entry)
        return Weights(arrays, ".pkl", {}, notes)
    elif start.startswith(CHECKPOINT_START):
        arrays, meta = load_training_state(path)
        if meta:
            averaged = any(name.startswith(AVERAGE_PREFIX) for name in arrays)
            notes = ["the moving averages of its weights are taken (ema_decay)"] if averaged else []
            return Weights(network_arrays(arrays), f"MindSpore .ckpt with {META_ENTRY}", meta, notes)
        return _unwrapped(arrays, "MindSpore .ckpt", path)
    raise CheckpointError(f"{path} is neither .pth, .safetensors, .npz, .pkl nor .ckpt by its contents")


def _unwrapped(arrays: dict[str, np.ndarray], file_format: str, path: Path) -> Weights:
    arrays, notes = unwrap(arrays, str(path))
    return Weights(arrays, file_format, {}, notes)


def _is_safetensors(path: Path, start: bytes) -> bool:
    length = int.from_bytes(start[:LENGTH_BYTES], "little")
    return start[LENGTH_BYTES:] == JSON_START and length < path.stat().st_size


def _read_npz(path: Path) -> dict[str, np.ndarray]:
    try:
        with np.load(path, allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files}
    except ValueError as error:
        raise CheckpointError(f"{path} is refused or damaged: {error}") from error
