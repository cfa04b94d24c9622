"""The network and the int8 graph that tests of quantisation share."""

from dataclasses import replace

import onnx
import torch

from contract.model_card import ModelCard
from export.graph import finish, fold_batch_norm
from export.int8_ranges import measure_ranges
from export.quantize import quantize
from train.normalise import Normalise
from train.resnet import BasicBlock, Bottleneck, ResNet

# Every way in which they differ for int8, as a fixture's parameters: kind of block, and channels of input.
KINDS = {"basic": (BasicBlock, 3), "basic with colours": (BasicBlock, 6), "bottleneck": (Bottleneck, 3)}


def small(block: type, channels: int) -> ResNet:
    """One block a stage: the smallest network that has all parts, as if trained."""
    torch.manual_seed(0)
    network = ResNet(block, (1, 1, 1, 1), 2, channels)
    for norm in network.modules():
        if isinstance(norm, torch.nn.BatchNorm2d):
            torch.nn.init.uniform_(norm.weight, 0.2, 0.8)
            torch.nn.init.normal_(norm.bias, std=0.2)
    torch.nn.init.normal_(network.fc.weight)
    return network.eval()


def card_for(card: ModelCard, network: ResNet) -> ModelCard:
    """A card that fits: with six channels a network sees standardised cells and their colours."""
    return replace(card, training={"standardise": True, "colours": True}) if network.conv1.in_channels == 6 else card


def int8_file(graph: onnx.ModelProto, network: ResNet, card: ModelCard, images: torch.Tensor) -> bytes:
    """The network's ``graph`` quantised with ranges of uint8 ``[M, size, size, 3]`` images."""
    ranges = measure_ranges(fold_batch_norm(network), Normalise.of(card), images, ())
    return finish(quantize(graph, ranges), card, "int8")
