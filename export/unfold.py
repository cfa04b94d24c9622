"""BatchNorm back into an exported network, which has it folded away: the same function, in a form that can learn on.

Mean and variance of every convolution's output are measured on cells, and the layer gets the gain and shift that undo
them, so that it says what it said.
"""

import math
from collections.abc import Iterator

import onnx
import torch
from onnx import numpy_helper
from torch import Tensor, nn

from contract.errors import UserError
from contract.model_file import external_tensor
from export.graph import conv_before
from train.normalise import Normalise
from train.resnet import ResNet

BATCH = 64
SMALLEST_DEVIATION = 1e-4  # of an output channel that never changes
Folded = dict[str, tuple[Tensor, Tensor]]  # weight and bias of a layer, by its name in the network


def folded_weights(model: onnx.ModelProto) -> Folded:
    """The convolutions and the classifier ("fc") of a float32 or int8 graph, in float32.

    Raises ``UserError`` where a tensor is missing, or lies in another file.
    """
    outside = external_tensor(model)
    if outside is not None:
        raise UserError(f"the tensor {outside!r} lies in another file: external data is refused")
    tensors = {t.name: torch.from_numpy(numpy_helper.to_array(t).copy()) for t in model.graph.initializer}
    makers = {output: node for node in model.graph.node for output in node.output}
    found: Folded = {}
    for node in model.graph.node:
        if node.op_type == "Conv":
            name = node.input[1].removeprefix("network.").split(".weight")[0] if node.output[0] != "cam" else "fc"
            weight = _values(node.input[1], tensors, makers)
            bias = node.input[2] if len(node.input) > 2 else "network.fc.bias" if name == "fc" else None
            found[name] = weight, torch.zeros(len(weight)) if bias is None else _values(bias, tensors, makers)
    return found


def unfold(network: ResNet, folded: Folded, normalise: Normalise, images: Tensor) -> None:
    """Give ``network`` (in evaluation mode) the function of ``folded``, and BatchNorm statistics of ``images``.

    ``images`` are uint8 ``[N, size, size, 3]``. A layer's weights get the length that fresh ones have (He et al. 2015):
    BatchNorm makes the function independent of it, but a step of SGD is the larger the shorter they are (van Laarhoven
    2017, arXiv:1706.05350, section 2).
    """
    layers = dict(norms_of(network))
    try:
        network.fc.weight.data.copy_(folded["fc"][0].flatten(1))
        network.fc.bias.data.copy_(folded["fc"][1])
        for name, (conv, norm) in layers.items():
            _copy(folded[name], conv, norm)
    except (KeyError, RuntimeError) as error:
        raise UserError(f"the file's weights do not fit the network that its card names ({error})") from None
    for name, (mean, deviation) in output_statistics(network, normalise, images).items():
        _normalise(*layers[name], mean, deviation)


def norms_of(network: ResNet) -> Iterator[tuple[str, tuple[nn.Conv2d, nn.BatchNorm2d]]]:
    """Every convolution's name, itself and the BatchNorm behind it."""
    modules = dict(network.named_modules())
    for name, module in modules.items():
        if isinstance(module, nn.BatchNorm2d):
            parent, _, own = name.rpartition(".")
            conv_name = f"{parent}.{conv_before(own)}".removeprefix(".")
            conv = modules[conv_name]
            assert isinstance(conv, nn.Conv2d)
            yield conv_name, (conv, module)


@torch.inference_mode()
def output_statistics(network: ResNet, normalise: Normalise, images: Tensor) -> dict[str, tuple[Tensor, Tensor]]:
    """Mean and deviation of every convolution's output channels, float64 ``[O]`` each, over ``images``."""
    sums: dict[str, Tensor] = {}
    names = {conv: name for name, (conv, _) in norms_of(network)}

    def note(conv: nn.Module, _: tuple[Tensor, ...], output: Tensor) -> None:
        values = output.double().transpose(0, 1).flatten(1)
        found = torch.stack([values.sum(1), values.square().sum(1), torch.full((len(values),), values.shape[1])])
        sums[names[conv]] = sums.get(names[conv], torch.zeros(())) + found  # type: ignore[index]

    hooks = [conv.register_forward_hook(note) for conv in names]
    for part in images.split(BATCH):
        network(normalise(part))
    for hook in hooks:
        hook.remove()
    means = {name: (total / count, squares / count) for name, (total, squares, count) in sums.items()}
    return {name: (mean, (square - mean**2).clamp(min=0).sqrt()) for name, (mean, square) in means.items()}


def _values(name: str, tensors: dict[str, Tensor], makers: dict[str, onnx.NodeProto]) -> Tensor:
    """A constant of the graph, float32, dequantised where it is stored as integers."""
    if name in tensors:
        return tensors[name]
    parts = [tensors.get(part) for part in makers[name].input] if name in makers else []
    if len(parts) != 3 or any(part is None for part in parts):
        raise UserError(f"the tensor {name!r} is missing")
    integers, scale, zero = (part for part in parts if part is not None)
    shape = (-1, *[1] * (integers.ndim - 1))
    return (integers.double() - zero.double().view(shape)).mul(scale.double().view(shape)).float()


def _copy(layer: tuple[Tensor, Tensor], conv: nn.Conv2d, norm: nn.BatchNorm2d) -> None:
    """The folded layer: BatchNorm only adds the bias."""
    weight, bias = layer
    conv.weight.data.copy_(weight[:, : conv.in_channels])  # an int8 file's first layer has a channel of zeros more
    norm.reset_parameters()
    assert norm.running_mean is not None
    assert norm.running_var is not None
    norm.running_var.fill_(1 - norm.eps)
    norm.running_mean.copy_(-bias)


def _normalise(conv: nn.Conv2d, norm: nn.BatchNorm2d, mean: Tensor, deviation: Tensor) -> None:
    """The same function with BatchNorm at work: weights of the usual length, statistics, gain and shift."""
    assert norm.running_mean is not None
    assert norm.running_var is not None
    bias, deviation = -norm.running_mean.double(), deviation.clamp(min=SMALLEST_DEVIATION)
    even = conv.weight.data.double() / deviation.view(-1, 1, 1, 1)
    length = math.sqrt(2 * conv.in_channels) / max(float(even.norm()), SMALLEST_DEVIATION)
    conv.weight.data.copy_(even * length)
    norm.running_mean.copy_(mean / deviation * length)
    norm.running_var.fill_(length**2)
    norm.weight.data.copy_(deviation / length * math.sqrt(length**2 + norm.eps))
    norm.bias.data.copy_(bias + mean)
