"""Tensors out of pickles, without running what a pickle asks for.

A pickle is a program: it may name any function and call it. Here a name is looked up in a short table of our own
stand-ins and in nothing else, so neither Python's, torch's nor numpy's code is ever reached from a file. Stand-ins for
arrays and tensors only note what they were given; shapes, strides and sizes are checked before memory is touched.
"""

from __future__ import annotations

import pickle
from collections import OrderedDict
from collections.abc import Callable
from typing import Any, BinaryIO, NamedTuple

import numpy as np

from maskrcnn.errors import CheckpointError

# Element types of torch's storages; bfloat16 is the upper half of a float32 and is read as 16 bits.
STORAGE_TYPES = {
    "DoubleStorage": "<f8",
    "FloatStorage": "<f4",
    "HalfStorage": "<f2",
    "BFloat16Storage": "bfloat16",
    "LongStorage": "<i8",
    "IntStorage": "<i4",
    "ShortStorage": "<i2",
    "CharStorage": "|i1",
    "ByteStorage": "|u1",
    "BoolStorage": "|b1",
}
NUMBER_KINDS = "biuf"


class UnsafePickle(pickle.UnpicklingError):
    """A pickle names something that is not in our table."""


def from_bytes(data: bytes, dtype: str) -> np.ndarray:
    """A flat array of ``data``; bfloat16 becomes float32."""
    if dtype == "bfloat16":
        return (np.frombuffer(data, "<u2").astype(np.uint32) << 16).view(np.float32)
    return np.frombuffer(data, dtype)


def item_size(dtype: str) -> int:
    """Bytes of one element."""
    return 2 if dtype == "bfloat16" else np.dtype(dtype).itemsize


class Storage(NamedTuple):
    """Where a tensor's numbers lie: named in the pickle, stored elsewhere in the file."""

    key: str
    dtype: str
    count: int


class LazyTensor(NamedTuple):
    """A view into a storage: sizes and offset in elements, as torch rebuilds a tensor."""

    storage: Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]

    def array(self, values: np.ndarray) -> np.ndarray:
        """The view of the storage's ``values``.

        Raises:
            ValueError: it reaches beyond them.
        """
        numbers = (self.offset, *self.shape, *self.strides)
        if any(not isinstance(n, int) or n < 0 for n in numbers) or len(self.shape) != len(self.strides):
            raise ValueError(f"a tensor of shape {self.shape} with strides {self.strides} at {self.offset}")
        last = self.offset + sum((n - 1) * step for n, step in zip(self.shape, self.strides))
        if 0 in self.shape:
            return np.zeros(self.shape, values.dtype)
        if last >= len(values):
            raise ValueError(f"a tensor reaches element {last} of a storage of {len(values)}")
        size = values.dtype.itemsize
        steps = tuple(step * size for step in self.strides)
        view = np.lib.stride_tricks.as_strided(values[self.offset :], self.shape, steps, writeable=False)
        return np.array(view)


class _StorageType(NamedTuple):
    """A torch storage class as far as we need it."""

    dtype: str


class _StandIn:
    """Calls one of our functions; a pickle can neither look into it nor change it."""

    __slots__ = ("_call",)

    def __init__(self, call: Callable[..., Any]) -> None:
        object.__setattr__(self, "_call", call)

    def __call__(self, *arguments: Any) -> Any:
        return self._call(*arguments)

    def __setattr__(self, name: str, value: Any) -> None:
        raise UnsafePickle(f"it tries to change {name} of a function")


class _Dtype:
    """What a pickle says of a numpy dtype."""

    def __init__(self, name: Any = "", *_: Any) -> None:
        self.name = name.decode("latin1") if isinstance(name, bytes) else name
        self.order = "<"

    def __setstate__(self, state: Any) -> None:
        order = state[1]
        self.order = order.decode("latin1") if isinstance(order, bytes) else order

    def numpy(self) -> np.dtype:
        if not isinstance(self.name, str) or self.name[:1] not in NUMBER_KINDS or self.order not in "<>|=":
            raise UnsafePickle(f"an array of {self.name!r} instead of numbers")
        return np.dtype(self.name).newbyteorder(self.order)


class _Array:
    """What a pickle says of a numpy array."""

    def __init__(self, *_: Any) -> None:
        self.values = np.zeros(0, np.float32)

    def __setstate__(self, state: Any) -> None:
        _, shape, dtype, fortran, data = state
        self.values = _values(data, dtype, shape, "F" if fortran else "C")


