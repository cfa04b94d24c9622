"""Sixteen numbers a cell: what they measure, and that nothing makes them NaN."""

import cv2
import numpy as np
import pytest

from build_shards.synthetic import draw_cell
from train.features import FEATURES, measure


def _measured(image: np.ndarray) -> dict[str, float]:
    return dict(zip(FEATURES, measure(image).tolist(), strict=True))


def _disc(radius: int, side: int = 112) -> np.ndarray:
    image = np.zeros((side, side, 3), np.uint8)
    cv2.circle(image, (side // 2, side // 2), radius, (120, 60, 150), -1)
    return image


@pytest.fixture(scope="module")
def cell() -> np.ndarray:
    return draw_cell(1, 0.3, np.random.default_rng(5), 112)


def test_there_are_sixteen_finite_numbers(cell: np.ndarray) -> None:
    assert len(FEATURES) == len(set(FEATURES)) == 16
    assert measure(cell).shape == (16,)
    assert np.isfinite(measure(cell)).all()


def test_shape_is_measured_on_the_mask() -> None:
    disc = _measured(_disc(30))
    assert disc["area"] == pytest.approx(np.pi * 30**2, rel=0.03)
    assert disc["circularity"] == pytest.approx(1, abs=0.06)
    assert disc["solidity"] > 0.95
    assert disc["eccentricity"] < 0.1
    bar = np.zeros((112, 112, 3), np.uint8)
    bar[50:60, 10:100] = 90
    assert (_measured(bar)["circularity"] < 0.4, _measured(bar)["eccentricity"] > 0.95) == (True, True)
    bent = bar.copy()
    bent[10:60, 10:20] = 90
    assert _measured(bent)["solidity"] < 0.6


def test_colours_are_those_of_cell_pixels_alone() -> None:
    disc = _measured(_disc(20))
    assert [disc[f"mean_{c}"] for c in "rgb"] == [120, 60, 150]
    assert [disc[f"sd_{c}"] for c in "rgb"] == pytest.approx([0, 0, 0], abs=1e-9)
    density = -np.log(np.array([120, 60, 150]) / 255).mean()
    assert [disc[f"density_{p}"] for p in ("p5", "p50", "p95")] == pytest.approx([density] * 3)
    assert (disc["entropy"], disc["dark_share"]) == (0, 0)


def test_a_dark_half_is_half_the_cell() -> None:
    image = _disc(30)
    image[:56][image[:56].any(axis=2)] = (60, 30, 80)
    assert _measured(image)["dark_share"] == pytest.approx(0.5, abs=0.02)


def test_background_around_the_cell_and_quarter_turns_change_nothing(cell: np.ndarray) -> None:
    padded = np.pad(cell, ((9, 30), (20, 4), (0, 0)))
    assert measure(padded) == pytest.approx(measure(cell), rel=1e-9)
    assert measure(np.ascontiguousarray(np.rot90(cell))) == pytest.approx(measure(cell), rel=1e-6)


def test_blur_lowers_sharpness_and_the_masks_edge_does_not_raise_it(cell: np.ndarray) -> None:
    mask = cell.any(axis=2, keepdims=True)
    blurred = np.maximum(cv2.GaussianBlur(cell, (0, 0), 1.5), 1) * mask
    assert _measured(blurred)["sharpness"] < _measured(cell)["sharpness"] - 0.5
    assert _measured(_disc(30))["sharpness"] == 0  # one colour: only its edge is sharp


@pytest.mark.parametrize("box", [(1, 1), (1, 6), (2, 2), (2, 9), (3, 3), (112, 112)])
def test_tiny_and_frame_filling_cells_have_finite_numbers(box: tuple[int, int]) -> None:
    image = np.zeros((112, 112, 3), np.uint8)
    image[: box[0], : box[1]] = (9, 200, 30)
    assert np.isfinite(measure(image)).all()


def test_specks_apart_are_one_cell() -> None:
    image = np.zeros((40, 40, 3), np.uint8)
    image[3, 3], image[30, 20], image[12, 30] = 5, 9, 9
    assert np.isfinite(measure(image)).all()
    assert _measured(image)["area"] == 3


def test_an_image_of_background_is_refused() -> None:
    with pytest.raises(ValueError, match="background alone"):
        measure(np.zeros((40, 40, 3), np.uint8))


def test_a_cell_of_two_colours_has_the_numbers_of_both() -> None:
    image = np.zeros((60, 60, 3), np.uint8)
    image[10:30, 10:50], image[30:50, 10:50] = (60, 30, 80), (120, 60, 160)
    found = _measured(image)
    assert [found[f"mean_{c}"] for c in "rgb"] == [90, 45, 120]
    assert [found[f"sd_{c}"] for c in "rgb"] == [30, 15, 40]
    dark, bright = (-np.log(np.array(colour) / 255).mean() for colour in ((60, 30, 80), (120, 60, 160)))
    densities = [found[f"density_{p}"] for p in ("p5", "p50", "p95")]
    assert densities == pytest.approx([bright, (bright + dark) / 2, dark])
    assert found["entropy"] == pytest.approx(1)  # bit: two grey values, as often


def test_a_dark_quarter_is_a_quarter_of_the_cell() -> None:
    image = np.zeros((60, 60, 3), np.uint8)
    image[10:20, 10:50], image[20:50, 10:50] = (60, 30, 80), (120, 60, 160)
    assert _measured(image)["dark_share"] == pytest.approx(0.25)


def test_pixels_without_one_of_the_colours_are_the_cell_s() -> None:
    image = _disc(20)
    whole = _measured(image)["area"]
    image[:56, :, 1] = 0
    assert _measured(image)["area"] == whole


def test_percentiles_are_those_of_a_cell_of_a_hundred_densities() -> None:
    image = np.zeros((30, 30, 3), np.uint8)
    image[10:20, 10:20] = np.arange(101, 201).reshape(10, 10, 1)
    found = _measured(image)
    densities = -np.log(np.arange(101, 201) / 255)
    wanted = np.percentile(densities, (5, 50, 95))
    assert [found[f"density_{p}"] for p in ("p5", "p50", "p95")] == pytest.approx(wanted)
    assert found["entropy"] == pytest.approx(np.log2(100))


def test_entropy_is_that_of_whole_grey_values() -> None:
    image = np.zeros((30, 30, 3), np.uint8)
    image[10:20, 10:20] = 100
    image[10:15, 10:20, 0] = 101  # a third of a level brighter
    assert _measured(image)["entropy"] == 0
