"""Blur and sharpening of cell pixels: photographs of different people differ in focus."""

import math

import torch
from torch import Tensor
from torch.nn import functional

from train.draws import Draws, moved

SHARPEN_SIGMA = 1.0  # px, of the blur that an unsharp mask subtracts
SMALLEST_SIGMA = 0.05  # px: the kernel is one pixel


def change_focus(pixels: Tensor, mask: Tensor, blur: float, sigma: float, sharpen: float, draws: Draws) -> Tensor:
    """Blur a share ``blur`` of the images by up to ``sigma`` px, sharpen another share ``sharpen`` by an unsharp mask.

    ``pixels`` float ``[N, 3, H, W]`` of 0..255, ``mask`` float ``[N, 1, H, W]``. What comes back is of 0..255 too.
    """
    fate, strength = draws.uniform("focus"), draws.uniform("focus strength")
    chosen = torch.nonzero(fate < blur + sharpen).flatten()
    if chosen.numel() == 0:
        return pixels
    fate, strength = fate[chosen], strength[chosen]
    blurred = fate < blur
    sigmas = torch.where(blurred, sigma * strength, SHARPEN_SIGMA).clamp(min=SMALLEST_SIGMA)
    towards = torch.where(blurred, 1.0, -strength)  # 1: the blurred image; below 0: away from it
    there = moved(chosen, pixels.device)
    picked, cells = pixels[there], mask[there]
    soft = blur_cells(picked, cells, moved(sigmas, pixels.device), max(sigma, SHARPEN_SIGMA))
    weight = moved(towards, pixels.device).view(-1, 1, 1, 1).to(pixels.dtype)
    return pixels.index_copy(0, there, torch.lerp(picked, soft, weight).clamp(0, 255))


def blur_cells(pixels: Tensor, mask: Tensor, sigmas: Tensor, largest: float) -> Tensor:
    """Gaussian blur of ``sigmas`` px, float ``[N]`` up to ``largest``, over cell pixels alone.

    A cell pixel becomes the mean of the cell pixels around it with Gaussian weights (normalised convolution, Knutsson
    and Westin 1993): no black leaks in from the background. What comes back outside the cell is without meaning.
    """
    radius = math.ceil(3 * largest)
    offsets = torch.arange(-radius, radius + 1, device=pixels.device, dtype=pixels.dtype)
    kernels = torch.exp(-0.5 * (offsets / sigmas.to(pixels.dtype)[:, None]) ** 2)
    kernels = kernels / kernels.sum(dim=1, keepdim=True)
    both = torch.cat([pixels * mask, mask], dim=1)
    n, channels, height, width = both.shape
    flat, taps = both.reshape(1, n * channels, height, width), kernels.repeat_interleave(channels, 0)
    flat = functional.conv2d(flat, taps[:, None, :, None], padding=(radius, 0), groups=n * channels)
    flat = functional.conv2d(flat, taps[:, None, None, :], padding=(0, radius), groups=n * channels)
    soft = flat.view(n, channels, height, width)
    return soft[:, :3] / soft[:, 3:].clamp(min=1e-6)
