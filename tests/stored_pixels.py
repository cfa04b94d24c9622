"""Cells that are stored and read back."""

import numpy as np

from build_shards.synthetic import draw_cell
from contract.pixels import decode_pixels, encode_pixels
from contract.recipe import Recipe

SIZE = 48


def jpg(quality: int) -> Recipe:
    return Recipe(size=SIZE, format="jpg", quality=quality)


def cell(seed: int = 0, size: int = SIZE) -> np.ndarray:
    return draw_cell(seed % 2, 0.3, np.random.default_rng(seed), size)


def round_trip(image: np.ndarray, recipe: Recipe) -> np.ndarray:
    return decode_pixels(encode_pixels(image, recipe), recipe, "s: k")
