"""A small builder of ONNX graphs: operators are called by name on values, constants may be numpy arrays."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

IR_VERSION = 8  # ONNX 1.12 and later read it, which is what CANN's ATC and onnxruntime 1.14 know


class OnnxGraph:
    """Collects nodes and constants. A value is known by its name, a ``str``; constants of equal content are shared."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.initializers: dict[str, onnx.TensorProto] = {}
        self.inputs: list[onnx.ValueInfoProto] = []
        self.outputs: list[onnx.ValueInfoProto] = []
        self._constants: dict[tuple, str] = {}
        self._count: Counter[str] = Counter()

    def input(self, name: str, dtype: type, shape: Sequence[int]) -> str:
        """Declares the next input of the model."""
        self.inputs.append(_value_info(name, dtype, shape))
        return name

    def output(self, name: str, value: str, dtype: type, shape: Sequence[int]) -> None:
        """Declares the next output of the model, under the name ``name``."""
        self.nodes.append(helper.make_node("Identity", [value], [name], name=name))
        self.outputs.append(_value_info(name, dtype, shape))

    def weight(self, name: str, array: np.ndarray) -> str:
        """Adds a constant with a name of its own."""
        self.initializers[name] = numpy_helper.from_array(np.ascontiguousarray(array), name)
        return name

    def constant(self, value: np.ndarray | float | Sequence[float], dtype: type = np.float32) -> str:
        """Adds a constant, of ``dtype`` unless it is an array; the same one for the same content."""
        array = np.ascontiguousarray(value) if isinstance(value, np.ndarray) else np.asarray(value, dtype)
        key = (array.dtype.str, array.shape, array.tobytes())
        if key not in self._constants:
            self._constants[key] = self.weight(self._unique("constant"), array)
        return self._constants[key]

    def op(self, operator: str, *inputs: str | float | np.ndarray, outputs: int = 1, **attributes) -> str | list[str]:
        """Appends ``operator``; numbers and arrays among the inputs become constants, numbers float32 ones.

        Returns the name of its result, or the list of them where ``outputs`` is above one.
        """
        names = [value if isinstance(value, str) else self.constant(value) for value in inputs]
        name = self._unique(operator)
        results = [name] if outputs == 1 else [f"{name}.{i}" for i in range(outputs)]
        self.nodes.append(helper.make_node(operator, names, results, name=name, **attributes))
        return results[0] if outputs == 1 else results

    def reshape(self, value: str, *shape: int) -> str:
        return self.op("Reshape", value, np.array(shape, np.int64))

    def cast(self, value: str, dtype: type) -> str:
        return self.op("Cast", value, to=_element_type(dtype))

    def slice(self, value: str, axis: int, start: int, stop: int) -> str:
        """Takes items start..stop-1 along ``axis``."""
        return self.op("Slice", value, *(np.array([v], np.int64) for v in (start, stop, axis)))

    def model(self, name: str, opset: int) -> onnx.ModelProto:
        """Returns the graph as a model, checked against the rules of ONNX, shapes included."""
        graph = helper.make_graph(self.nodes, name, self.inputs, self.outputs, list(self.initializers.values()))
        imports = [helper.make_opsetid("", opset)]
        model = helper.make_model(graph, opset_imports=imports, ir_version=IR_VERSION, producer_name="maskrcnn")
        onnx.checker.check_model(model)
        return model

    def _unique(self, prefix: str) -> str:
        self._count[prefix] += 1
        return f"{prefix}_{self._count[prefix]}"


def _value_info(name: str, dtype: type, shape: Sequence[int]) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, _element_type(dtype), list(shape))


def _element_type(dtype: type) -> TensorProto.DataType:
    return helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
