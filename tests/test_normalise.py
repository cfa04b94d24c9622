"""Normalise against numpy in float64, and its background."""

import numpy as np
import pytest
import torch

from train.normalise import Normalise

MEAN, STD = (160.5, 120.25, 180.0), (30.5, 41.0, 22.25)


def random_cells(n: int, size: int, seed: int) -> np.ndarray:
    """uint8 ``[n, size, size, 3]``: noise of 1..255 on exact black."""
    rng = np.random.default_rng(seed)
    return rng.integers(1, 256, (n, size, size, 3), np.uint8) * rng.integers(0, 2, (n, size, size, 1), np.uint8)


def reference(images: np.ndarray) -> np.ndarray:
    tissue = (images != 0).any(axis=-1, keepdims=True)
    return np.where(tissue, (images.astype(np.float64) - MEAN) / STD, 0.0).transpose(0, 3, 1, 2)


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
