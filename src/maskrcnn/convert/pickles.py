"""Tensors out of pickles, without running what a pickle asks for.

A pickle is a program: it may name any function and call it. Here a name is looked up in a short table of our own
stand-ins and in nothing else, so neither Python's, torch's nor numpy's code is ever reached from a file. Stand-ins for
arrays and tensors only note what they were given; shapes, strides and sizes are checked before memory is touched. Any
other name, as in the schedulers and settings that training scripts leave beside the weights, becomes a ``Skipped``,
which takes whatever is done to it and does nothing. Names that only an attack has need of are refused nevertheless, so
that its victim hears of it.
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
# Modules of which a file with weights never asks for anything, and all that it may ask of Python's builtins.
FORBIDDEN_MODULES = {
    *("os", "posix", "nt", "sys", "subprocess", "shutil", "socket", "importlib", "runpy", "ctypes", "marshal"),
    *("pickle", "_pickle", "io", "_io", "operator", "maskrcnn"),
}
BUILTIN_MODULES = {"builtins", "__builtin__"}
BUILTIN_TYPES = {
    *("object", "type", "bool", "int", "float", "complex", "str", "bytes", "bytearray", "slice", "range", "set"),
    *("frozenset", "list", "tuple", "dict"),
}


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

    @property
    def is_number(self) -> bool:
        """True for integers, floats and truth values."""
        return isinstance(self.name, str) and self.name[:1] in tuple(NUMBER_KINDS) and self.order in tuple("<>|=")

    def numpy(self) -> np.dtype:
        """Returns the dtype of numbers."""
        return np.dtype(self.name).newbyteorder(self.order)


class NotedArray:
    """What a pickle says of a numpy array; its values are None if they are texts or objects, which are skipped."""

    def __init__(self, *_: Any) -> None:
        self.values: np.ndarray | None = np.zeros(0, np.float32)

    def __setstate__(self, state: Any) -> None:
        _, shape, dtype, fortran, data = state
        self.values = _values(data, dtype, shape, "F" if fortran else "C")


def _values(data: Any, dtype: Any, shape: Any, order: str) -> np.ndarray | None:
    if not isinstance(dtype, _Dtype):
        raise UnsafePickle("it has an array without a type")
    if not dtype.is_number:
        return None
    if isinstance(data, str):  # Python 2's byte strings, read as latin1
        data = data.encode("latin1")
    if not isinstance(data, (bytes, bytearray)):
        raise UnsafePickle("it has an array whose data are no bytes")
    return np.frombuffer(data, dtype.numpy()).reshape(shape, order=order)


def _from_buffer(data: Any, dtype: Any, shape: Any, order: str) -> NotedArray:
    array = NotedArray()
    array.values = _values(data, dtype, shape, order)
    return array


def _scalar(dtype: Any, data: Any) -> Any:
    value = _values(data, dtype, (), "C")
    return None if value is None else value[()]


def _encode(text: Any, encoding: Any) -> bytes:
    if not isinstance(text, str) or encoding != "latin1":
        raise UnsafePickle(f"it has an encoding {encoding!r}")
    return text.encode("latin1")


def _tensor(storage: Any, offset: Any, shape: Any, strides: Any, *_: Any) -> LazyTensor:
    if not isinstance(storage, Storage):
        raise UnsafePickle("it has a tensor without a storage")
    return LazyTensor(storage, offset, tuple(shape), tuple(strides))


def _parameter(tensor: Any, *_: Any) -> Any:
    return tensor


def _of_subclass(rebuild: Any, _: Any, arguments: Any, *__: Any) -> Any:
    """Rebuilds a tensor of one of torch's subclasses; whatever a pickle can name here is one of our stand-ins."""
    return rebuild(*arguments) if isinstance(rebuild, _StandIn) else Skipped()


def _empty_mapping(*_: Any) -> dict[Any, Any]:
    """Returns what a defaultdict is filled into."""
    return {}


