"""A network of two thousand weights that exports as a ResNet does: for tests of what is done with an exported file."""

from torch import Tensor, nn


class NarrowNetwork(nn.Module):
    """Float ``[N, 3, H, W]`` to logits ``[N, 2]``; a map has an eighth of the image's side."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 16, 7, stride=8, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(16)
        self.fc = nn.Linear(16, 2)

    def features(self, x: Tensor) -> Tensor:
        return self.bn1(self.conv1(x))  # of both signs, so that fresh weights call some cells blasts and others not

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.features(x).mean(dim=(2, 3)))
