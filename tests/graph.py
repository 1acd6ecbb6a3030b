"""Run functions on tensors as compiled graphs, with numpy arrays going in and coming out."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import mindspore as ms
import numpy as np
from mindspore import Tensor, nn


class Compiled(nn.Cell):
    """``function(*tensors, **settings)`` in graph mode; the settings are constants of the graph."""

    def __init__(self, function: Callable[..., Any], **settings: Any) -> None:
        super().__init__(auto_prefix=False)  # parameters keep their names
        self.function = function
        self.settings = settings

    def construct(self, *tensors):
        return self.function(*tensors, **self.settings)

    def __call__(self, *arrays):
        """Arrays to arrays: float64 becomes float32, int64 becomes int32."""
        ms.set_context(mode=ms.GRAPH_MODE)
        return to_numpy(super().__call__(*(to_tensor(array) for array in arrays)))


class Gradient(nn.Cell):
    """The gradient of sum(output * cotangent) of a cell or function with respect to its first inputs and ``weights``.

    Args:
        function: as for ``Compiled``, returning one tensor or a tuple of them.
        inputs: how many leading arguments to differentiate by.
        weights: parameters to differentiate by.
    """

    def __init__(self, function: Callable[..., Any], inputs: int = 1, weights=(), **settings: Any) -> None:
        super().__init__(auto_prefix=False)
        self.function = function
        self.settings = settings
        self.weights = ms.ParameterTuple(weights) if weights else None
        positions = tuple(range(inputs)) if inputs else None
        self.derive = ms.value_and_grad(self.objective, positions, self.weights)

    def objective(self, *arguments):
        """The last argument is the tuple of cotangents."""
        found = self.function(*arguments[:-1], **self.settings)
        if not isinstance(found, tuple):
            found = (found,)
        total = 0.0
        for value, cotangent in zip(found, arguments[-1]):
            total = total + (value * cotangent).sum()
        return total

    def construct(self, *arguments):
        return self.derive(*arguments)

    def __call__(self, *arrays, cotangents):
        """The objective and its gradients, as numpy arrays in the nesting of ``mindspore.value_and_grad``."""
        ms.set_context(mode=ms.GRAPH_MODE)
        tensors = [to_tensor(array) for array in arrays]
        # As a plain tuple they would be constants, and every call would compile anew.
        cotangents = ms.mutable(tuple(to_tensor(value) for value in cotangents))
        return to_numpy(super().__call__(*tensors, cotangents))


def to_tensor(value):
    """A tensor of the array, with 32 bits at most; tuples and lists item by item."""
    if isinstance(value, (tuple, list)):
        return tuple(to_tensor(item) for item in value)
    value = np.ascontiguousarray(value)
    narrow = {np.dtype(np.float64): np.float32, np.dtype(np.int64): np.int32}
    return Tensor(value.astype(narrow.get(value.dtype, value.dtype)))


def to_numpy(value):
    """Arrays of tensors; tuples and lists item by item."""
    if isinstance(value, (tuple, list)):
        return tuple(to_numpy(item) for item in value)
    return value.asnumpy()


def randomise(cell: nn.Cell, seed: int, scale: float = 0.3) -> dict[str, np.ndarray]:
    """Give every parameter of the cell random values, biases too; return them by name, float64."""
    rng = np.random.default_rng(seed)
    point = {}
    for name, parameter in cell.parameters_dict().items():
        value = rng.normal(0, scale, parameter.shape).astype(np.float32)
        parameter.set_data(to_tensor(value))
        point[name] = value.astype(np.float64)
    return point
