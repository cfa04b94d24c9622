"""Stain augmentation: people's slides differ in how much dye their cells took."""

from torch import Tensor

from train.draws import Draws, moved


def jitter_stain(pixels: Tensor, gain: float, offset: float, draws: Draws) -> Tensor:
    """Optical density ``-log(I / 255)`` times a gain of ``1 +- gain`` plus an offset, drawn per image and channel.

    ``pixels`` are float ``[N, 3, H, W]`` of 0..255, and so is what comes back.
    """
    gains = 1 + gain * moved(draws.signed("stain gain", 3, 1, 1), pixels.device)
    offsets = offset * moved(draws.signed("stain offset", 3, 1, 1), pixels.device)
    density = pixels.clamp(min=1).div_(255).log_().neg_()
    return density.mul_(gains).add_(offsets).clamp_(min=0).neg_().exp_().mul_(255)  # in place: memory bounds it
