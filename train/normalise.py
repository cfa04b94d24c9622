"""From the pixels of a shard to the network's input; training, validation and the ONNX graph share this module."""

import torch
from torch import Tensor, nn


class Normalise(nn.Module):
    """uint8 ``[N, H, W, 3]`` RGB -> float ``[N, 3, H, W]``: cell pixels to mean 0 and std 1, background to zero.

    ``mean`` and ``std`` are of the training split's cell pixels, in units of 0..255: background is not tissue.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, mean: tuple[float, float, float], std: tuple[float, float, float]) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(mean).view(1, 3, 1, 1))
        self.register_buffer("std", torch.tensor(std).view(1, 3, 1, 1))

    def forward(self, images: Tensor) -> Tensor:
        pixels = images.permute(0, 3, 1, 2).to(self.mean.dtype)
        return self.masked(pixels, (pixels.amax(dim=1, keepdim=True) > 0).to(pixels.dtype))

    def masked(self, pixels: Tensor, mask: Tensor) -> Tensor:
        """Normalise float ``[N, 3, H, W]`` pixels of 0..255 and keep those of the mask, float ``[N, 1, H, W]``."""
        return (pixels - self.mean) / self.std * mask
