"""Blur and sharpening of cell pixels, beside scipy's Gaussian."""

import numpy as np
import pytest
import torch
from scipy import ndimage

from train.draws import Draws
from train.focus import blur_cells, change_focus


def cells(n: int, size: int = 40) -> tuple[torch.Tensor, torch.Tensor]:
    """Discs of noise on black, float 0..255, and their mask."""
    y, x = np.mgrid[:size, :size] - (size - 1) / 2
    mask = torch.from_numpy(np.hypot(x, y) < 14).float().expand(n, 1, size, size)
    noise = torch.from_numpy(np.random.default_rng(0).integers(1, 256, (n, 3, size, size))).float()
    return noise * mask, mask


def sharpness(pixels: torch.Tensor) -> torch.Tensor:
    """Mean difference of neighbours in the middle of the cell."""
    middle = pixels[:, :, 12:28, 12:28]
    return (middle[..., 1:] - middle[..., :-1]).abs().mean(dim=(1, 2, 3))


@pytest.mark.parametrize("sigma", [0.5, 1.0, 2.0])
def test_blur_is_scipys_gaussian_over_cell_pixels_alone(sigma: float) -> None:
    pixels, mask = cells(2)
    found = blur_cells(pixels, mask, torch.full((2,), sigma), 2.0)
    for i in range(2):
        # mode constant: outside the image is no cell either; truncated where ours is
        weights = ndimage.gaussian_filter(mask[i, 0].double().numpy(), sigma, mode="constant", radius=6)
        inside = mask[i, 0].bool().numpy()
        for c in range(3):
            wanted = ndimage.gaussian_filter(pixels[i, c].double().numpy(), sigma, mode="constant", radius=6)
            assert np.abs(found[i, c].numpy() - wanted / np.maximum(weights, 1e-6))[inside].max() < 1e-2


def test_an_even_cell_stays_even_up_to_its_edge() -> None:
    _, mask = cells(2)
    even = 100 * mask.expand(-1, 3, -1, -1)
    found = blur_cells(even, mask, torch.full((2,), 2.0), 2.0)
    assert (found - even)[mask.expand_as(found) > 0].abs().max() < 1e-3


@pytest.mark.parametrize(("blur", "sharpen"), [(0.5, 0.0), (0.0, 0.5), (0.3, 0.3), (1.0, 0.0)])
def test_shares_of_the_images_lose_or_gain_sharpness(blur: float, sharpen: float) -> None:
    pixels, mask = cells(128)
    pixels = 100 * mask + pixels / 8  # far from 0 and 255, where sharpening would be cut
    found = change_focus(pixels, mask, blur, 2.0, sharpen, Draws(0, 0, 128))
    change = sharpness(found) / sharpness(pixels)
    assert (change < 0.999).float().mean() == pytest.approx(blur, abs=0.12)
    assert (change > 1.001).float().mean() == pytest.approx(sharpen, abs=0.12)
    assert found.min() >= 0
    assert found.max() <= 255
    if blur:
        assert change.min() < 0.4
    if sharpen:
        assert change.max() > 1.5


def test_a_sharpened_image_goes_as_far_from_its_blurred_one_as_it_was_drawn() -> None:
    pixels, mask = cells(16)
    pixels, draws = 100 * mask + pixels / 8, Draws(0, 0, 16)
    found = change_focus(pixels, mask, 0.0, 2.0, 1.0, draws)
    away = pixels - blur_cells(pixels, mask, torch.ones(16), 2.0)  # an unsharp mask of 1 px, whatever blurs may be
    wanted = pixels + draws.uniform("focus strength").view(-1, 1, 1, 1) * away
    assert ((found - wanted) * mask).abs().max() < 1e-2


class Zeros(Draws):
    """Draws the smallest number that may come."""

    def uniform(self, purpose: str, *shape: int) -> torch.Tensor:
        return torch.zeros_like(super().uniform(purpose, *shape))


def test_a_blur_of_no_strength_leaves_the_image_as_it_is() -> None:
    pixels, mask = cells(2)
    found = change_focus(pixels, mask, 1.0, 1.0, 0.0, Zeros(0, 0, 2))
    assert ((found - pixels) * mask).abs().max() < 1e-3


def test_a_small_largest_blur_does_not_change_how_images_are_sharpened() -> None:
    pixels, mask = cells(8)
    pixels = 100 * mask + pixels / 8
    small, large = (change_focus(pixels, mask, 0.0, sigma, 1.0, Draws(0, 0, 8)) for sigma in (0.2, 1.0))
    assert torch.equal(small, large)


def test_nothing_of_the_background_reaches_a_cell_whatever_lies_there() -> None:
    # Jitter of the stain makes background grey, and an eroded outline leaves the cell's own pixels outside.
    pixels, mask = cells(2)
    sigmas = torch.full((2,), 1.5)
    clean, spoilt = (blur_cells(x, mask, sigmas, 1.5) for x in (pixels, pixels + 200 * (1 - mask)))
    assert torch.equal(clean * mask, spoilt * mask)