class _Unchangeable(type):
    """Keeps a class as it is."""

    def __setattr__(cls, name: str, value: Any) -> None:
        raise UnsafePickle(f"it tries to change {name} of a class")


class Skipped(metaclass=_Unchangeable):
    """Stands for whatever is not a tensor: takes what a pickle does to an object, and keeps nothing of it."""

    __slots__ = ()

    def __new__(cls, *_: Any, **__: Any) -> Skipped:
        return super().__new__(cls)

    def __call__(self, *_: Any, **__: Any) -> Skipped:
        return self

    def __setstate__(self, state: Any) -> None:
        pass

    def __setitem__(self, key: Any, value: Any) -> None:
        pass

    def append(self, item: Any) -> None:
        """Does nothing, as the next ones."""

    extend = add = update = append


def _is_forbidden(module: str, name: str) -> bool:
    """Tells whether a name in a pickle can only mean harm."""
    if module in BUILTIN_MODULES:
        return name not in BUILTIN_TYPES
    return module.split(".")[0] in FORBIDDEN_MODULES or ".__" in name


_FUNCTIONS: dict[tuple[str, str], Callable[..., Any]] = {
    ("collections", "OrderedDict"): OrderedDict,
    ("_codecs", "encode"): _encode,
    ("numpy", "ndarray"): NotedArray,
    ("numpy", "dtype"): _Dtype,
    ("torch", "Size"): tuple,
    ("torch._utils", "_rebuild_tensor_v2"): _tensor,
    ("torch._utils", "_rebuild_parameter"): _parameter,
    ("torch._utils", "_rebuild_parameter_with_state"): _parameter,
    ("torch._tensor", "_rebuild_from_type_v2"): _of_subclass,
    ("collections", "defaultdict"): _empty_mapping,
}
for _core in ("numpy.core", "numpy._core"):  # numpy 1 and 2
    _FUNCTIONS[_core + ".multiarray", "_reconstruct"] = NotedArray
    _FUNCTIONS[_core + ".multiarray", "scalar"] = _scalar
    _FUNCTIONS[_core + ".numeric", "_frombuffer"] = _from_buffer
_STAND_INS: dict[tuple[str, str], Any] = {name: _StandIn(call) for name, call in _FUNCTIONS.items()}


class RestrictedUnpickler(pickle.Unpickler):
    """Reads containers, numbers, texts, numpy arrays and torch tensors; skips all else, and refuses attacks."""

    def find_class(self, module: str, name: str) -> Any:
        if module in ("torch", "torch.storage") and name in STORAGE_TYPES:
            return _StorageType(STORAGE_TYPES[name])
        if (module, name) in _STAND_INS:
            return _STAND_INS[module, name]
        if _is_forbidden(module, name):
            raise UnsafePickle(f"it asks for {module}.{name}, for which weights have no use")
        return Skipped

    def persistent_load(self, pid: Any) -> Storage:
        if not isinstance(pid, tuple) or len(pid) < 5 or pid[0] != "storage":
            raise UnsafePickle("it has a reference that is no storage")
        _, kind, key, _, count = pid[:5]
        if not isinstance(kind, _StorageType) or not isinstance(count, int):
            raise UnsafePickle("it has a storage of an unknown type")
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


def is_tensor(value: Any) -> bool:
    """Tells whether a value out of a pickle is an array or a tensor of numbers."""
    return isinstance(value, (np.ndarray, LazyTensor)) or (isinstance(value, NotedArray) and value.values is not None)


def to_array(value: Any, storages: Callable[[Storage], np.ndarray] | None = None) -> np.ndarray:
    """Returns a value for which ``is_tensor`` holds as an array; tensors of torch are views into their storages.

    Raises:
        ValueError: A tensor reaches beyond its storage, or has none.
    """
    if isinstance(value, LazyTensor):
        if storages is None:
            raise ValueError("a tensor of torch outside of torch's file format")
        return value.array(storages(value.storage))
    return value.values if isinstance(value, NotedArray) else value
