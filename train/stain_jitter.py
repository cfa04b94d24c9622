"""Stain augmentation: people's slides differ in how much dye their cells took."""

import torch
from torch import Tensor

from train.draws import Draws, moved


def jitter_stain(pixels: Tensor, gain: float, offset: float, draws: Draws) -> Tensor:
    """Optical density ``-log(I / 255)`` times a gain of ``1 +- gain`` plus an offset, drawn per image and channel.

    ``pixels`` are float ``[N, 3, H, W]`` of 0..255, and so is what comes back.
    """
    gains = 1 + gain * moved(draws.signed("stain gain", 3, 1, 1), pixels.device)
    offsets = offset * moved(draws.signed("stain offset", 3, 1, 1), pixels.device)
    density = -torch.log(pixels.clamp(min=1) / 255)
    return 255 * torch.exp(-(density * gains + offsets).clamp(min=0))
