import os
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from build_shards import macenko
from build_shards.preprocess import cell_mask
from build_shards.stain import METHODS, fit_target, measure, normalise
from build_shards.synthetic import draw_cell
from contract.recipe import TARGET_LENGTHS

STAINS = [method for method in METHODS if method != "none"]
ROOT = Path(__file__).resolve().parent.parent


def cells_of(count: int, seed: int = 0, side: int = 450) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    images = [draw_cell(i % 2, rng.normal(), rng, side) for i in range(count)]
    return [image[cell_mask(image)] for image in images]


TWO_STAINS = np.array([[0.62, 0.60, 0.50], [0.35, 0.85, 0.40]])  # 22 degrees apart, about as in a blood smear
TWO_STAINS /= np.linalg.norm(TWO_STAINS, axis=1, keepdims=True)


def two_stain_pixels() -> np.ndarray:
    """Pixels of exactly two stains; most hold one of them nearly alone, as sparse methods suppose."""
    amounts = np.random.default_rng(0).uniform(0.6, 2, (20000, 2))
    amounts[:8000, 0] *= 0.02
    amounts[8000:16000, 1] *= 0.02
    return np.clip(np.rint(240 * np.exp(-amounts @ TWO_STAINS) - 1), 1, 255).astype(np.uint8)


def target_of(cells: list[np.ndarray], method: str) -> tuple[float, ...]:
    return fit_target([found for cell in cells if (found := measure(cell, method)) is not None], method)


CELLS = cells_of(6)
TARGETS = {method: target_of(CELLS, method) for method in METHODS}


@pytest.mark.parametrize("method", STAINS)
def test_a_normalised_cell_measures_nearer_to_the_target(method: str):
    # Drawn cells' sparse stains lie 4 degrees apart: what one has too much the other has too little, so vectors only.
    numbers = 6 if method == "vahadane" else TARGET_LENGTHS[method]

    def distance(pixels: np.ndarray) -> float:
        found = measure(pixels, method)
        assert found is not None
        return float(np.linalg.norm(np.subtract(found, TARGETS[method])[:numbers]))

    normalised = [found for pixels in CELLS if (found := normalise(pixels, method, TARGETS[method])) is not None]
    assert len(normalised) == len(CELLS)
    assert sum(map(distance, normalised)) < 0.5 * sum(map(distance, CELLS))


@pytest.mark.parametrize("method", ["reinhard", "macenko"])
def test_a_cell_normalised_to_itself_stays_as_bright(method: str):
    # torchstain adds 1 before the logarithm, does not take it off again, and cuts the fraction: both shift grey levels.
    pixels = two_stain_pixels()  # Macenko drops what no mixture of two stains explains: here that is nothing
    own = measure(pixels, method)
    assert own is not None
    result = normalise(pixels, method, own)
    assert result is not None
    assert abs(result.astype(float).mean() - pixels.mean()) < 0.3


def test_stain_vectors_are_unit_and_haematoxylin_comes_first():
    for method in ("macenko", "vahadane"):
        for numbers in (TARGETS[method], *(measure(pixels, method) for pixels in CELLS)):
            assert numbers is not None
            haematoxylin, eosin = np.array(numbers[:3]), np.array(numbers[3:6])
            np.testing.assert_allclose([np.linalg.norm(haematoxylin), np.linalg.norm(eosin)], 1, atol=1e-6)
            assert haematoxylin[0] > eosin[0]


@pytest.mark.parametrize("method", ["macenko", "vahadane"])
def test_drawn_stains_are_found_again(method: str):
    found = measure(two_stain_pixels(), method)
    assert found is not None
    for number in (0, 1):
        assert np.degrees(np.arccos(np.dot(found[3 * number : 3 * number + 3], TWO_STAINS[number]))) < 3


# --- what cannot be told ---


def degenerate(kind: str) -> np.ndarray:
    rng = np.random.default_rng(0)
    grey = rng.integers(1, 256, (5000, 1), dtype=np.uint8)
    ray = np.exp(-rng.uniform(0.3, 2, (5000, 1)) * np.array([0.6, 0.7, 0.4]))
    # Two crowds of colours face each other across grey: their mean, 0.03 from it, leads nowhere.
    across = np.array([[1, -1, 0], [1, 1, -2]]) / np.sqrt([[2], [6]])
    crowds = np.array([[-0.26, 0.15], [0.32, -0.15]])[np.arange(5000) % 2] + rng.normal(0, 0.03, (5000, 2))
    return {
        "none": np.zeros((0, 3), np.uint8),
        "one pixel": np.array([[120, 40, 130]], np.uint8),
        "few": rng.integers(1, 200, (99, 3), dtype=np.uint8),
        "constant": np.full((5000, 3), (120, 40, 130), np.uint8),
        "black": np.full((5000, 3), 1, np.uint8),
        "white": np.full((5000, 3), 255, np.uint8),
        "grey": np.repeat(grey, 3, axis=1),
        "one stain": np.rint(240 * ray).astype(np.uint8),
        "around grey": np.rint(np.exp(-1 - crowds @ across) * 240 - 1).astype(np.uint8),
        "two colours": np.array([[120, 40, 130], [60, 20, 90]], np.uint8)[rng.integers(0, 2, 5000)],
    }[kind]


REFUSED = ["none", "one pixel", "few", "constant", "black", "white", "grey"]


