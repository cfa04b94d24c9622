"""JPEG on the batch beside libjpeg, as opencv carries it."""

import cv2
import numpy as np
import pytest
import torch

from train.draws import Draws
from train.jpeg import compress, jpeg


def photograph(size: int) -> np.ndarray:
    """uint8 ``[size, size, 3]``: smooth colours, an edge and some noise."""
    y, x = np.mgrid[:size, :size] / size
    smooth = np.stack([120 + 80 * np.sin(5 * x), 60 + 50 * y, 150 + 60 * np.cos(4 * x * y)], axis=-1)
    smooth[np.hypot(x - 0.5, y - 0.5) < 0.2] -= 50
    return np.clip(smooth + np.random.default_rng(0).normal(0, 6, smooth.shape), 0, 255).astype(np.uint8)


def libjpeg(image: np.ndarray, quality: int) -> np.ndarray:
    """float ``[H, W, 3]`` RGB after libjpeg, chroma not subsampled."""
    options = [cv2.IMWRITE_JPEG_QUALITY, quality]
    options += [cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444]
    decoded = cv2.imdecode(cv2.imencode(".jpg", image[:, :, ::-1], options)[1], cv2.IMREAD_COLOR)
    assert decoded is not None
    return decoded[:, :, ::-1].astype(float)


def ours(image: np.ndarray, quality: int) -> np.ndarray:
    pixels = torch.from_numpy(image.copy()).permute(2, 0, 1)[None].float()
    return jpeg(pixels, torch.tensor([float(quality)]))[0].permute(1, 2, 0).numpy()


@pytest.mark.parametrize("quality", [40, 50, 75, 95])
@pytest.mark.parametrize("size", [64, 60])
def test_pixels_are_those_of_libjpeg_within_rounding(quality: int, size: int) -> None:
    image = photograph(size)
    wanted, found = libjpeg(image, quality), ours(image, quality)
    difference, loss = np.abs(found - wanted).mean(), np.abs(wanted - image).mean()
    # libjpeg's cosines are of integers, so a coefficient near the border of two steps may fall to either side.
    assert difference < 0.3 * loss
    assert np.abs(found - image).mean() == pytest.approx(loss, rel=0.03)
    assert abs((found - wanted).mean()) < 0.1


def test_coarse_steps_of_grey_leave_next_to_no_border_cases() -> None:
    grey = np.repeat(photograph(64)[..., :1], 3, axis=2)
    difference = np.abs(ours(grey, 40) - libjpeg(grey, 40))
    assert difference.mean() < 0.06
    assert np.abs(libjpeg(grey, 40) - grey).mean() > 4


def test_share_of_images_is_compressed_and_zero_leaves_all() -> None:
    pixels = torch.from_numpy(photograph(48)).permute(2, 0, 1)[None].float().expand(64, -1, -1, -1)
    mask = torch.ones(64, 1, 48, 48)
    changed = (compress(pixels, mask, 0.5, Draws(0, 0, 64)) != pixels).flatten(1).any(dim=1)
    assert 0.3 < changed.float().mean() < 0.7
    assert torch.equal(compress(pixels, mask, 0.0, Draws(0, 0, 64)), pixels)


def test_lower_quality_loses_more() -> None:
    pixels = torch.from_numpy(photograph(48)).permute(2, 0, 1)[None].float().expand(4, -1, -1, -1)
    loss = (jpeg(pixels, torch.tensor([30.0, 50.0, 75.0, 95.0])) - pixels).abs().mean(dim=(1, 2, 3))
    assert (loss[:-1] > loss[1:]).all()


def test_qualities_are_drawn_from_40_to_95() -> None:
    pixels = torch.from_numpy(photograph(24)).permute(2, 0, 1)[None].float()
    found = compress(pixels.expand(256, -1, -1, -1), torch.ones(256, 1, 24, 24), 1.0, Draws(0, 0, 256))
    known = jpeg(pixels.expand(100, -1, -1, -1), torch.arange(1.0, 101))
    drawn = 1 + torch.cdist(found.flatten(1), known.flatten(1)).argmin(dim=1)
    assert 40 <= drawn.min() <= 42
    assert 92 <= drawn.max() <= 95


def test_what_lies_outside_a_cell_reaches_none_of_its_pixels() -> None:
    pixels = torch.from_numpy(photograph(48)).permute(2, 0, 1)[None].float().expand(4, -1, -1, -1)
    mask = torch.zeros(4, 1, 48, 48)
    mask[:, :, 10:39, 13:36] = 1
    clean, spoilt = (compress(x, mask, 1.0, Draws(0, 0, 4)) * mask for x in (pixels * mask, pixels))
    assert torch.equal(clean, spoilt)
