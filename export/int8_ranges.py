"""Measure, layer by layer, what an int8 network needs: a range for every activation, rounded weights, mended biases.

The calibration cells walk through the network twice at once, in float32 and as int8 will see them. Rounding small
positive values to zero moves a channel's mean; the bias of the next convolution takes that back, at each layer after
all layers before it (Nagel et al. 2019, arXiv:1906.04721, section 4.2, with measured means).
"""

import copy
import itertools
from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from torch import Tensor, nn

from contract.model_file import LARGEST_PAIR
from train.normalise import Normalise
from train.resnet import BasicBlock, Bottleneck, ResNet


@dataclass(frozen=True)
class Range:
    """``value = (level - zero_point) * scale`` with levels of 0 to 255."""

    scale: float
    zero_point: int

    def rounded(self, x: Tensor) -> Tensor:
        """``x`` as int8 will see it."""
        levels = torch.clamp(torch.round(x / self.scale) + self.zero_point, 0, 255)
        return (levels - self.zero_point) * self.scale


@dataclass(frozen=True)
class Int8Conv:
    """A convolution's weights, int8 ``[O, I, kh, kw]``, their scales, float32 ``[O]``, and mended bias, ``[O]``."""

    weight: Tensor
    scale: Tensor
    bias: Tensor


@dataclass
class Ranges:
    """Everything that turns the float32 graph into the int8 one; convolutions by their module's name."""

    inputs: dict[str, Range] = field(default_factory=dict)
    outputs: dict[str, Range] = field(default_factory=dict)
    convs: dict[str, Int8Conv] = field(default_factory=dict)
    logit_shift: Tensor = field(default_factory=lambda: torch.zeros(2))  # mends the classifier's bias


class Pair(NamedTuple):
    """One tensor in float32 and as int8 will see it."""

    exact: Tensor
    rounded: Tensor


@torch.inference_mode()
def measure_ranges(network: ResNet, normalise: Normalise, images: Tensor, float_layers: tuple[str, ...]) -> Ranges:
    """Walk ``images``, uint8 ``[M, size, size, 3]``, through a network in evaluation mode whose BatchNorm is folded.

    Convolutions named in ``float_layers`` keep float32 weights. The classifier's input has the name "fc".
    """
    walk = _Walk(Ranges(), float_layers)
    x = normalise(images)
    pair = Pair(x, x) if "conv1" in float_layers else walk.quantise("conv1", Pair(x, x))
    pair = walk.convolve("conv1", network.conv1, pair)
    pair = walk.quantise("conv1", Pair(network.relu(pair.exact), network.relu(pair.rounded)), output=True)
    pair = Pair(network.maxpool(pair.exact), network.maxpool(pair.rounded))
    found = walk.ranges.outputs["conv1"]
    for stage in ("layer1", "layer2", "layer3", "layer4"):
        for number, block in enumerate(getattr(network, stage)):
            pair, found = _through_block(walk, f"{stage}.{number}", block, pair, found)
    walk.ranges.inputs["fc"] = found
    walk.ranges.logit_shift = network.fc.weight @ (pair.exact - pair.rounded).mean(dim=(0, 2, 3))
    return walk.ranges


def _through_block(
    walk: "_Walk", name: str, block: BasicBlock | Bottleneck, pair: Pair, found: Range
) -> tuple[Pair, Range]:
    """The block's output and its range; ``found`` is the range of its input, which two layers may share."""
    names = [child for child in ("conv1", "conv2", "conv3") if hasattr(block, child)]
    walk.ranges.inputs[f"{name}.{names[0]}"] = found
    shortcut = pair
    if not isinstance(block.downsample, nn.Identity):
        walk.ranges.inputs[f"{name}.downsample.0"] = found
        shortcut = walk.convolve(f"{name}.downsample.0", block.downsample[0], pair)  # type: ignore[index]
        shortcut = walk.quantise(f"{name}.downsample.0", shortcut, output=True)
    for child in names[:-1]:
        pair = walk.convolve(f"{name}.{child}", getattr(block, child), pair)
        following = f"{name}.{names[names.index(child) + 1]}"
        pair = walk.quantise(following, Pair(pair.exact.relu(), pair.rounded.relu()))
    last = f"{name}.{names[-1]}"
    pair = walk.convolve(last, getattr(block, names[-1]), pair, shortcut)
    pair = walk.quantise(last, pair, output=True)
    summed = Pair((pair.exact + shortcut.exact).relu(), (pair.rounded + shortcut.rounded).relu())
    found = range_of(summed.exact)
    return Pair(summed.exact, found.rounded(summed.rounded)), found