@pytest.mark.parametrize("method", STAINS)
@pytest.mark.parametrize("kind", REFUSED)
def test_a_cell_without_a_stain_passes_unchanged(method: str, kind: str):
    assert measure(degenerate(kind), method) is None
    assert normalise(degenerate(kind), method, TARGETS[method]) is None


@pytest.mark.parametrize("method", ["macenko", "vahadane"])
@pytest.mark.parametrize("kind", ["one stain", "two colours"])
def test_one_direction_of_colour_is_not_two_stains(method: str, kind: str):
    assert measure(degenerate(kind), method) is None


@pytest.mark.parametrize("method", ["macenko", "vahadane"])
def test_colours_around_grey_are_no_two_stains(method: str):
    assert measure(degenerate("around grey"), method) is None


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(*[st.integers(0, 255)] * 3), min_size=1, max_size=6),
    st.integers(1, 1500),
    st.integers(0, 40),
    st.integers(0, 99),
)
def test_no_pixels_whatever_give_nan_an_exception_or_black(
    colours: list[tuple[int, ...]], count: int, noise: int, seed: int
):
    # Few colours with little noise: constant, rank-deficient, nearly parallel and saturated cells all come up.
    rng = np.random.default_rng(seed)
    pixels = np.array(colours)[rng.integers(0, len(colours), count)] + rng.integers(-noise, noise + 1, (count, 3))
    pixels = np.clip(pixels, 0, 255).astype(np.uint8)
    for method in STAINS:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            found, result = measure(pixels, method), normalise(pixels, method, TARGETS[method])
        assert (found is None) == (result is None)
        if found is not None and result is not None:
            assert np.isfinite(found).all()
            assert result.shape == pixels.shape
            assert result.min() >= 1
            assert result.mean() > 20


# --- what the result may depend on ---


@pytest.mark.parametrize("method", ["macenko", "vahadane"])
@pytest.mark.parametrize("count", [100, 127, 128, 129, 1001])
def test_where_a_pixel_lies_does_not_matter_to_the_bit(method: str, count: int):
    # Vectors of the processor end within so few pixels; turned by one, every pixel meets another place in them.
    pixels = CELLS[1][:: len(CELLS[1]) // count][:count]
    stains = np.array(TARGETS[method][:6]).reshape(2, 3).T
    mixed = [macenko._mix(stains.T, macenko._densities(np.roll(pixels, turn, axis=0))) for turn in range(count)]
    for turn, planes in enumerate(mixed):
        np.testing.assert_array_equal(planes[:, :count], np.roll(mixed[0][:, :count], turn, axis=1))


@pytest.mark.parametrize("method", STAINS)
def test_the_order_of_pixels_does_not_matter(method: str):
    pixels = CELLS[1]
    order = np.random.default_rng(0).permutation(len(pixels))
    np.testing.assert_allclose(measure(pixels[order], method), measure(pixels, method), rtol=1e-3, atol=1e-4)
    shuffled, straight = (normalise(p, method, TARGETS[method]) for p in (pixels[order], pixels))
    assert shuffled is not None
    assert straight is not None
    assert np.abs(shuffled.astype(int) - straight[order]).max() <= 1


@pytest.mark.parametrize("method", STAINS)
def test_equal_colours_stay_equal(method: str):
    pixels = np.tile(CELLS[1], (3, 1))
    result = normalise(pixels, method, TARGETS[method])
    assert result is not None
    first, second, third = np.split(result, 3)
    np.testing.assert_array_equal(first, second)
    np.testing.assert_array_equal(first, third)


def test_bits_do_not_depend_on_the_number_of_threads():
    code = f"""
import hashlib, sys
import numpy as np
sys.path.insert(0, ".")
from build_shards.stain import measure, normalise
amounts = np.random.default_rng(0).uniform(0.1, 2, (40000, 2))
pixels = (240 * np.exp(-amounts @ {TWO_STAINS.tolist()})).astype(np.uint8)
for method in {STAINS}:
    found = measure(pixels, method)
    print(found, hashlib.sha256(normalise(pixels, method, found)).hexdigest())
"""
    outputs = [
        subprocess.run(
            [sys.executable, "-c", code],
            env=os.environ | {"OMP_NUM_THREADS": threads, "OPENBLAS_NUM_THREADS": threads},
            cwd=ROOT,
            capture_output=True,
            check=True,
            text=True,
        ).stdout
        for threads in ("1", "2")
    ]
    assert outputs[0] == outputs[1] != ""


@pytest.mark.parametrize("method", STAINS)
def test_no_cell_pixel_becomes_background_and_the_input_is_left_alone(method: str):
    pixels = CELLS[0].copy()
    pixels[::7] = (1, 0, 0)  # the darkest that is still a cell
    kept = pixels.copy()
    result = normalise(pixels, method, TARGETS[method])
    assert result is not None
    assert result.dtype == np.uint8
    assert result.min() >= 1
    np.testing.assert_array_equal(pixels, kept)


# --- the target ---


@pytest.mark.parametrize("method", STAINS)
def test_one_wild_cell_does_not_move_the_target(method: str):
    measured = [found for pixels in cells_of(15, seed=3) if (found := measure(pixels, method)) is not None]
    wild = (*(-np.array(measured[0][:6])).tolist(), *(50 * np.array(measured[0][6:])).tolist())
    moved = np.subtract(fit_target([*measured, wild], method), fit_target(measured, method))
    assert (np.abs(moved) <= np.std(measured, axis=0) + 1e-6).all()
