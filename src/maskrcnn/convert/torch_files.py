"""torch's .pth files, read without torch: the zip format of torch 1.6 and later, and the older one.

Both hold a pickle that names storages, and the storages' raw bytes: see ``pickles.py`` for why reading it is safe.
"""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from maskrcnn.convert.containers import FoundWeights, find_weights
from maskrcnn.convert.pickles import LazyTensor, Storage, from_bytes, item_size, load_pickle
from maskrcnn.errors import CheckpointError

LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
LEGACY_PROTOCOL = 1001
PICKLE_NAME = "data.pkl"


def read_zip(path: Path, entry: str = "") -> FoundWeights:
    """Returns the weights in a zip-format .pth; ``entry`` names those to take where there are several.

    Raises:
        CheckpointError: Damaged, without weights, or it asks for what weights have no use for.
    """
    with zipfile.ZipFile(path) as archive:
        sizes = {member.filename: member.file_size for member in archive.infolist()}
        pickled = next(name for name in sizes if name.split("/")[-1] == PICKLE_NAME)
        folder = pickled[: -len(PICKLE_NAME)]
        order = archive.read(folder + "byteorder") if folder + "byteorder" in sizes else b"little"
        if order != b"little":
            raise CheckpointError(f"{path} was written on a big-endian machine: save it again on another one")
        with archive.open(pickled) as file:
            saved = load_pickle(file, str(path))
        loaded: dict[str, np.ndarray] = {}

        def values(storage: Storage) -> np.ndarray:
            if storage.key not in loaded:
                name = f"{folder}data/{storage.key}"
                if sizes.get(name) != storage.count * item_size(storage.dtype):
                    raise CheckpointError(f"{path} is damaged: {name} has {sizes.get(name, 'no')} bytes")
                loaded[storage.key] = from_bytes(archive.read(name), storage.dtype)
            return loaded[storage.key]

        return find_weights(saved, str(path), entry, values)


def read_legacy(path: Path, entry: str = "") -> FoundWeights:
    """Returns the weights in a .pth of torch before 1.6; see ``read_zip``.

    The file is a row of pickles (a magic number, a version, the machine's properties, the object, the storages' keys)
    and then the storages, each an int64 count and its bytes.

    Raises:
        CheckpointError: Damaged, without weights, or it asks for what weights have no use for.
    """
    name = str(path)
    with open(path, "rb") as file:
        if load_pickle(file, name) != LEGACY_MAGIC or load_pickle(file, name) != LEGACY_PROTOCOL:
            raise CheckpointError(f"{path} is a .pth of an unknown version: save it again with a newer torch")
        machine = load_pickle(file, name)
        if not isinstance(machine, dict) or not machine.get("little_endian", True):
            raise CheckpointError(f"{path} was written on a big-endian machine: save it again on another one")
        saved = load_pickle(file, name)
        keys = load_pickle(file, name)
        if not isinstance(keys, list):
            raise CheckpointError(f"{path} is damaged: it does not list its storages")
        dtypes = _storage_types(saved)
        loaded = {str(key): _read_storage(file, path, str(key), dtypes) for key in keys}

        def values(storage: Storage) -> np.ndarray:
            if storage.key not in loaded:
                raise CheckpointError(f"{path} is damaged: storage {storage.key} is missing")
            return loaded[storage.key]

        return find_weights(saved, name, entry, values)


def _read_storage(file: BinaryIO, path: Path, key: str, dtypes: dict[str, str]) -> np.ndarray:
    head = file.read(8)
    if key not in dtypes or len(head) != 8:
        raise CheckpointError(f"{path} is damaged: storage {key} cannot be read")
    wanted = int.from_bytes(head, "little", signed=True) * item_size(dtypes[key])
    data = file.read(wanted) if wanted >= 0 else b""
    if len(data) != wanted:
        raise CheckpointError(f"{path} is truncated: storage {key} has {len(data)} bytes instead of {wanted}")
    return from_bytes(data, dtypes[key])


def _storage_types(saved: Any) -> dict[str, str]:
    """Returns the element type of every storage that tensors in (nested, perhaps cyclic) containers refer to."""
    dtypes: dict[str, str] = {}
    seen: set[int] = set()
    waiting = [saved]
    while waiting:
        value = waiting.pop()
        if isinstance(value, LazyTensor):
            dtypes[value.storage.key] = value.storage.dtype
        elif isinstance(value, (dict, list, tuple)) and id(value) not in seen:
            seen.add(id(value))
            waiting += value.values() if isinstance(value, dict) else value
    return dtypes
