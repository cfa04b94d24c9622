"""In which order an image is changed, and that each share of images is changed by what its flag names."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from train.augment import Augment
from train.draws import Draws
from train.focus import change_focus
from train.jpeg import compress
from train.mix import mix
from train.normalise import Normalise
from train.stain_jitter import jitter_stain

NORMALISE = Normalise((160.5, 120.25, 180.0), (30.5, 41.0, 22.25))
OFF = Augment()


@pytest.fixture(scope="module")
def images() -> Tensor:
    """uint8 ``[16, 40, 40, 3]``: discs of noise on black, far from 0 and 255, where sharpening would be cut."""
    y, x = np.mgrid[:40, :40] - 19.5
    noise = np.random.default_rng(0).integers(100, 132, (16, 40, 40, 3), np.uint8)
    return torch.from_numpy(noise * (np.hypot(x, y) < 14)[None, :, :, None].astype(np.uint8))


def run(augment: Augment, images: Tensor) -> Tensor:
    return augment(images, NORMALISE, Draws(0, 0, len(images)))


def sharpness(x: Tensor) -> Tensor:
    """Mean difference of neighbours in the middle of each image."""
    middle = x[:, :, 12:28, 12:28]
    return (middle[..., 1:] - middle[..., :-1]).abs().mean(dim=(1, 2, 3))


def test_the_stain_comes_before_the_lens_and_the_lens_before_the_file(images: Tensor) -> None:
    draws = Draws(0, 0, len(images))
    pixels = NORMALISE.planes(images)
    mask = (pixels.amax(dim=1, keepdim=True) > 0).float()
    pixels = jitter_stain(pixels, 0.2, 0.1, draws).contiguous(memory_format=torch.channels_last)
    pixels = compress(change_focus(pixels, mask, 0.5, 1.0, 0.5, draws), mask, 1.0, draws)
    everything = replace(OFF, stain_gain=0.2, stain_offset=0.1, blur=0.5, sharpen=0.5, jpeg=1.0)
    assert (run(everything, images) - NORMALISE.masked(pixels, mask)).abs().mean() < 1e-3


def test_blur_blurs_sharpen_sharpens_and_sigma_says_how_much(images: Tensor) -> None:
    before = sharpness(NORMALISE(images))
    assert (sharpness(run(replace(OFF, sharpen=1.0), images)) > before).all()
    weak, strong = (sharpness(run(replace(OFF, blur=1.0, blur_sigma=sigma), images)) for sigma in (1.0, 3.0))
    assert (weak <= before).all()
    assert strong.mean() < 0.8 * weak.mean()


@pytest.mark.parametrize("chosen", [(False, False), (True, False), (True, True)])
def test_with_nothing_on_it_is_what_validation_sees_to_the_bit(chosen: tuple[bool, bool], images: Tensor) -> None:
    images = images.clone()
    images[:, 15:20, :, 1] = 0  # pixels without one of the colours are the cell's all the same
    normalise = Normalise((160.5, 120.25, 180.0), (30.5, 41.0, 22.25), *chosen)
    assert torch.equal(OFF(images, normalise, Draws(0, 0, len(images))), normalise(images))


def test_no_two_purposes_draw_from_one_stream(images: Tensor, monkeypatch: pytest.MonkeyPatch) -> None:
    # Of one stream, cells that are turned far would be enlarged as well, say.
    purposes: list[str] = []
    stream = Draws._generator
    monkeypatch.setattr(Draws, "_generator", lambda self, purpose: purposes.append(purpose) or stream(self, purpose))
    everything = Augment(True, 0.5, 0.1, 0.1, 0.2, 0.1, 0.4, 1.0, 0.4, 0.5, 2, 0.5)
    mix(run(everything, images), torch.zeros(len(images), 2), 1.0, 1.0, Draws(0, 0, len(images)))
    assert len(purposes) == len(set(purposes)) == 17
