"""int8 networks on processors with matrix tiles (Intel AMX): the same network, on onnxruntime's way that uses them.

onnxruntime has two ways to convolve int8: kernels for weights whose zero point is 0, which know no tiles, and a matrix
product for all others, which does. A weight of w and zero point 0 is one of w - 1 and zero point -1, to the bit.
"""

import math
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, numpy_helper

CPU_INFO = Path("/proc/cpuinfo")
FLAG = "amx_int8"
LEAST_PRODUCTS = 256  # a convolution's input channels times its kernel's area; below, tiles lost (docs/performance.md)


def has_tiles(cpu_info: Path = CPU_INFO) -> bool:
    """Whether the processor multiplies int8 on matrix tiles; Linux alone says so."""
    try:
        text = cpu_info.read_text(encoding="ascii", errors="replace")
    except OSError:
        return False
    return any(line.startswith("flags") and FLAG in line.split() for line in text.splitlines())


def for_tiles(data: bytes) -> bytes:
    """An int8 file of this project with the weights of its larger convolutions one lower, and so their zero points.

    Weights that reach -128, and whatever else is not as ``export.quantize`` writes it, stay as they are.
    """
    model = onnx.load_from_string(data)
    tensors = {tensor.name: tensor for tensor in model.graph.initializer}
    used = [name for node in model.graph.node for name in node.input]
    weights = {node.input[1] for node in model.graph.node if node.op_type == "Conv"}
    for node in model.graph.node:
        if node.op_type != "DequantizeLinear" or node.output[0] not in weights or len(node.input) != 3:
            continue
        both = [tensors.get(node.input[i]) for i in (0, 2)]
        if any(t is None or t.data_type != TensorProto.INT8 or used.count(t.name) > 1 for t in both):
            continue
        weight, zero = (numpy_helper.to_array(t) for t in both if t is not None)
        if math.prod(weight.shape[1:]) >= LEAST_PRODUCTS and not zero.any() and weight.min() > -128:
            for tensor, values in zip(both, (weight, zero), strict=True):
                assert tensor is not None
                tensor.CopyFrom(numpy_helper.from_array(values - np.int8(1), tensor.name))
    return model.SerializeToString()
