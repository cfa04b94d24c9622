"""ResNet-18, -50 and -152, written by hand after He et al. 2015.

Source: K. He, X. Zhang, S. Ren, J. Sun, "Deep Residual Learning for Image Recognition"
(arXiv:1512.03385), table 1 and figure 5. Two later habits of the field are followed: the stride of
a bottleneck sits in its 3x3 convolution, and the last BatchNorm of every block starts at zero
(Goyal et al. 2017, arXiv:1706.02677, section 5.1), so that each block starts as its shortcut.
"""

import torch
from torch import Tensor, nn

from contract.recipe import MINIMUM_SIZE


class BasicBlock(nn.Module):
    """Two 3x3 convolutions and a shortcut: ``[N, C, H, W] -> [N, width, H/stride, W/stride]``."""

    expansion = 1

    def __init__(self, in_channels: int, width: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, width, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = _projection(in_channels, width, stride)

    @property
    def last_norm(self) -> nn.BatchNorm2d:
        return self.bn2

    def forward(self, x: Tensor) -> Tensor:
        out = self.relu(self.bn1(self.conv1(x)))
        out = self.bn2(self.conv2(out))
        return self.relu(out + self.downsample(x))


class Bottleneck(nn.Module):
    """1x1, 3x3, 1x1 and a shortcut: ``[N, C, H, W] -> [N, 4 width, H/stride, W/stride]``."""

    expansion = 4

    def __init__(self, in_channels: int, width: int, stride: int) -> None:
        super().__init__()
        out_channels = width * self.expansion
        self.conv1 = nn.Conv2d(in_channels, width, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, stride, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, out_channels, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(out_channels)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = _projection(in_channels, out_channels, stride)

    @property
    def last_norm(self) -> nn.BatchNorm2d:
        return self.bn3

    def forward(self, x: Tensor) -> Tensor:
        out = self.relu(self.bn1(self.conv1(x)))
        out = self.relu(self.bn2(self.conv2(out)))
        out = self.bn3(self.conv3(out))
        return self.relu(out + self.downsample(x))


Block = type[BasicBlock] | type[Bottleneck]

ARCHITECTURES: dict[str, tuple[Block, tuple[int, int, int, int]]] = {
    "resnet18": (BasicBlock, (2, 2, 2, 2)),
    "resnet50": (Bottleneck, (3, 4, 6, 3)),
    "resnet152": (Bottleneck, (3, 8, 36, 3)),
}


class ResNet(nn.Module):
    """A residual network for images of ``MINIMUM_SIZE`` pixels or more a side.

    ``forward`` maps normalised images, float ``[N, channels, H, W]``, to ``logits``, float ``[N, classes]``.
    ``features`` stops at the last feature map, float ``[N, C, h, w]`` with ``h = ceil(H / 32)``, ``pooled`` at its
    mean, float ``[N, C]``.
    """

    def __init__(self, block: Block, depths: tuple[int, int, int, int], classes: int, channels: int = 3) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, 64, 7, stride=2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(3, stride=2, padding=1)
        self.layer1 = _stage(block, 64, 64, depths[0], stride=1)
        self.layer2 = _stage(block, 64 * block.expansion, 128, depths[1], stride=2)
        self.layer3 = _stage(block, 128 * block.expansion, 256, depths[2], stride=2)
        self.layer4 = _stage(block, 256 * block.expansion, 512, depths[3], stride=2)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(512 * block.expansion, classes)
        self.apply(_initialise)

    def features(self, x: Tensor) -> Tensor:
        if min(x.shape[-2:]) < MINIMUM_SIZE:
            raise ValueError(f"image of {x.shape[-2]} x {x.shape[-1]} px: a ResNet needs {MINIMUM_SIZE} px or more")
        x = self.maxpool(self.relu(self.bn1(self.conv1(x))))
        return self.layer4(self.layer3(self.layer2(self.layer1(x))))

    def pooled(self, x: Tensor) -> Tensor:
        return torch.flatten(self.avgpool(self.features(x)), 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.pooled(x))


def build_resnet(arch: str, classes: int = 2, channels: int = 3) -> ResNet:
    """Build one of ``ARCHITECTURES`` with fresh He-initialised weights from torch's global generator.

    Its input has as many channels as ``train.normalise.Normalise`` makes. Raises ``ValueError`` for an unknown name,
    listing the valid ones.
    """
    if arch not in ARCHITECTURES:
        raise ValueError(f"architecture {arch!r} is unknown: valid are {', '.join(ARCHITECTURES)}")
    block, depths = ARCHITECTURES[arch]
    return ResNet(block, depths, classes, channels)


def build_apart(arch: str, channels: int = 3) -> ResNet:
    """A network for weights that are there already: torch's global generator stays as it is."""
    with torch.random.fork_rng(devices=[]):
        return build_resnet(arch, channels=channels)


def _projection(in_channels: int, out_channels: int, stride: int) -> nn.Module:
    """Shortcut option B of He et al.: a 1x1 convolution only where the shape changes."""
    if stride == 1 and in_channels == out_channels:
        return nn.Identity()
    return nn.Sequential(nn.Conv2d(in_channels, out_channels, 1, stride, bias=False), nn.BatchNorm2d(out_channels))


def _stage(block: Block, in_channels: int, width: int, depth: int, stride: int) -> nn.Sequential:
    first = block(in_channels, width, stride)
    rest = [block(width * block.expansion, width, stride=1) for _ in range(depth - 1)]
    return nn.Sequential(first, *rest)


def _initialise(module: nn.Module) -> None:
    """He initialisation (He et al. 2015, arXiv:1502.01852, eq. 10, fan-out) and zero last gammas."""
    if isinstance(module, nn.Conv2d):
        nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
    elif isinstance(module, BasicBlock | Bottleneck):
        nn.init.zeros_(module.last_norm.weight)
