"""What a stain's target is, and what measuring and normalising refuse."""

import numpy as np
import pytest

from build_shards.preprocess import cell_pixels
from build_shards.stain import METHODS, fit_target, measure, normalise
from build_shards.synthetic import draw_cell
from contract.errors import UserError
from contract.recipe import TARGET_LENGTHS

STAINS = [method for method in METHODS if method != "none"]
CELL = cell_pixels(draw_cell(1, 0.0, np.random.default_rng(0)))
TARGETS = {method: fit_target([measure(CELL, method)], method) for method in METHODS}


@pytest.mark.parametrize("method", METHODS)
def test_a_target_is_plain_numbers_of_the_methods_length(method: str):
    assert len(TARGETS[method]) == TARGET_LENGTHS[method]
    assert all(type(number) is float for number in TARGETS[method])


@pytest.mark.parametrize("method", STAINS)
def test_no_cell_measured_is_the_users_to_know(method: str):
    with pytest.raises(UserError, match=f"stain {method}: no cell"):
        fit_target([], method)


def test_none_changes_nothing():
    assert measure(CELL, "none") == ()
    np.testing.assert_array_equal(normalise(CELL, "none", ()), CELL)


def test_wrong_arguments_are_named():
    with pytest.raises(ValueError, match=r"'maceko': must be one of none, reinhard"):
        measure(CELL, "maceko")
    with pytest.raises(ValueError, match=r"float64 \[5, 3\] given"):
        measure(np.ones((5, 3)), "macenko")
    with pytest.raises(ValueError, match=r"target of 6 numbers: macenko has 8"):
        normalise(CELL, "macenko", TARGETS["reinhard"])


def test_a_hundred_pixels_are_enough_and_one_fewer_is_not():
    pixels = CELL[:: len(CELL) // 100][:100]
    assert measure(pixels, "reinhard") is not None
    assert normalise(pixels, "reinhard", TARGETS["reinhard"]) is not None
    assert measure(pixels[1:], "reinhard") is None
    assert normalise(pixels[1:], "reinhard", TARGETS["reinhard"]) is None


@pytest.mark.parametrize(
    ("method", "numbers"),
    [
        ("reinhard", (56.4146, 26.9199, -34.8273, 8.9679, 2.1772, 6.8554)),
        ("macenko", (0.6066, 0.7512, 0.2604, 0.5017, 0.8248, 0.2607, 1.0592, 1.2838)),
        ("vahadane", (0.6128, 0.7540, 0.2366, 0.5412, 0.8084, 0.2314, 0.9882, 0.8946)),
    ],
)
def test_a_cell_measures_what_it_always_did(method: str, numbers: tuple[float, ...]):
    # Whoever changes these numbers changes pixels: raise the stain's number in VERSIONS (contract/recipe.py).
    assert measure(CELL, method) == pytest.approx(numbers, abs=1e-3)
