"""Weights out of files of any of the known formats, recognised by their contents, whatever they are called."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from maskrcnn.checkpoint.format import META_ENTRY, load_training_state
from maskrcnn.convert.pickles import load_pickle, plain
from maskrcnn.convert.safetensors import LENGTH_BYTES, read_safetensors
from maskrcnn.convert.torch_files import LEGACY_MAGIC, PICKLE_NAME, read_legacy, read_zip
from maskrcnn.errors import CheckpointError

ZIP_START = b"PK\x03\x04"
PICKLE_START = b"\x80"  # of protocols 2 to 5
CHECKPOINT_START = b"\x0a"
JSON_START = b"{"
CONTAINERS = ("model", "state_dict", "model_state_dict", "net")  # what training scripts put the weights under
DATA_PARALLEL = "module."  # torch's prefix of every name


class Weights(NamedTuple):
    """Tensors of a file by name, its format in words, and our metadata ({} for a file that is not ours)."""

    arrays: dict[str, np.ndarray]
    format: str
    meta: dict[str, Any]


def read_weights(path: str | Path) -> Weights:
    """The tensors in a .pth, .safetensors, .npz, .pkl or .ckpt file.

    Nothing in the file is run: see ``pickles.py``.

    Raises:
        CheckpointError: missing, damaged, of no known format, or a pickle that asks for more than weights.
    """
    path = Path(path)
    try:
        with open(path, "rb") as file:
            start = file.read(LENGTH_BYTES + 1)
        if _is_safetensors(path, start):  # first: the length it begins with may look like anything
            return Weights(read_safetensors(path), ".safetensors", {})
        return _read(path, start)
    except FileNotFoundError:
        raise CheckpointError(f"{path} does not exist") from None
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read: {error.strerror or error}") from error
    except zipfile.BadZipFile as error:
        raise CheckpointError(f"{path} is damaged: {error}") from error


def _read(path: Path, start: bytes) -> Weights:
    if start.startswith(ZIP_START):
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
        if any(name.split("/")[-1] == PICKLE_NAME for name in names):
            return Weights(_tensors(read_zip(path), path), ".pth (zip format, read without torch)", {})
        if names and all(name.endswith(".npy") for name in names):
            return Weights(_read_npz(path), ".npz", {})
    elif start.startswith(PICKLE_START):
        with open(path, "rb") as file:
            saved = load_pickle(file, str(path))
        if saved == LEGACY_MAGIC:
            return Weights(_tensors(read_legacy(path), path), ".pth (older format, read without torch)", {})
        return Weights(_tensors(plain(saved), path), ".pkl", {})
    elif start.startswith(CHECKPOINT_START):
        arrays, meta = load_training_state(path)
        return Weights(arrays, "MindSpore .ckpt" if not meta else f"MindSpore .ckpt with {META_ENTRY}", meta)
    raise CheckpointError(f"{path} is neither .pth, .safetensors, .npz, .pkl nor .ckpt by its contents")


def _is_safetensors(path: Path, start: bytes) -> bool:
    length = int.from_bytes(start[:LENGTH_BYTES], "little")
    return start[LENGTH_BYTES:] == JSON_START and length < path.stat().st_size


def _read_npz(path: Path) -> dict[str, np.ndarray]:
    try:
        with np.load(path, allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files}
    except ValueError as error:
        raise CheckpointError(f"{path} is refused or damaged: {error}") from error


def _tensors(saved: Any, path: Path) -> dict[str, np.ndarray]:
    """The mapping from names to arrays in what a pickle holds, without torch's prefix for parallel models."""
    for _ in range(2):  # {"model": {...}}, and at most one more of these
        inner = next((saved[k] for k in CONTAINERS if isinstance(saved, dict) and isinstance(saved.get(k), dict)), None)
        saved = saved if inner is None else inner
    if not isinstance(saved, dict):
        raise CheckpointError(f"{path} holds a {type(saved).__name__}, not a mapping from names to tensors")
    arrays = {}
    for name, value in saved.items():
        if isinstance(value, np.ndarray):
            arrays[str(name)] = value
        elif name != "__author__" and name != "matching_heuristics":  # detectron2's remarks
            raise CheckpointError(f"{path}: {name} is a {type(value).__name__}, not a tensor")
    if arrays and all(name.startswith(DATA_PARALLEL) for name in arrays):
        arrays = {name[len(DATA_PARALLEL) :]: array for name, array in arrays.items()}
    return arrays
