"""Checkpoints that are either whole or not there: written aside, checked by crc, renamed into place.

The files are MindSpore's own ``.ckpt`` format (``ms.load_checkpoint`` reads them): network parameters under their
names, the optimizer's state under ``moments.<name>`` (AdamW: ``moment1.``, ``moment2.``), averages of weights under
``ema.<name>``, and everything else (step, seed, configuration, classes, ...) as one JSON text entry. They are streamed
one parameter at a time, so saving and loading need no second copy of the model.
"""

from __future__ import annotations

import errno
import json
import os
import zlib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import BinaryIO

import numpy as np
from google.protobuf.message import DecodeError
from mindspore.train.checkpoint_pb2 import Checkpoint

from maskrcnn.errors import CheckpointError
from maskrcnn.files import whole_file

FORMAT = 1  # of the JSON entry
# As MindSpore's own optimizers name their state, so that other tools know it in a checkpoint.
MOMENT_PREFIXES = ("moments.", "moment1.", "moment2.")
AVERAGE_PREFIX = "ema."  # of the moving averages of weights, which lie beside the weights
META_ENTRY = "maskrcnn_meta"
CRC_MARK = b"crc_num"  # MindSpore's trailer: these bytes, then the crc32 as 10 bytes, big endian
CRC_BYTES = 10
VALUE_TAG = 0x0A  # protobuf: field 1, length-delimited; a file is a sequence of Checkpoint.value entries
TYPES = {
    "Float16": np.float16,
    "Float32": np.float32,
    "Float64": np.float64,
    "Int8": np.int8,
    "Int16": np.int16,
    "Int32": np.int32,
    "Int64": np.int64,
    "UInt8": np.uint8,
    "UInt16": np.uint16,
    "UInt32": np.uint32,
    "UInt64": np.uint64,
    "Bool": np.bool_,
}
TYPE_NAMES = {np.dtype(dtype): name for name, dtype in TYPES.items()}


def save_checkpoint(path: Path, params: Iterable[tuple[str, np.ndarray]], meta: Mapping) -> None:
    """Writes a checkpoint; after a failure or a kill the file is as it was before.

    Args:
        path: The file.
        params: (name, array) pairs; a generator keeps only one array in memory.
        meta: Whatever JSON can hold.

    Raises:
        CheckpointError: The folder cannot be written or the disk is full.
    """
    try:
        with whole_file(path) as file:
            text = np.array(json.dumps({"format": FORMAT, **meta}))
            crc = _write_entry(file, META_ENTRY, "str", (0,), text, 0)
            for name, array in params:
                crc = _write_entry(file, name, TYPE_NAMES[array.dtype], array.shape, array, crc)
            file.write(CRC_MARK + crc.to_bytes(CRC_BYTES, "big"))
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        cause = "the disk is full" if full else str(error.strerror)
        raise CheckpointError(f"cannot write {path}: {cause}; earlier checkpoints are untouched") from error


def _write_entry(file: BinaryIO, name: str, kind: str, dims: Iterable[int], array: np.ndarray, crc: int) -> int:
    """Appends one entry and returns the crc so far."""
    message = Checkpoint()
    value = message.value.add()
    value.tag = name
    value.tensor.dims.extend(dims or (0,))  # MindSpore writes a scalar as [0]
    value.tensor.tensor_type = kind
    value.tensor.tensor_content = array.tobytes()
    data = message.SerializeToString()
    file.write(data)
    return zlib.crc32(data, crc)


def load_checkpoint(path: str | Path) -> tuple[dict[str, np.ndarray], dict]:
    """Returns the network parameters by name, and the metadata ({} for a MindSpore checkpoint that is not ours).

    Raises:
        CheckpointError: The file is missing, truncated, damaged (crc), or no MindSpore checkpoint.
    """
    arrays, meta = load_training_state(path)
    return network_arrays(arrays), meta


