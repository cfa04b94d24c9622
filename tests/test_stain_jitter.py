"""Gains and offsets of the stain's jitter come from draws of their own."""

import numpy as np
import torch

from train.draws import Draws
from train.stain_jitter import jitter_stain


def test_gains_and_offsets_of_the_stain_are_drawn_apart() -> None:
    grey = torch.tensor([50.0, 100.0]).expand(512, 3, 1, 2)
    before, after = (-(images / 255).log() for images in (grey, jitter_stain(grey, 0.2, 0.1, Draws(0, 0, 512))))
    gains = (after[..., 0] - after[..., 1]) / (before[..., 0] - before[..., 1])
    offsets = after[..., 0] - gains * before[..., 0]
    assert abs(np.corrcoef(gains.flatten(), offsets.flatten())[0, 1]) < 0.1
