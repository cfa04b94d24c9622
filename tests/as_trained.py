"""A ResNet as if trained, without training it: nothing of it is at its start."""

import torch
from torch import nn

from train.resnet import ResNet, build_resnet


def as_trained(arch: str, channels: int = 3) -> ResNet:
    """Gains, shifts and statistics of BatchNorm are drawn, so folding has work to do, and images score differently."""
    torch.manual_seed(0)
    network = build_resnet(arch, channels=channels)
    for norm in network.modules():
        if isinstance(norm, nn.BatchNorm2d):
            nn.init.uniform_(norm.weight, 0.2, 0.8)
            nn.init.normal_(norm.bias, std=0.2)
            nn.init.normal_(norm.running_mean, std=0.2)  # type: ignore[arg-type]
            nn.init.uniform_(norm.running_var, 0.5, 2.0)  # type: ignore[arg-type]
    nn.init.normal_(network.fc.weight)
    nn.init.normal_(network.fc.bias)
    return network.eval()
