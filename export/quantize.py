"""The int8 variant: static quantisation as QuantizeLinear and DequantizeLinear pairs, and the gate it must pass.

Weights are int8, symmetric, one scale an output channel; activations uint8, one scale and zero point a tensor. On x86
that pair is the fast one: one VNNI instruction multiplies u8 by s8. The ranges are our own (``int8_ranges``): those of
``onnxruntime.quantization`` (minimum and maximum) moved the trained ResNet50's decisions (agreement 93 %).
"""

from dataclasses import dataclass

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from contract.errors import UserError
from contract.shard_reader import SplitReader
from export.int8_ranges import Int8Conv, Range, Ranges

CELLS = 64  # of the training split, half of them of each class
FIRST = "conv1"  # its input has few channels: little to gain, and float32 only where the gate asks for it
WIDTH = 4  # a multiple of it are the channels that are read as int8: onnxruntime's fast kernels take four at a time
LARGEST_BIAS = 2**30  # half of an int32: the products that are added to a bias need room beside it
LARGEST_LOSS = 0.005  # of accuracy on valid, against the float32 file
LEAST_AGREEMENT = 0.99  # of decisions on valid with the float32 file's


@dataclass(frozen=True)
class Gate:
    """How an int8 file compares with its float32 one on the validation split."""

    accuracy_change: float  # negative: worse
    agreement: float  # share of equal decisions

    @property
    def passed(self) -> bool:
        return self.accuracy_change >= -LARGEST_LOSS and self.agreement >= LEAST_AGREEMENT

    def __str__(self) -> str:
        return f"accuracy {100 * self.accuracy_change:+.2f} points, {self.agreement:.2%} of decisions agree"


def compare_decisions(float32: NDArray[np.bool_], int8: NDArray[np.bool_], labels: NDArray[np.int64]) -> Gate:
    """Compare decisions (true: label 1), bool ``[N]`` each, with one another and with the labels."""
    gained = int(np.sum(int8 == (labels == 1))) - int(np.sum(float32 == (labels == 1)))
    return Gate(gained / len(labels), float(np.mean(float32 == int8)))  # one division: a loss of 0.5 points is 0.005


def calibration_sample(train: SplitReader, cells: int = CELLS) -> list[int]:
    """Positions of so many cells, the same for the same shards, as many of each class; sorted.

    Where a class has too few, all of them and as many of the other.
    Raises ``UserError`` where a class has fewer than four.
    """
    labels = np.array([sample.label for sample in train.samples])
    positions = [np.flatnonzero(labels == label) for label in (0, 1)]
    each = min(cells // 2, *map(len, positions))
    if each < 4:
        raise UserError(f"int8: {each} cells of the rarer class in the training split: ranges need four of each")
    rng = np.random.default_rng(0)
    return sorted(int(i) for of_class in positions for i in rng.choice(of_class, each, replace=False))


def quantize(model: onnx.ModelProto, ranges: Ranges) -> onnx.ModelProto:
    """The graph of ``translate`` with QDQ pairs on every range and int8 weights where ``ranges`` has them."""
    quantised = onnx.ModelProto()
    quantised.CopyFrom(model)
    del quantised.graph.value_info[:]
    of_tensor = _ranges_of_tensors(quantised.graph, ranges)
    _drop_relus(quantised.graph, of_tensor)
    _shift_logits(quantised.graph, ranges.logit_shift.numpy())
    nodes = list(quantised.graph.node)
    del quantised.graph.node[:]
    for node in nodes:
        name = _conv_name(node)
        if name in ranges.convs:
            _quantise_weights(quantised.graph, node, ranges.convs[name], ranges.inputs[name])
        node.input[:] = [f"{tensor}.dequantised" if tensor in of_tensor else tensor for tensor in node.input]
        quantised.graph.node.append(node)
        for tensor in node.output:
            if tensor in of_tensor:
                first = FIRST in ranges.convs and of_tensor[tensor] is ranges.inputs[FIRST]
                missing = _missing_channels(ranges.convs[FIRST]) if first else 0
                _append_pair(quantised.graph, tensor, of_tensor[tensor], missing)
    used = {tensor for node in quantised.graph.node for tensor in node.input}
    for tensor in [tensor for tensor in quantised.graph.initializer if tensor.name not in used]:
        quantised.graph.initializer.remove(tensor)
    return quantised


def _conv_name(node: onnx.NodeProto) -> str | None:
    """The module's name, or None for anything but a convolution of the network."""
    if node.op_type != "Conv" or not node.input[1].startswith("network."):
        return None
    return node.input[1].removeprefix("network.").removesuffix(".weight")


def _ranges_of_tensors(graph: onnx.GraphProto, ranges: Ranges) -> dict[str, Range]:
    following = {node.input[0]: node for node in graph.node}
    found = {}
    for node in graph.node:
        name = _conv_name(node)
        if name in ranges.inputs and (name in ranges.convs or name != FIRST):
            found[node.input[0]] = ranges.inputs[name]
        if name == FIRST:  # quantised after its ReLU, and pooled as integers
            found[following[node.output[0]].output[0]] = ranges.outputs[name]
        elif name in ranges.outputs:
            found[node.output[0]] = ranges.outputs[name]
        if node.output[0] == "cam":
            found[node.input[0]] = ranges.inputs["fc"]
    return found


def _drop_relus(graph: onnx.GraphProto, of_tensor: dict[str, Range]) -> None:
    """A range from zero on cuts off what is negative: the ReLU before it has nothing left to do."""
    made_by = {tensor: node for node in graph.node for tensor in node.output}
    for node in [node for node in graph.node if node.op_type == "Relu" and node.output[0] in of_tensor]:
        if of_tensor[node.output[0]].zero_point != 0:
            raise ValueError(f"{node.output[0]}: the range of a ReLU's output must begin at zero")
        made_by[node.input[0]].output[:] = node.output
        graph.node.remove(node)


def _shift_logits(graph: onnx.GraphProto, shift: NDArray[np.float32]) -> None:
    (bias,) = [tensor for tensor in graph.initializer if tensor.name == "network.fc.bias"]
    bias.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(bias) + shift, bias.name))


