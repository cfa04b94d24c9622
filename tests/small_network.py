"""A network of two thousand weights for tests of the loop: convolution, BatchNorm and a classifier, as in a ResNet."""

import torch
from torch import Tensor, nn


class SmallNetwork(nn.Module):
    """Float ``[N, 3, H, W]`` to logits ``[N, 2]``; ``train.run.build_resnet`` is replaced by it."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 12, 7, stride=4, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(12)
        self.fc = nn.Linear(12, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(torch.relu(self.bn1(self.conv1(x))).mean(dim=(2, 3)))
