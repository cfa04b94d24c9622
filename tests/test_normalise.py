"""Normalise against numpy in float64, and its background."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from contract.model_card import ModelCard
from train.normalise import SMALLEST_VARIANCE, Normalise

MEAN, STD = (160.5, 120.25, 180.0), (30.5, 41.0, 22.25)


def random_cells(n: int, size: int, seed: int) -> np.ndarray:
    """uint8 ``[n, size, size, 3]``: noise of 1..255 on exact black."""
    rng = np.random.default_rng(seed)
    return rng.integers(1, 256, (n, size, size, 3), np.uint8) * rng.integers(0, 2, (n, size, size, 1), np.uint8)


def reference(images: np.ndarray) -> np.ndarray:
    tissue = (images != 0).any(axis=-1, keepdims=True)
    return np.where(tissue, (images.astype(np.float64) - MEAN) / STD, 0.0).transpose(0, 3, 1, 2)


@pytest.mark.parametrize(
    ("training", "chosen"),
    [
        ({}, (False, False)),
        ({"standardise": False}, (False, False)),
        ({"standardise": True}, (True, False)),  # before there were colours
        ({"standardise": True, "colours": False}, (True, False)),
        ({"standardise": True, "colours": True}, (True, True)),
        ({"standardise": False, "colours": True}, (False, True)),
    ],
)
def test_a_card_says_how_its_network_s_pixels_are_normalised(
    card: ModelCard, training: dict, chosen: tuple[bool, bool]
) -> None:
    images = torch.from_numpy(random_cells(3, 11, seed=2))
    own = replace(card, mean=MEAN, std=STD, training=training)
    found = Normalise.of(own)(images)
    assert torch.equal(found, Normalise(MEAN, STD, *chosen)(images))
    assert found.shape == (3, own.channels, 11, 11)
    assert Normalise.of(own).channels == own.channels


@pytest.mark.parametrize("module", ["benchmarks/inference.py", "export/graph.py", "export/variants.py"])
def test_who_has_a_card_normalises_by_it(module: str) -> None:
    # Mean and deviation alone would forget whether images are standardised.
    text = (Path(__file__).parents[1] / module).read_text(encoding="utf-8")
    assert "Normalise.of(card)" in text
    assert "Normalise(" not in text


@pytest.mark.parametrize(("dtype", "limit"), [(torch.float32, 1e-5), (torch.float64, 1e-12)])
def test_normalise_matches_numpy(dtype: torch.dtype, limit: float) -> None:
    images = random_cells(3, 11, seed=1)
    found = Normalise(MEAN, STD).to(dtype)(torch.from_numpy(images))
    assert found.dtype == dtype
    assert np.abs(found.numpy() - reference(images)).max() < limit


def test_background_is_exactly_zero() -> None:
    images = random_cells(2, 16, seed=2)
    background = ~images.any(axis=-1)
    found = Normalise(MEAN, STD)(torch.from_numpy(images)).permute(0, 2, 3, 1).numpy()
    assert (found[background] == 0).all()
    assert (found[~background] != 0).any(axis=-1).all()


def test_pixel_with_one_channel_above_zero_is_tissue() -> None:
    images = np.zeros((1, 1, 3, 3), np.uint8)
    images[0, 0, :, :] = np.eye(3)
    found = Normalise(MEAN, STD)(torch.from_numpy(images)).numpy()
    assert np.allclose(found, reference(images))
    assert (found < 0).all()  # every channel is far below the mean, also those that are 0


def test_statistics_move_with_the_module_and_are_not_trained() -> None:
    normalise = Normalise(MEAN, STD)
    assert not list(normalise.parameters())
    assert set(normalise.state_dict()) == {"mean", "std"}


def test_standardised_cells_have_mean_zero_and_deviation_one_and_match_numpy() -> None:
    images = random_cells(4, 24, seed=3)
    images[1] //= 2  # darker
    found = Normalise(MEAN, STD, standardise=True)(torch.from_numpy(images)).numpy()
    for image, values in zip(images, found, strict=True):
        tissue = image.any(axis=-1)
        pixels = (image[tissue].astype(np.float64) - MEAN) / STD
        deviation = np.sqrt(pixels.var(axis=0) + SMALLEST_VARIANCE)
        assert np.abs(values[:, tissue].T - (pixels - pixels.mean(axis=0)) / deviation).max() < 1e-4
        assert (values[:, ~tissue] == 0).all()
        assert np.abs(values[:, tissue].std(axis=1) - 1).max() < 1e-3


def test_colours_stand_beside_the_standardised_cell() -> None:
    images = torch.from_numpy(random_cells(3, 11, seed=1))
    both = Normalise(MEAN, STD, standardise=True, colours=True)(images)
    assert both.shape == (3, 6, 11, 11)
    assert both.is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(both[:, :3], Normalise(MEAN, STD, standardise=True)(images))
    assert torch.equal(both[:, 3:], Normalise(MEAN, STD)(images))
    assert torch.equal(Normalise(MEAN, STD, colours=True)(images), both[:, 3:])  # nothing but them is shown anyway


def test_standardised_cell_forgets_gain_and_offset_of_its_colours() -> None:
    images = np.where(random_cells(2, 24, seed=4).any(axis=-1, keepdims=True), 40, 0) + 0 * random_cells(2, 24, seed=5)
    texture = random_cells(2, 24, seed=6) // 4
    images = ((images + texture) * (images > 0)).astype(np.uint8)
    other = np.where(images > 0, 2 * images.astype(int) + 20, 0).astype(np.uint8)
    normalise = Normalise(MEAN, STD, standardise=True)
    a, b = normalise(torch.from_numpy(images)), normalise(torch.from_numpy(other))
    assert np.abs((a - b).numpy()).max() < 1e-2
    plain = Normalise(MEAN, STD)
    assert (plain(torch.from_numpy(images)) - plain(torch.from_numpy(other))).abs().max() > 1


def test_even_or_empty_images_become_zero_when_standardised() -> None:
    images = np.zeros((2, 8, 8, 3), np.uint8)
    images[0, 2:6, 2:6] = (90, 60, 120)
    found = Normalise(MEAN, STD, standardise=True)(torch.from_numpy(images))
    assert (found == 0).all()


@pytest.mark.parametrize("colour", [(90, 61, 120), (1, 2, 254), (177, 33, 251)])
def test_an_almost_even_colour_is_standardised_as_in_float64(colour: tuple[int, int, int]) -> None:
    images = np.full((1, 200, 200, 3), colour, np.uint8)
    images[0, :7, :7] += 1  # 49 of 40,000 pixels: the deviation is a thirtieth of a grey level
    images[0, 150:] = 0
    normalise = Normalise(MEAN, STD, standardise=True)
    found = normalise(torch.from_numpy(images))
    assert (found - normalise.double()(torch.from_numpy(images))).abs().max() < 1e-5


def test_an_even_colour_that_is_no_whole_number_stays_almost_zero() -> None:
    # As in training, where pixels are jittered and interpolated; see standardise_cells.
    colours = torch.rand((16, 3, 1, 1), generator=torch.Generator().manual_seed(0)) * 254 + 1
    pixels = colours.expand(16, 3, 112, 112).contiguous(memory_format=torch.channels_last)
    found = Normalise(MEAN, STD, standardise=True).masked(pixels, torch.ones(16, 1, 112, 112))
    assert 0 < found.abs().max() < 1e-3


def test_a_cell_of_hardly_any_contrast_is_not_blown_up() -> None:
    # Networks that are trained already were shown just this.
    images = np.zeros((1, 4, 4, 3), np.uint8)
    images[0, :2], images[0, 2:] = 100, 102
    found = Normalise(MEAN, STD, standardise=True)(torch.from_numpy(images))[0].numpy()
    wanted = 1 / np.sqrt(1 + 1e-4 * np.square(STD))  # a deviation of 1, and a hundredth of that of all cells
    np.testing.assert_allclose(found[:, 3, 0], wanted, rtol=1e-5)
    np.testing.assert_allclose(found[:, 0, 0], -wanted, rtol=1e-5)
