"""Where a cell lies and how much of it is seen: turns, moves, eroded outlines, erased rectangles, sizes."""

import torch
from torch import Tensor
from torch.nn import functional

from train.draws import Draws, moved

ERASED_AREA = (0.02, 0.2)  # of the image
ERASED_ASPECT = 3.3  # largest ratio of an erased rectangle's sides


def turn(x: Tensor, draws: Draws) -> Tensor:
    """One of the 8 orientations of a square for each image ``[N, C, S, S]``, exactly."""
    orientation = (8 * draws.uniform("turn")).long()
    out = torch.empty_like(x)
    for k in range(8):
        members = moved(torch.nonzero(orientation == k).flatten(), x.device)
        turned = torch.rot90(x[members], k % 4, (2, 3))
        out[members] = turned.flip(3) if k >= 4 else turned
    return out


def move(x: Tensor, share: float, shift: float, scale: float, draws: Draws) -> Tensor:
    """Rotate a random share of the images by any angle, scale by ``1 +- scale``, shift by up to ``shift`` of the side.

    Bilinear interpolation of ``[N, C, S, S]``; what comes in from outside is zero.
    """
    chosen = draws.chosen("move", share)
    if chosen.numel() == 0:
        return x
    angle = torch.pi * draws.signed("angle")[chosen]
    zoom = 1 / (1 + scale * draws.signed("scale")[chosen])
    way = 2 * shift * draws.signed("shift", 2)[chosen]  # grid_sample's units: the side is 2
    cos, sin = zoom * torch.cos(angle), zoom * torch.sin(angle)
    rows = torch.stack([torch.stack([cos, -sin, way[:, 0]], 1), torch.stack([sin, cos, way[:, 1]], 1)], 1)
    there = moved(chosen, x.device)
    picked = x[there]
    grid = functional.affine_grid(moved(rows, x.device).to(x.dtype), list(picked.shape), align_corners=False)
    changed = functional.grid_sample(picked, grid, mode="bilinear", padding_mode="zeros", align_corners=False)
    return x.index_copy(0, there, changed)


def erode(mask: Tensor, largest: int, draws: Draws) -> Tensor:
    """Take 0 to ``largest`` px, drawn per image, off the outline of a mask, float ``[N, 1, H, W]`` of 0 and 1.

    A pixel goes when one of its 8 neighbours is background; the image's edge is no outline.
    """
    wanted = moved((draws.uniform("erode") * (largest + 1)).long().view(-1, 1, 1, 1), mask.device)
    for done in range(largest):
        smaller = -functional.max_pool2d(-mask, 3, stride=1, padding=1)
        mask = torch.where(wanted > done, smaller, mask)
    return mask


def erase(x: Tensor, share: float, draws: Draws) -> Tensor:
    """Set a rectangle of a random share of images ``[N, C, H, W]`` to zero (Zhong et al. 2017, arXiv:1708.04896)."""
    fate, size, aspect, y, x0 = draws.uniform("erase", 5).unbind(1)
    low, high = ERASED_AREA
    side = torch.sqrt(low + (high - low) * size)
    stretch = ERASED_ASPECT ** (aspect - 0.5)  # 1/sqrt to sqrt: the ratio of the sides is its square
    tall, wide = (side * stretch).clamp(max=1), (side / stretch).clamp(max=1)
    tall = torch.where(fate < share, tall, 0.0)
    boxes = boxes_of(x.shape[2], x.shape[3], torch.stack([y, x0], 1), torch.stack([tall, wide], 1))
    return x * moved(~boxes, x.device)


def boxes_of(height: int, width: int, places: Tensor, sides: Tensor) -> Tensor:
    """bool ``[N, 1, H, W]``, one rectangle an image: ``sides`` and ``places`` ``[N, 2]`` are shares of y and x."""
    rows, columns = (_stretch(n, places[:, k], sides[:, k]) for k, n in enumerate((height, width)))
    return (rows[:, :, None] & columns[:, None, :])[:, None]


def _stretch(length: int, place: Tensor, share: Tensor) -> Tensor:
    """bool ``[N, length]``: a stretch of ``share`` of the length, from its start (``place`` 0) to its end (1)."""
    start = (place * (1 - share) * length)[:, None]
    at = torch.arange(length) + 0.5
    return (at >= start) & (at < start + share[:, None] * length)


def resize(x: Tensor, size: int) -> Tensor:
    """Area-average normalised images ``[N, C, H, W]`` to ``[N, C, size, size]`` (progressive size)."""
    return x if x.shape[-1] == size else functional.interpolate(x, size=(size, size), mode="area")
