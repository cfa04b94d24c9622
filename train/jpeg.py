"""What JPEG does to an image, on the batch and its device: colour transform, block cosines, quantisation and back.

Source: ITU-T T.81, annexes A and K; the scaling of its tables by a quality is that of the IJG's libjpeg. Coding the
numbers loses nothing and is left out. Chroma is not subsampled.
"""

import math

import torch
from torch import Tensor
from torch.nn import functional

from train.draws import Draws, moved

QUALITIES = (40.0, 95.0)
LUMA_TABLE = (
    (16, 11, 10, 16, 24, 40, 51, 61),
    (12, 12, 14, 19, 26, 58, 60, 55),
    (14, 13, 16, 24, 40, 57, 69, 56),
    (14, 17, 22, 29, 51, 87, 80, 62),
    (18, 22, 37, 56, 68, 109, 103, 77),
    (24, 35, 55, 64, 81, 104, 113, 92),
    (49, 64, 78, 87, 103, 121, 120, 101),
    (72, 92, 95, 98, 112, 100, 103, 99),
)
CHROMA_CORNER = ((17, 18, 24, 47), (18, 21, 26, 66), (24, 26, 56, 99), (47, 66, 99, 99))  # 99 everywhere else
RGB_TO_YCC = torch.tensor(
    [[0.299, 0.587, 0.114], [-0.168735892, -0.331264108, 0.5], [0.5, -0.418687589, -0.081312411]], dtype=torch.float64
)
YCC_TO_RGB = torch.linalg.inv(RGB_TO_YCC)
GREY = torch.tensor([128.0, 0.0, 0.0]).view(1, 3, 1, 1)  # JPEG's numbers are signed; chroma is so by itself


def compress(pixels: Tensor, mask: Tensor, share: float, draws: Draws) -> Tensor:
    """A random ``share`` of the images as they come back from JPEG of a random quality, background black as before.

    ``pixels`` float ``[N, 3, H, W]`` of 0..255, ``mask`` float ``[N, 1, H, W]``.
    """
    chosen = draws.chosen("jpeg", share)
    if chosen.numel() == 0:
        return pixels
    low, high = QUALITIES
    qualities = (low + (high - low) * draws.uniform("jpeg quality")[chosen]).floor()
    there = moved(chosen, pixels.device)
    return pixels.index_copy(0, there, jpeg(pixels[there] * mask[there], moved(qualities, pixels.device)))


def jpeg(pixels: Tensor, qualities: Tensor) -> Tensor:
    """Float ``[N, 3, H, W]`` RGB of 0..255 after JPEG of ``qualities``, float ``[N]`` of 1..100."""
    _, _, height, width = pixels.shape
    to_ycc, to_rgb, grey, cosines = (_like(pixels, table) for table in (RGB_TO_YCC, YCC_TO_RGB, GREY, _cosines()))
    padded = functional.pad(pixels.round(), (0, -width % 8, 0, -height % 8), mode="replicate")
    blocks = _to_blocks(torch.einsum("kc,nchw->nkhw", to_ycc, padded).round() - grey)
    tables = _tables(qualities)[:, :, None, None].to(pixels.dtype)
    blocks = cosines.T @ ((cosines @ blocks @ cosines.T / tables).round() * tables) @ cosines
    ycc = blocks.transpose(3, 4).reshape(padded.shape).round() + grey
    return torch.einsum("ck,nkhw->nchw", to_rgb, ycc)[:, :, :height, :width].round().clamp(0, 255)


def _to_blocks(planes: Tensor) -> Tensor:
    """``[N, 3, H, W]`` to ``[N, 3, H / 8, W / 8, 8, 8]``."""
    n, channels, height, width = planes.shape
    return planes.reshape(n, channels, height // 8, 8, width // 8, 8).transpose(3, 4)


def _like(pixels: Tensor, table: Tensor) -> Tensor:
    return moved(table.to(pixels.dtype), pixels.device)


def _cosines() -> Tensor:
    """The orthonormal cosine transform of 8 values, ``[8, 8]``: frequency by position."""
    k = torch.arange(8, dtype=torch.float64)
    cosines = torch.cos(math.pi / 8 * (k[None] + 0.5) * k[:, None]) / 2
    cosines[0] /= math.sqrt(2)
    return cosines


def _tables(qualities: Tensor) -> Tensor:
    """Quantisation steps, float ``[N, 3, 8, 8]``: luma, chroma, chroma."""
    chroma = torch.full((8, 8), 99.0)
    chroma[:4, :4] = torch.tensor(CHROMA_CORNER)
    base = torch.stack([torch.tensor(LUMA_TABLE, dtype=torch.float32), chroma, chroma])
    percent = torch.where(qualities < 50, torch.floor(5000 / qualities), 200 - 2 * qualities)
    tables = moved(base, qualities.device) * percent.view(-1, 1, 1, 1)
    return torch.floor((tables + 50) / 100).clamp(1, 255)