def network_arrays(arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Returns the network's part of a training state: without the optimizer's, and averages in place of weights.

    A run that averages its weights evaluates the averages, and they are what is meant wherever its checkpoint is used.
    """
    averages = {name: array for name, array in arrays.items() if name.startswith(AVERAGE_PREFIX)}
    weights = {
        name: array for name, array in arrays.items() if name not in averages and not name.startswith(MOMENT_PREFIXES)
    }
    return {**weights, **{name[len(AVERAGE_PREFIX) :]: array for name, array in averages.items()}}


def load_training_state(path: str | Path) -> tuple[dict[str, np.ndarray], dict]:
    """Returns the same as ``load_checkpoint``, with the state of the optimizer among the arrays."""
    path = Path(path)
    arrays: dict[str, np.ndarray] = {}
    meta: dict = {}
    pieces: dict[str, list[bytes]] = {}  # MindSpore splits a parameter over 512 MiB into entries of one name
    for value in _entries(path):
        tensor = value.tensor
        if value.tag == META_ENTRY:
            meta = _parse_meta(path, tensor.tensor_content)
        elif tensor.tensor_type in TYPES:
            pieces.setdefault(value.tag, []).append(tensor.tensor_content)
            shape = () if list(tensor.dims) == [0] else tuple(tensor.dims)
            dtype = np.dtype(TYPES[tensor.tensor_type])
            if sum(map(len, pieces[value.tag])) >= int(np.prod(shape)) * dtype.itemsize:
                data = bytearray(b"".join(pieces.pop(value.tag)))  # a bytearray makes the array writable
                arrays[value.tag] = _as_array(path, value.tag, data, shape, dtype)
    if pieces:
        raise CheckpointError(f"{path} is truncated: {next(iter(pieces))} is incomplete; use an earlier checkpoint")
    return arrays, meta


def load_meta(path: str | Path) -> dict:
    """Returns the metadata of a checkpoint after its whole file has passed the integrity check."""
    path = Path(path)
    meta: dict = {}
    for value in _entries(path):
        if value.tag == META_ENTRY:
            meta = _parse_meta(path, value.tensor.tensor_content)
    return meta


def _as_array(path: Path, name: str, data: bytearray, shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
    if len(data) != int(np.prod(shape)) * dtype.itemsize:
        raise CheckpointError(f"{path} is damaged: {name} has {len(data)} bytes, which do not make {shape} {dtype}")
    return np.frombuffer(data, dtype).reshape(shape)


def _parse_meta(path: Path, content: bytes) -> dict:
    try:
        meta = json.loads(content.decode("utf-32-le"))
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{path} is damaged: its metadata cannot be read; use an earlier checkpoint") from error
    if meta.get("format") != FORMAT:
        raise CheckpointError(
            f"{path} has metadata of format {meta.get('format')}, this version reads {FORMAT}: update maskrcnn"
        )
    return meta


def _entries(path: Path) -> Iterator:
    """Yields the Checkpoint.Value messages of a file, one in memory at a time; the crc is checked first."""
    try:
        with open(path, "rb") as file:
            size = os.fstat(file.fileno()).st_size
            if size == 0:
                raise CheckpointError(f"{path} is empty; use an earlier checkpoint")
            end, crc = _trailer(file, size)
            if crc is not None and crc != _crc(file, end):
                raise CheckpointError(f"{path} is damaged: its checksum does not match; use an earlier checkpoint")
            while file.tell() < end:
                for value in Checkpoint.FromString(_read_entry(file, path, end)).value:
                    if crc is None and value.tag == META_ENTRY:  # ours always end with a checksum
                        raise CheckpointError(f"{path} is truncated or damaged; use an earlier checkpoint")
                    yield value
    except FileNotFoundError:
        raise CheckpointError(f"checkpoint {path} does not exist") from None
    except OSError as error:
        raise CheckpointError(f"checkpoint {path} cannot be read: {error.strerror}") from error
    except (DecodeError, ValueError) as error:
        raise CheckpointError(f"{path} is damaged: an entry cannot be decoded; use another checkpoint") from error


def _trailer(file: BinaryIO, size: int) -> tuple[int, int | None]:
    """Returns where the entries end, and the stored crc32 if the file has one; leaves ``file`` at its start."""
    length = len(CRC_MARK) + CRC_BYTES
    tail = b""
    if size > length:
        file.seek(size - length)
        tail = file.read(length)
        file.seek(0)
    if tail.startswith(CRC_MARK):
        return size - length, int.from_bytes(tail[len(CRC_MARK) :], "big")
    return size, None


def _crc(file: BinaryIO, end: int, block: int = 2**22) -> int:
    """Returns the crc32 of the first ``end`` bytes; leaves ``file`` at its start."""
    crc = 0
    for start in range(0, end, block):
        crc = zlib.crc32(file.read(min(block, end - start)), crc)
    file.seek(0)
    return crc


def _read_entry(file: BinaryIO, path: Path, end: int) -> bytes:
    """Returns the bytes of the next top-level protobuf field, its tag and length included."""
    start = file.tell()
    head = file.read(11)  # one byte of tag, then a length of at most ten bytes, seven bits in each
    if head[0] != VALUE_TAG:
        what = "no MindSpore checkpoint (.ckpt)" if start == 0 else "truncated or damaged"
        raise CheckpointError(f"{path} is {what}; use another one")
    length, used = 0, 1
    for shift in range(0, 70, 7):
        if used >= len(head):
            break
        byte = head[used]
        used += 1
        length |= (byte & 0x7F) << shift
        if byte < 0x80:
            break
    if start + used + length > end:
        what = "no MindSpore checkpoint (.ckpt), or a truncated one" if start == 0 else "truncated or damaged"
        raise CheckpointError(f"{path} is {what}; use another one")
    file.seek(start)
    return file.read(used + length)
