"""Augmentation on the batch, on its device, on the way from uint8 pixels to the network's input.

Background is not tissue: colours change on cell pixels only, and background is exactly zero in the network's input.
Interpolation blurs. Validation images are never interpolated, so only a share of the training images is (``affine``):
else sharpness itself would tell a network which images are new.
"""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from train.normalise import Normalise


@dataclass(frozen=True)
class Augment:
    """Random changes that a cell's class survives; each is off at zero (``flip``: at false)."""

    flip: bool
    affine: float
    shift: float
    scale: float
    stain_gain: float
    stain_offset: float

    def __call__(self, images: Tensor, normalise: Normalise, generator: torch.Generator) -> Tensor:
        """uint8 ``[N, H, W, 3]`` -> normalised float ``[N, 3, H, W]``; all randomness from ``generator`` (CPU)."""
        pixels = images.permute(0, 3, 1, 2).to(normalise.mean.dtype)
        mask = (pixels.amax(dim=1, keepdim=True) > 0).to(pixels.dtype)
        x = normalise.masked(self._stain(pixels, generator), mask)
        if self.flip:
            x = _turn(x, generator)
        return self._affine(x, generator) if self.affine else x

    def _stain(self, pixels: Tensor, generator: torch.Generator) -> Tensor:
        """Optical density ``-log(I / 255)`` times a gain plus an offset, drawn per image and channel."""
        if not (self.stain_gain or self.stain_offset):
            return pixels
        n, device = len(pixels), pixels.device
        gain = 1 + self.stain_gain * _uniform((n, 3, 1, 1), generator).to(device)
        offset = self.stain_offset * _uniform((n, 3, 1, 1), generator).to(device)
        density = -torch.log(pixels.clamp(min=1) / 255)
        return 255 * torch.exp(-(density * gain + offset).clamp(min=0))

    def _affine(self, x: Tensor, generator: torch.Generator) -> Tensor:
        """Rotate by any angle, scale and shift a share ``affine`` of the images by bilinear interpolation."""
        n = len(x)
        chosen = torch.nonzero(torch.rand(n, generator=generator) < self.affine).flatten()
        angle = torch.pi * _uniform((n,), generator)
        zoom = 1 / (1 + self.scale * _uniform((n,), generator))
        move = 2 * self.shift * _uniform((n, 2), generator)  # grid_sample's units: the side is 2
        cos, sin = zoom * torch.cos(angle), zoom * torch.sin(angle)
        rows = torch.stack([torch.stack([cos, -sin, move[:, 0]], 1), torch.stack([sin, cos, move[:, 1]], 1)], 1)
        if chosen.numel() == 0:
            return x
        chosen_there = chosen.to(x.device)
        picked = x[chosen_there]
        grid = functional.affine_grid(rows[chosen].to(x), list(picked.shape), align_corners=False)
        moved = functional.grid_sample(picked, grid, mode="bilinear", padding_mode="zeros", align_corners=False)
        return x.index_copy(0, chosen_there, moved)


def resize(x: Tensor, size: int) -> Tensor:
    """Area-average normalised images ``[N, 3, H, W]`` to ``[N, 3, size, size]`` (progressive size)."""
    return x if x.shape[-1] == size else functional.interpolate(x, size=(size, size), mode="area")


def _turn(x: Tensor, generator: torch.Generator) -> Tensor:
    """One of the 8 orientations of a square for each image, exactly."""
    orientation = torch.randint(8, (len(x),), generator=generator)
    out = torch.empty_like(x)
    for k in range(8):
        members = torch.nonzero(orientation == k).flatten().to(x.device)
        turned = torch.rot90(x[members], k % 4, (2, 3))
        out[members] = turned.flip(3) if k >= 4 else turned
    return out


def _uniform(shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
    return torch.rand(shape, generator=generator) * 2 - 1