def _values(data: Any, dtype: Any, shape: Any, order: str) -> np.ndarray:
    if isinstance(data, str):  # Python 2's byte strings, read as latin1
        data = data.encode("latin1")
    if not isinstance(data, (bytes, bytearray)) or not isinstance(dtype, _Dtype):
        raise UnsafePickle("an array whose data are no bytes")
    return np.frombuffer(data, dtype.numpy()).reshape(shape, order=order)


def _from_buffer(data: Any, dtype: Any, shape: Any, order: str) -> _Array:
    array = _Array()
    array.values = _values(data, dtype, shape, order)
    return array


def _scalar(dtype: Any, data: Any) -> Any:
    return _values(data, dtype, (), "C")[()]


def _encode(text: Any, encoding: Any) -> bytes:
    if not isinstance(text, str) or encoding != "latin1":
        raise UnsafePickle(f"an encoding {encoding!r}")
    return text.encode("latin1")


def _tensor(storage: Any, offset: Any, shape: Any, strides: Any, *_: Any) -> LazyTensor:
    if not isinstance(storage, Storage):
        raise UnsafePickle("a tensor without a storage")
    return LazyTensor(storage, offset, tuple(shape), tuple(strides))


def _parameter(tensor: Any, *_: Any) -> Any:
    return tensor


class _Unchangeable(type):
    """Keeps a class as it is."""

    def __setattr__(cls, name: str, value: Any) -> None:
        raise UnsafePickle(f"it tries to change {name} of a class")


class _Noted(metaclass=_Unchangeable):
    """Stands for the settings that training scripts leave beside the weights; keeps nothing."""

    def __setstate__(self, state: Any) -> None:
        pass


_FUNCTIONS: dict[tuple[str, str], Callable[..., Any]] = {
    ("collections", "OrderedDict"): OrderedDict,
    ("_codecs", "encode"): _encode,
    ("numpy", "ndarray"): _Array,
    ("numpy", "dtype"): _Dtype,
    ("torch", "Size"): tuple,
    ("torch._utils", "_rebuild_tensor_v2"): _tensor,
    ("torch._utils", "_rebuild_parameter"): _parameter,
}
for _core in ("numpy.core", "numpy._core"):  # numpy 1 and 2
    _FUNCTIONS[_core + ".multiarray", "_reconstruct"] = _Array
    _FUNCTIONS[_core + ".multiarray", "scalar"] = _scalar
    _FUNCTIONS[_core + ".numeric", "_frombuffer"] = _from_buffer
_STAND_INS: dict[tuple[str, str], Any] = {name: _StandIn(call) for name, call in _FUNCTIONS.items()}
_STAND_INS["argparse", "Namespace"] = _Noted  # pickled as a class to be made, not as a function to be called


class RestrictedUnpickler(pickle.Unpickler):
    """Reads containers, numbers, texts, numpy arrays and torch tensors; refuses every other name."""

    def find_class(self, module: str, name: str) -> Any:
        if module in ("torch", "torch.storage") and name in STORAGE_TYPES:
            return _StorageType(STORAGE_TYPES[name])
        try:
            return _STAND_INS[module, name]
        except KeyError:
            raise UnsafePickle(
                f"it asks for {module}.{name}, which is no part of weights; save the network's state_dict alone"
            ) from None

    def persistent_load(self, pid: Any) -> Storage:
        if not isinstance(pid, tuple) or len(pid) < 5 or pid[0] != "storage":
            raise UnsafePickle("a reference that is no storage")
        _, kind, key, _, count = pid[:5]
        if not isinstance(kind, _StorageType) or not isinstance(count, int):
            raise UnsafePickle("a storage of an unknown type")
        return Storage(str(key), kind.dtype, count)


def load_pickle(file: BinaryIO, name: str) -> Any:
    """The next pickled object of ``file``, called ``name`` in messages.

    Raises:
        CheckpointError: damaged, or it asks for anything but weights.
    """
    try:
        return RestrictedUnpickler(file, encoding="latin1").load()
    except UnsafePickle as error:
        raise CheckpointError(f"{name} is refused and nothing in it was run: {error}") from error
    except Exception as error:  # a damaged pickle fails in any way its bytes can make it
        raise CheckpointError(f"{name} is damaged: its pickle cannot be read ({error})") from error


def plain(value: Any, storages: Callable[[Storage], np.ndarray] | None = None) -> Any:
    """``value`` with stand-ins replaced by numpy arrays, in mappings at any depth; the rest stays as it is."""
    if isinstance(value, dict):
        return {key: plain(item, storages) for key, item in value.items()}
    if isinstance(value, _Array):
        return value.values
    if isinstance(value, LazyTensor) and storages is not None:
        return value.array(storages(value.storage))
    return value
