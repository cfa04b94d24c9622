"""From the pixels of a shard to the network's input; training, validation and the ONNX graph share this module."""

import torch
from torch import Tensor, nn

from contract.model_card import ModelCard

SMALLEST_VARIANCE = 1e-4  # of standardised cells, in units of the training split's variance


class Normalise(nn.Module):
    """uint8 ``[N, H, W, 3]`` RGB -> float ``[N, C, H, W]``: cell pixels to mean 0 and std 1, background to zero.

    ``mean`` and ``std`` are of the training split's cell pixels, in units of 0..255: background is not tissue. With
    ``standardise``, mean and std of every image's own cell pixels are taken out instead, per channel; with ``colours``
    as well, three more channels have the pixels as they are without it: C, ``channels``, is 6 then, else 3.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        mean: tuple[float, float, float],
        std: tuple[float, float, float],
        standardise: bool = False,
        colours: bool = False,
    ) -> None:
        super().__init__()
        self.standardise = standardise
        self.channels = 6 if standardise and colours else 3
        self.register_buffer("mean", torch.tensor(mean).view(1, 3, 1, 1))
        self.register_buffer("std", torch.tensor(std).view(1, 3, 1, 1))

    @classmethod
    def of(cls, card: ModelCard) -> "Normalise":
        """As the network of ``card`` was trained with."""
        chosen = (card.training.get(name) is True for name in ("standardise", "colours"))  # older runs had no choice
        return cls(card.mean, card.std, *chosen)

    def forward(self, images: Tensor) -> Tensor:
        pixels = self.planes(images)
        mask = (pixels.amax(dim=1, keepdim=True) > 0).to(pixels.dtype)
        return self.masked(self.summable(pixels), mask).contiguous(memory_format=torch.channels_last)

    def planes(self, images: Tensor) -> Tensor:
        """uint8 ``[N, H, W, 3]`` -> float ``[N, 3, H, W]``, each channel's pixels one after another.

        With the channels last, whatever is done per channel or with a mask would go three numbers at a time.
        """
        return images.permute(0, 3, 1, 2).contiguous().to(self.mean.dtype)

    def summable(self, pixels: Tensor) -> Tensor:
        """Where images are standardised, with the channels last: sums round by the order in memory, which must stay."""
        return pixels.contiguous(memory_format=torch.channels_last) if self.standardise else pixels

    def masked(self, pixels: Tensor, mask: Tensor) -> Tensor:
        """Normalise float ``[N, 3, H, W]`` pixels of 0..255 and keep those of the mask, float ``[N, 1, H, W]``."""
        if not self.standardise:
            return self._as_they_are(pixels, mask)
        standardised = standardise_cells(pixels, mask, SMALLEST_VARIANCE * self.std**2)
        return torch.cat([standardised, self._as_they_are(pixels, mask)], 1) if self.channels == 6 else standardised

    def _as_they_are(self, pixels: Tensor, mask: Tensor) -> Tensor:
        return (pixels - self.mean).div_(self.std).mul_(mask)


def standardise_cells(pixels: Tensor, mask: Tensor, smallest_variance: Tensor) -> Tensor:
    """Per image and channel: cell pixels of float ``[N, 3, H, W]`` to mean 0 and std 1; an even colour to 0.

    In validation and in the ONNX graph pixels are whole numbers of 0..255: float32 adds 65,793 of the brightest
    exactly, a full image of 256 px and more of a cell's, so that an even colour has no remainder which the division by
    a small deviation would blow up. In training they are floats, jittered in stain and interpolated: sums round, and
    an even colour keeps less than 0.001.
    """
    count = mask.sum(dim=(2, 3), keepdim=True).clamp(min=1)
    centred = (pixels - (pixels * mask).sum(dim=(2, 3), keepdim=True) / count) * mask
    variance = (centred * centred).sum(dim=(2, 3), keepdim=True) / count
    return centred / torch.sqrt(variance + smallest_variance)
