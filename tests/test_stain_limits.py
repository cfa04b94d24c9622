"""No normalised cell pixel becomes background, however dark the target is; and stains that are too near to be told."""

import numpy as np
import pytest

from build_shards.macenko import _plane
from build_shards.preprocess import cell_pixels
from build_shards.reinhard import _statistics
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


@pytest.mark.parametrize(("degrees", "told"), [(2, False), (4, True)])
def test_two_stains_less_than_three_degrees_apart_are_not_told(degrees: float, told: bool) -> None:
    first = np.array([0.62, 0.60, 0.50]) / np.linalg.norm([0.62, 0.60, 0.50])
    across = np.cross(first, [1, 0, 0]) / np.linalg.norm(np.cross(first, [1, 0, 0]))
    second = np.cos(np.radians(degrees)) * first + np.sin(np.radians(degrees)) * np.cross(first, across)
    # Every pixel holds one of them alone, so that they are the extreme colours.
    amounts = np.random.default_rng(0).uniform(1, 2, (4000, 1)) * (np.arange(4000) % 2 == np.arange(2)[:, None]).T
    pixels = np.rint(240 * np.exp(-amounts @ np.stack([first, second])) - 1).astype(np.uint8)
    assert (measure(pixels, "macenko") is not None) == told


@pytest.mark.parametrize(("deviation", "told"), [(0.24, False), (0.26, True)])
@pytest.mark.parametrize("channel", [0, 1, 2])
def test_a_channel_of_lab_that_deviates_by_less_than_a_quarter_is_not_told(
    channel: int, deviation: float, told: bool
) -> None:
    lab = np.array([[[50, 20, -20]], [[70, 30, -10]]], np.float32)
    lab[1, 0, channel] = lab[0, 0, channel] + 2 * deviation
    assert (_statistics(lab, np.arange(2)) is not None) == told


@pytest.mark.parametrize(("variance", "told"), [(0.9e-4, False), (1.1e-4, True)])
def test_densities_that_hardly_vary_beside_their_first_direction_span_no_plane(variance: float, told: bool) -> None:
    OD = np.ones((3, 400), np.float32)  # noqa: N806
    OD[0] += np.where(np.arange(400) % 2, 0.1, -0.1)
    OD[1] += np.sqrt(variance) * np.where(np.arange(400) < 200, 1, -1)
    assert (_plane(OD) is not None) == told
