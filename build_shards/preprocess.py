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
from build_shards.stain import normalise
from contract.errors import UserError
from contract.recipe import Recipe

__all__ = ["Crop", "cell_mask", "cell_pixels", "decode_image", "preprocess", "read_image"]

Image = NDArray[np.uint8]


@dataclass(frozen=True)
class Crop:
    """A preprocessed cell."""

    image: Image  # uint8 [size, size, 3] RGB, background exactly zero
    box: tuple[int, int, int, int]  # left, top, width, height of the crop in source pixels; may reach outside
    shrunk: bool  # the cell was larger than the native window
    normalised: bool  # its stain is that of the recipe; false where the stain cannot be told and the colours stayed


def cell_mask(image: Image) -> NDArray[np.bool_]:
    """Where the cell is: bool ``[H, W]``, true where any channel of the uint8 ``[H, W, 3]`` image is above zero."""
    red, green, blue = cv2.split(image)  # sixteen times faster than numpy's any() along the last axis
    return cv2.bitwise_or(cv2.bitwise_or(red, green), blue) > 0


def preprocess(image: Image, recipe: Recipe, source: str) -> Crop:
    """Normalise, crop and resize one cell: uint8 ``[H, W, 3]`` RGB on black -> ``[size, size, 3]``.

    The stain is measured and normalised on all of the cell's pixels and on no other, before any is averaged.

    Raises ``UserError`` naming ``source`` when the image is all background, or its cell too small to be stored.
    """
    mask = cell_mask(image)
    box, shrunk = _crop_box(mask, recipe, source)
    pixels, inside = _cut(image, box), _cut(mask.astype(np.uint8), box)
    normalised = _normalise_stain(pixels, inside, recipe)
    resized = _resize(pixels, inside, recipe.size)
    if not resized.any():
        raise UserError(f"{source}: the cell covers {mask.sum()} pixels, too few for one pixel of {recipe.size} px")
    return Crop(resized, box, shrunk, normalised)


def cell_pixels(image: Image) -> Image:
    """The cell's pixels alone: uint8 ``[M, 3]`` of an image ``[H, W, 3]``, in row order."""
    return np.take(image.reshape(-1, 3), np.flatnonzero(cell_mask(image)), axis=0)


def _normalise_stain(pixels: Image, inside: Image, recipe: Recipe) -> bool:
    """Normalise the stain of a crop in place; false where it cannot be told and nothing was changed.

    No window is smaller than its cell, so the crop holds every pixel of it.
    """
    if recipe.stain == "none":
        return True
    where = np.flatnonzero(inside.view(np.bool_))
    flat = pixels.reshape(-1).view("V3")  # a pixel as one element: three times faster to gather and to scatter
    found = normalise(flat[where].view(np.uint8).reshape(-1, 3), recipe.stain, recipe.target)
    if found is None:
        return False
    flat[where] = np.ascontiguousarray(found).reshape(-1).view("V3")
    return True


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