def _quantise_weights(graph: onnx.GraphProto, node: onnx.NodeProto, conv: Int8Conv, source: Range) -> None:
    weight = node.input[1]  # the exporter leaves out a bias that is all zeros: mended, it is none any more
    bias = node.input[2] if len(node.input) > 2 else f"{weight.removesuffix('.weight')}.bias"
    weights, scales = _with_room_for_bias(conv, source)
    bias_scale = scales.astype(np.float64) * np.float32(source.scale)
    integers = np.rint(conv.bias.numpy() / bias_scale).astype(np.int32)
    missing = _missing_channels(conv)
    for name, values, scale in (
        (weight, np.pad(weights, ((0, 0), (0, missing), (0, 0), (0, 0))), scales),
        (bias, integers, bias_scale.astype(np.float32)),
    ):
        graph.initializer.append(numpy_helper.from_array(values, f"{name}.integers"))
        graph.initializer.append(numpy_helper.from_array(scale, f"{name}.scale"))
        graph.initializer.append(numpy_helper.from_array(np.zeros(len(scale), values.dtype), f"{name}.zero"))
        inputs = [f"{name}.integers", f"{name}.scale", f"{name}.zero"]
        graph.node.append(helper.make_node("DequantizeLinear", inputs, [f"{name}.dequantised"], axis=0))
    node.input[1:] = [f"{weight}.dequantised", f"{bias}.dequantised"]


def _with_room_for_bias(conv: Int8Conv, source: Range) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    """Weights and scales in whose steps, times the source's, no bias is beyond ``LARGEST_BIAS``.

    A channel that training has given up has next to no weights, a scale to match, and a bias that it still adds.
    """
    scale = conv.scale.numpy()
    least = (conv.bias.abs().double().numpy() / (source.scale * LARGEST_BIAS)).astype(np.float32)
    wide = np.maximum(scale, least)
    return np.rint(conv.weight.numpy() * (scale / wide)[:, None, None, None]).astype(np.int8), wide


def _missing_channels(conv: Int8Conv) -> int:
    """How many channels of zeros make a convolution's input a multiple of ``WIDTH``."""
    return -conv.weight.shape[1] % WIDTH


def _append_pair(graph: onnx.GraphProto, tensor: str, found: Range, missing: int) -> None:
    """QuantizeLinear and DequantizeLinear; between them so many channels of zeros as are ``missing``."""
    graph.initializer.append(numpy_helper.from_array(np.array(found.scale, np.float32), f"{tensor}.scale"))
    graph.initializer.append(helper.make_tensor(f"{tensor}.zero", TensorProto.UINT8, [], [found.zero_point]))
    scaled, integers = [f"{tensor}.scale", f"{tensor}.zero"], f"{tensor}.quantised"
    graph.node.append(helper.make_node("QuantizeLinear", [tensor, *scaled], [integers]))
    if missing:
        ends = np.array([0, 0, 0, 0, 0, missing, 0, 0], np.int64)
        graph.initializer.append(numpy_helper.from_array(ends, f"{tensor}.ends"))
        graph.node.append(helper.make_node("Pad", [integers, f"{tensor}.ends", scaled[1]], [f"{tensor}.wide"]))
        integers = f"{tensor}.wide"
    graph.node.append(helper.make_node("DequantizeLinear", [integers, *scaled], [f"{tensor}.dequantised"]))
