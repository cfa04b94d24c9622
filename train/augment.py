"""Augmentation on the batch, on its device, on the way from uint8 pixels to the network's input.

Background is not tissue: colours change on cell pixels only, and background is exactly zero in the network's input.
Interpolation blurs. Validation images are never interpolated, so only a share of the training images is (``affine``),
and a share may be blurred or sharpened besides: else sharpness itself would tell a network which images are new.
"""

from dataclasses import dataclass, fields

import torch
from torch import Tensor

from train.config import Config
from train.draws import Draws
from train.focus import change_focus
from train.geometry import erase, erode, move, turn
from train.jpeg import compress
from train.normalise import Normalise
from train.stain_jitter import jitter_stain


@dataclass(frozen=True)
class Augment:
    """Random changes that a cell's class survives; each is off at zero (``flip``: at false). See ``Config``."""

    flip: bool = False
    affine: float = 0.0
    shift: float = 0.0
    scale: float = 0.0
    stain_gain: float = 0.0
    stain_offset: float = 0.0
    blur: float = 0.0
    blur_sigma: float = 1.0
    sharpen: float = 0.0
    jpeg: float = 0.0
    erode: int = 0
    erase: float = 0.0

    @classmethod
    def of(cls, config: Config) -> "Augment":
        """The augmentations that a configuration asks for: its fields of the same names."""
        return cls(**{field.name: getattr(config, field.name) for field in fields(cls)})

    def __call__(self, images: Tensor, normalise: Normalise, draws: Draws) -> Tensor:
        """uint8 ``[N, H, W, 3]`` -> normalised float ``[N, C, H, W]``; all randomness from ``draws``.

        In the order of nature: the stain, the lens, the file; then what a cell may look like anyway.
        """
        pixels = normalise.planes(images)
        mask = (pixels.amax(dim=1, keepdim=True) > 0).to(pixels.dtype)
        if self.erode:
            mask = erode(mask, self.erode, draws)
        if self.stain_gain or self.stain_offset:
            pixels = jitter_stain(pixels, self.stain_gain, self.stain_offset, draws)
        pixels = normalise.summable(pixels)
        if self.blur or self.sharpen or self.jpeg:  # they too round by the order in memory
            pixels = pixels.contiguous(memory_format=torch.channels_last)
        if self.blur or self.sharpen:
            pixels = change_focus(pixels, mask, self.blur, self.blur_sigma, self.sharpen, draws)
        if self.jpeg:
            pixels = compress(pixels, mask, self.jpeg, draws)
        x = normalise.masked(pixels, mask)
        if self.flip:
            x = turn(x, draws)
        if self.affine:
            x = move(x, self.affine, self.shift, self.scale, draws)
        x = x.contiguous(memory_format=torch.channels_last)
        return erase(x, self.erase, draws) if self.erase else x
