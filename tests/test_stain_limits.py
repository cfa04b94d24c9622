"""No normalised cell pixel becomes background, however dark the target is."""

import numpy as np
import pytest

from build_shards.preprocess import cell_pixels
from build_shards.stain import measure, normalise
from build_shards.synthetic import draw_cell


@pytest.fixture
def pixels() -> np.ndarray:
    """The cell pixels of a drawn blast: uint8 ``[M, 3]``."""
    return cell_pixels(draw_cell(1, 0.0, np.random.default_rng(0)))


def test_macenko_leaves_a_pixel_of_twenty_times_the_stain_above_background(pixels: np.ndarray) -> None:
    measured = measure(pixels, "macenko")
    assert measured is not None
    *vectors, haematoxylin, eosin = measured
    stained = normalise(pixels, "macenko", (*vectors, 20 * haematoxylin, 20 * eosin))
    assert stained is not None
    assert stained.min() == 1


def test_reinhard_leaves_a_pixel_darker_than_black_above_background(pixels: np.ndarray) -> None:
    measured = measure(pixels, "reinhard")
    assert measured is not None
    stained = normalise(pixels, "reinhard", (-50.0, *measured[1:]))
    assert stained is not None
    assert stained.min() == 1