@dataclass
class _Walk:
    ranges: Ranges
    float_layers: tuple[str, ...]

    def quantise(self, name: str, pair: Pair, output: bool = False) -> Pair:
        """Round one side to the range of the other, which becomes that of the named convolution's input or output."""
        found = range_of(pair.exact)
        (self.ranges.outputs if output else self.ranges.inputs)[name] = found
        return Pair(pair.exact, found.rounded(pair.rounded))

    def convolve(self, name: str, conv: nn.Conv2d, pair: Pair, shortcut: Pair | None = None) -> Pair:
        """Both sides; the rounded one's bias is mended so that no channel's mean (with the shortcut) has moved."""
        exact = conv(pair.exact)
        weight, scale, integers = conv.weight, torch.ones(len(conv.weight)), None
        if name not in self.float_layers:
            scale = weight_scale(weight)
            integers = torch.round(weight / scale[:, None, None, None]).clamp(-127, 127)
            weight = integers * scale[:, None, None, None]
        rounded = nn.functional.conv2d(pair.rounded, weight, conv.bias, conv.stride, conv.padding)
        moved = exact - rounded
        if shortcut is not None:
            moved = moved + shortcut.exact - shortcut.rounded
        shift = moved.mean(dim=(0, 2, 3))
        if integers is not None and conv.bias is not None:
            self.ranges.convs[name] = Int8Conv(integers.to(torch.int8), scale, conv.bias + shift)
            rounded = rounded + shift[:, None, None]
        return Pair(exact, rounded)


def weight_scale(weight: Tensor) -> Tensor:
    """The least scale of each output channel, float32 ``[O]``, with which its int8 weights have sums that fit 16 bits.

    ``weight`` is ``[O, I, kh, kw]``. In units of the scale no weight is beyond 127, nor are two neighbouring input
    channels (0 and 1, 2 and 3, ...) together, where their sign is the same; rounded they reach ``LARGEST_PAIR``.
    """
    even = nn.functional.pad(weight, (0, 0, 0, 0, 0, weight.shape[1] % 2))
    pairs = even.unflatten(1, (-1, 2))
    largest = torch.maximum(pairs.clamp(min=0).sum(dim=2), (-pairs).clamp(min=0).sum(dim=2))
    return largest.amax(dim=(1, 2, 3)).clamp(min=1e-12) / (LARGEST_PAIR - 1)


@torch.inference_mode()
def equalise(network: ResNet, normalise: Normalise, images: Tensor) -> ResNet:
    """A copy that gives the same outputs and whose channels inside a block reach equally far, as one scale needs.

    ReLU(s x) = s ReLU(x): a channel is divided where it is made and multiplied where it is read, by the root of the
    ratio of its largest value to its largest weight (Nagel et al. 2019, section 4.1; Xiao et al. 2022,
    arXiv:2211.10438, eq. 4).
    """
    network = copy.deepcopy(network)
    x = network.maxpool(network.relu(network.conv1(normalise(images))))
    for stage in (network.layer1, network.layer2, network.layer3, network.layer4):
        for block in stage:
            convs = [getattr(block, child) for child in ("conv1", "conv2", "conv3") if hasattr(block, child)]
            y = x
            for made, read in itertools.pairwise(convs):
                y = made(y).relu()
                reach = y.amax(dim=(0, 2, 3)).clamp(min=1e-6) / read.weight.abs().amax(dim=(0, 2, 3)).clamp(min=1e-6)
                factor = (reach / reach.mean()).clamp(min=1e-4).sqrt()
                made.weight /= factor[:, None, None, None]
                made.bias /= factor
                read.weight *= factor[:, None, None]
                y = y / factor[:, None, None]
            x = block(x)
    return network


def range_of(x: Tensor) -> Range:
    """From the smallest to the largest value, zero among them.

    Giving up rare large values for a finer step was tried and moved more decisions: a blast's evidence lies in them.
    """
    low, high = min(float(x.min()), 0.0), max(float(x.max()), 1e-6)
    scale = (high - low) / 255
    return Range(scale, round(-low / scale))
