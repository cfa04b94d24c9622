"""From a raw cell image to the pixels of a shard, as a ``Recipe`` says. The only code that does it: builder and
demo both call this module.

How the mask stays exact: colours and mask are area-averaged apart, then the colour sums are divided by the covered
area, so a border pixel is the mean of the cell pixels in it and never a mix with black. A stored pixel belongs
to the cell when at least half of its area does. Cell pixels are at least (1, 1, 1), background is (0, 0, 0): the mask
can be read back from the stored image as "any channel above zero".
"""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from build_shards.image_file import decode_image, read_image
from contract.errors import UserError
from contract.recipe import Recipe

__all__ = ["Crop", "cell_mask", "decode_image", "preprocess", "read_image"]

Image = NDArray[np.uint8]


@dataclass(frozen=True)
class Crop:
    """A preprocessed cell."""

    image: Image  # uint8 [size, size, 3] RGB, background exactly zero
    box: tuple[int, int, int, int]  # left, top, width, height of the crop in source pixels; may reach outside
    shrunk: bool  # the cell was larger than the native window


def cell_mask(image: Image) -> NDArray[np.bool_]:
    """Where the cell is: bool ``[H, W]``, true where any channel of the uint8 ``[H, W, 3]`` image is above zero."""
    mask: NDArray[np.bool_] = np.any(image, axis=2)
    return mask


def preprocess(image: Image, recipe: Recipe, source: str) -> Crop:
    """Crop and resize one cell: uint8 ``[H, W, 3]`` RGB on black -> ``[size, size, 3]``.

    Raises ``UserError`` naming ``source`` when the image is all background, or its cell too small to be stored.
    """
    mask = cell_mask(image)
    box, shrunk = _crop_box(mask, recipe, source)
    pixels, inside = _cut(image, box), _cut(mask.astype(np.uint8), box)
    resized = _resize(pixels, inside, recipe.size)
    if not resized.any():
        raise UserError(f"{source}: the cell covers {mask.sum()} pixels, too few for one pixel of {recipe.size} px")
    return Crop(resized, box, shrunk)


def _crop_box(mask: NDArray[np.bool_], recipe: Recipe, source: str) -> tuple[tuple[int, int, int, int], bool]:
    """The square (or, for crop "none", the whole frame) to cut, and whether the cell outgrew the window."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if rows.size == 0:
        raise UserError(f"{source}: all background: no pixel is brighter than (0, 0, 0)")
    if recipe.crop == "none":
        side = max(mask.shape)
        return ((mask.shape[1] - side) // 2, (mask.shape[0] - side) // 2, side, side), False
    top, bottom, left, right = int(rows[0]), int(rows[-1]) + 1, int(columns[0]), int(columns[-1]) + 1
    extent = max(bottom - top, right - left)
    side = extent if recipe.crop == "box" else max(recipe.window, extent)
    box = ((left + right - side) // 2, (top + bottom - side) // 2, side, side)
    return box, recipe.crop == "native" and extent > recipe.window


def _cut(image: Image, box: tuple[int, int, int, int]) -> Image:
    """Cut ``box`` out of ``[H, W]`` or ``[H, W, C]``, with zeros where it reaches outside."""
    left, top, width, height = box
    out = np.zeros((height, width, *image.shape[2:]), np.uint8)
    y0, y1 = max(top, 0), min(top + height, image.shape[0])
    x0, x1 = max(left, 0), min(left + width, image.shape[1])
    out[y0 - top : y1 - top, x0 - left : x1 - left] = image[y0:y1, x0:x1]
    return out


def _resize(pixels: Image, inside: Image, size: int) -> Image:
    """Area-average the cell's pixels alone to ``[size, size, 3]``; see the module's docstring."""
    colour = cv2.resize(pixels.astype(np.float32), (size, size), interpolation=cv2.INTER_AREA)
    coverage = cv2.resize(inside.astype(np.float32), (size, size), interpolation=cv2.INTER_AREA)
    kept = coverage >= 0.5
    out = np.zeros((size, size, 3), np.uint8)
    out[kept] = np.clip(np.rint(colour[kept] / coverage[kept, None]), 1, 255).astype(np.uint8)
    return out
