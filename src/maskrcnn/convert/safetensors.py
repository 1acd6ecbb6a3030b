"""The safetensors format: eight bytes of header length, a JSON header, and the tensors' bytes.

https://github.com/huggingface/safetensors describes it. It is simple enough to be read here, with every offset checked.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from maskrcnn.convert.pickles import from_bytes, item_size
from maskrcnn.errors import CheckpointError
from maskrcnn.files import whole_file

DTYPES = {
    "F64": "<f8",
    "F32": "<f4",
    "F16": "<f2",
    "BF16": "bfloat16",
    "I64": "<i8",
    "I32": "<i4",
    "I16": "<i2",
    "I8": "|i1",
    "U8": "|u1",
    "BOOL": "|b1",
}
NAMES = {np.dtype(dtype): name for name, dtype in DTYPES.items() if dtype != "bfloat16"}
LENGTH_BYTES = 8
METADATA = "__metadata__"
ALIGNMENT = 8  # of the first tensor, as the format's own library writes it


def read_safetensors(path: Path) -> dict[str, np.ndarray]:
    """The tensors of a file by name; bfloat16 as float32.

    Raises:
        CheckpointError: damaged, or it has a type of element that weights do not have.
    """
    with open(path, "rb") as file:
        size = os.fstat(file.fileno()).st_size
        length = int.from_bytes(file.read(LENGTH_BYTES), "little")
        if length > size - LENGTH_BYTES:
            raise CheckpointError(f"{path} is truncated: its header alone has {length} bytes")
        try:
            header = json.loads(file.read(length))
            entries = {name: entry for name, entry in header.items() if name != METADATA}
            described = {n: (e["dtype"], tuple(e["shape"]), *e["data_offsets"]) for n, e in entries.items()}
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise CheckpointError(f"{path} is damaged: its header cannot be read ({error})") from error
        first = LENGTH_BYTES + length
        arrays = {}
        for name, (kind, shape, start, end) in described.items():
            if kind not in DTYPES:
                raise CheckpointError(f"{path}: {name} has elements of type {kind}, which are no weights")
            wanted = item_size(DTYPES[kind]) * int(np.prod(shape, dtype=np.int64))
            if end - start != wanted or start < 0 or first + end > size:
                raise CheckpointError(f"{path} is damaged or truncated: {name} does not fit into it")
            file.seek(first + start)
            arrays[name] = from_bytes(file.read(wanted), DTYPES[kind]).reshape(shape)
    return arrays


def write_safetensors(path: Path, arrays: Mapping[str, np.ndarray], metadata: Mapping[str, str]) -> None:
    """Write ``arrays`` to ``path``; ``metadata`` are texts. A failure leaves no file of that name half written.

    Raises:
        CheckpointError: it cannot be written.
    """
    header: dict[str, object] = {METADATA: dict(metadata)}
    offset = 0
    for name, array in arrays.items():
        header[name] = {
            "dtype": NAMES[array.dtype],
            "shape": list(array.shape),
            "data_offsets": [offset, offset + array.nbytes],
        }
        offset += array.nbytes
    text = json.dumps(header).encode("utf-8")
    text += b" " * (-len(text) % ALIGNMENT)
    try:
        with whole_file(path) as file:
            file.write(len(text).to_bytes(LENGTH_BYTES, "little"))
            file.write(text)
            for array in arrays.values():
                file.write(np.ascontiguousarray(array).data)
    except OSError as error:
        raise CheckpointError(f"cannot write {path}: {error.strerror or error}") from error
