"""Write ONNX operators as expressions: each call adds a node and returns the name of its result."""

from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

PREFIX = "raw."  # of all names, so that none meets one of a network's graph
Value = str | NDArray[Any]  # a tensor of the graph, or a constant


class GraphBuilder:
    """Nodes and constants of a graph in the making; equal constants are stored once."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants: dict[tuple[Any, ...], onnx.TensorProto] = {}

    def op(self, operator: str, *inputs: Value, name: str | None = None, **attributes: Any) -> str:
        """Add a node with one result, called ``name`` or numbered."""
        return self.ops(operator, 1, *inputs, names=[name] if name else None, **attributes)[0]

    def ops(self, operator: str, count: int, *inputs: Value, names: list[str] | None = None, **attributes: Any) -> list:
        """Add a node with ``count`` results."""
        results = names or [f"{PREFIX}{operator}_{len(self.nodes)}_{i}" for i in range(count)]
        given = [value if isinstance(value, str) else self._constant(value) for value in inputs]
        self.nodes.append(helper.make_node(operator, given, results, **attributes))
        return results

    def cast(self, value: Value, dtype: type) -> str:
        return self.op("Cast", value, to=helper.np_dtype_to_tensor_dtype(np.dtype(dtype)))

    def reduce(self, operator: str, value: Value, *axes: int, keepdims: int = 0) -> str:
        return self.op(operator, value, np.array(axes, np.int64), keepdims=keepdims)

    def chain(self, operator: str, *values: Value) -> str:
        """An operator of two operands over any number of them, from the left."""
        result = values[0]
        for value in values[1:]:
            result = self.op(operator, result, value)
        return result if isinstance(result, str) else self._constant(result)

    def _constant(self, value: NDArray[Any]) -> str:
        key = (value.dtype.str, value.shape, value.tobytes())
        if key not in self.constants:
            self.constants[key] = numpy_helper.from_array(value, f"{PREFIX}constant_{len(self.constants)}")
        return str(self.constants[key].name)


def double(*values: float) -> NDArray[np.float64]:
    """A constant: a scalar of one value, a vector of several."""
    return np.array(values[0] if len(values) == 1 else values, np.float64)


def single(*values: float) -> NDArray[np.float32]:
    """A constant: a scalar of one value, a vector of several."""
    return np.array(values[0] if len(values) == 1 else values, np.float32)


def integer(*values: int) -> NDArray[np.int64]:
    """A constant: a scalar of one value, a vector of several."""
    return np.array(values[0] if len(values) == 1 else values, np.int64)
