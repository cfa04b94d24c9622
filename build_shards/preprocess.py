"""From a raw cell image to the pixels of a shard, as a ``Recipe`` says. The only code that does it: builder and
demo both call this module.

How the mask stays exact: colours and mask are area-averaged apart, then the colour sums are divided by the covered
area, so a border pixel is the mean of the cell pixels in it and never a mix with black. A stored pixel belongs
to the cell when at least half of its area does. Cell pixels are at least (1, 1, 1), background is (0, 0, 0): the mask
can be read back from the stored image as "any channel above zero".
"""

import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from build_shards.image_file import decode_image, read_image, read_view
from build_shards.stain import normalise
from contract.errors import UserError
from contract.recipe import Recipe

__all__ = [
    "Crop",
    "cell_mask",
    "cell_pixels",
    "decode_image",
    "preprocess",
    "read_image",
    "read_view",
    "refuse_no_background",
]

Image = NDArray[np.uint8]
MINIMUM_CELL = 16  # pixels: a frame of one pixel would else become a cell that fills its stored image
Mask = NDArray[np.bool_]
Packed = NDArray[np.uint32]  # RGBA pixels as one number each: one comparison finds the cell, one gather fetches it

# Endianness decides which number these four bytes are.
_BACKGROUND = np.array([0, 0, 0, 255], np.uint8).view(np.uint32)[0]
_COLOUR_AND_ONE = np.array([255, 255, 255, 1], np.uint8).view(np.uint32)[0]


@dataclass(frozen=True)
class Crop:
    """A preprocessed cell."""

    image: Image  # uint8 [size, size, 3] RGB, background exactly zero
    box: tuple[int, int, int, int]  # left, top, width, height of the crop in source pixels; may reach outside
    shrunk: bool  # the cell was larger than the native window
    normalised: bool  # its stain is that of the recipe; false where the stain cannot be told and the colours stayed


def cell_mask(image: Image) -> Mask:
    """Where the cell is: bool ``[H, W]``, true where any channel of the uint8 ``[H, W, 3]`` image is above zero."""
    red, green, blue = cv2.split(image)  # sixteen times faster than numpy's any() along the last axis
    return cv2.bitwise_or(cv2.bitwise_or(red, green), blue) > 0


def refuse_no_background(image: Image, source: str) -> None:
    """Raise ``UserError`` naming ``source`` where no pixel is exact black: all of the image would be cell.

    A build wants this of every image; a demonstration shows such an image, with a warning.
    """
    if image[0, 0].any() and cell_mask(np.ascontiguousarray(image)).all():  # the corner of nearly every image is black
        raise UserError(f"{source}: no background: no pixel is (0, 0, 0), and a cell must lie on exact black")


def preprocess(image: Image, recipe: Recipe, source: str) -> Crop:
    """Normalise, crop and resize one cell: uint8 ``[H, W, 3]`` RGB on black -> ``[size, size, 3]``.

    The stain is measured and normalised on all of the cell's pixels and on no other, before any is averaged.

    Raises ``UserError`` naming ``source`` when the image is all background, or its cell too small to be stored.
    """
    bounds = _bounds(image)
    if bounds is None:
        raise UserError(f"{source}: all background: no pixel is brighter than (0, 0, 0)")
    box, shrunk = _crop_box(bounds, image.shape, recipe)
    cell = _pack(image, bounds)
    inside = cell != _BACKGROUND
    covered = np.count_nonzero(inside)
    if covered < MINIMUM_CELL:
        raise UserError(f"{source}: the cell covers {covered} pixels: fewer than {MINIMUM_CELL} are no cell")
    normalised = _normalise_stain(cell, inside, recipe)
    cell &= _COLOUR_AND_ONE
    resized = _resize(cell, inside, bounds, box, recipe.size)
    if not resized.any():
        raise UserError(f"{source}: the cell covers {covered} pixels, too few for one pixel of {recipe.size} px")
    return Crop(resized, box, shrunk, normalised)


def cell_pixels(image: Image) -> Image:
    """The cell's pixels alone: uint8 ``[M, 3]`` of an image ``[H, W, 3]``, in row order."""
    bounds = _bounds(image)
    if bounds is None:
        return np.zeros((0, 3), np.uint8)
    cell = _pack(image, bounds)
    return _unpack(cell[cell != _BACKGROUND])


def _bounds(image: Image) -> tuple[int, int, int, int] | None:
    """The rows and columns that hold the cell (top, bottom, left, right; ends exclusive); None where there is none."""
    height, width = image.shape[:2]
    upwards = image.strides[0] < 0  # OpenCV takes no rows in reverse without copying them
    lines = _forwards(image[::-1] if upwards else image).reshape(height, width * 3)
    rows = np.flatnonzero(cv2.reduce(lines, 1, cv2.REDUCE_MAX))
    if rows.size == 0:
        return None
    first, last = int(rows[0]), int(rows[-1]) + 1
    columns = np.flatnonzero(lines[first:last].max(axis=0))
    top, bottom = (height - last, height - first) if upwards else (first, last)
    return top, bottom, int(columns[0]) // 3, int(columns[-1]) // 3 + 1


def _forwards(image: Image) -> Image:
    """The same pixels with the channels in the order of memory: RGB, or BGR of a view onto a file."""
    return image if image.strides[2] > 0 else image[:, :, ::-1]


def _pack(image: Image, bounds: tuple[int, int, int, int]) -> Packed:
    """The pixels inside ``bounds``, RGBA of alpha 255: uint32 ``[h, w]``."""
    top, bottom, left, right = bounds
    part = image[top:bottom, left:right]
    forwards = _forwards(part)
    rgba = cv2.cvtColor(forwards, cv2.COLOR_RGB2RGBA if forwards is part else cv2.COLOR_BGR2RGBA)
    return rgba.view(np.uint32)[..., 0]


def _unpack(pixels: Packed) -> Image:
    """uint32 ``[M]`` -> uint8 RGB ``[M, 3]``."""
    rgb = cv2.cvtColor(pixels.view(np.uint8).reshape(1, -1, 4), cv2.COLOR_RGBA2RGB)  # in one row: 30 times faster
    return rgb[0].astype(np.uint8, copy=False)


def _normalise_stain(cell: Packed, inside: Mask, recipe: Recipe) -> bool:
    """Normalise the stain in place; false where it cannot be told and nothing was changed."""
    if recipe.stain == "none":
        return True
    found = normalise(_unpack(cell[inside]), recipe.stain, recipe.target)
    if found is None:
        return False
    cell[inside] = cv2.cvtColor(found[None], cv2.COLOR_RGB2RGBA).view(np.uint32)[0, :, 0]
    return True


def _crop_box(
    bounds: tuple[int, int, int, int], shape: tuple[int, ...], recipe: Recipe
) -> tuple[tuple[int, int, int, int], bool]:
    """The square (or, for crop "none", the whole frame) to cut, and whether the cell outgrew the window."""
    if recipe.crop == "none":
        side = max(shape[:2])
        return ((shape[1] - side) // 2, (shape[0] - side) // 2, side, side), False
    top, bottom, left, right = bounds
    extent = max(bottom - top, right - left)
    side = extent if recipe.crop == "box" else max(recipe.window, extent)
    box = ((left + right - side) // 2, (top + bottom - side) // 2, side, side)
    return box, recipe.crop == "native" and extent > recipe.window


def _resize(
    cell: Packed, inside: Mask, bounds: tuple[int, int, int, int], box: tuple[int, int, int, int], size: int
) -> Image:
    """Area-average the cell's pixels alone to ``[size, size, 3]``; see the module's docstring.

    ``cell`` is RGB and 1 where ``inside``. Of the window, only the part around the cell is averaged.
    """
    (rows, out_rows), (columns, out_columns) = (
        _part(first - start, last - start, side, size)
        for first, last, start, side in ((*bounds[:2], box[1], box[3]), (*bounds[2:], box[0], box[2]))
    )
    top, left = bounds[0] - box[1] - rows.start, bounds[2] - box[0] - columns.start
    part = np.zeros((rows.stop - rows.start, columns.stop - columns.start), np.uint32)
    window = part[top : top + cell.shape[0], left : left + cell.shape[1]]
    cv2.copyTo(cell.view(np.int32), inside.view(np.uint8), window.view(np.int32))
    pixels = part.view(np.uint8).reshape(*part.shape, 4).astype(np.float32)
    shape = (out_columns.stop - out_columns.start, out_rows.stop - out_rows.start)
    averaged = cv2.resize(pixels, shape, interpolation=cv2.INTER_AREA).astype(np.float32, copy=False)
    return _divide(averaged, out_rows, out_columns, size)


def _divide(averaged: NDArray[np.float32], rows: slice, columns: slice, size: int) -> Image:
    """Colour sums and coverage, float32 ``[h, w, 4]``, as the levels of ``[rows, columns]`` of the stored image."""
    planes = np.empty((4, *averaged.shape[:2]), np.float32)
    cv2.split(averaged, list(planes))
    colours, coverage = planes[:3], planes[3]
    kept = (coverage >= 0.5).view(np.uint8)
    colours /= np.maximum(coverage, 0.5)  # where less is covered it does not matter what comes out, but for a warning
    levels = cv2.convertScaleAbs(colours.reshape(3, -1)).reshape(colours.shape)
    np.maximum(levels, 1, out=levels)
    levels *= kept
    out = np.zeros((size, size, 3), np.uint8)
    out[rows, columns] = cv2.merge(list(levels))
    return out


def _part(first: int, last: int, side: int, size: int) -> tuple[slice, slice]:
    """The part of a window's ``side`` that is enough for the cell in ``first`` to ``last``, and where it is stored.

    Averaged alone it gives the bits of the whole: it begins and ends where borders of source and stored pixels meet.
    Where pixels are spread, neighbours mix, so the whole is taken.
    """
    steps = math.gcd(side, size) if size <= side else 1
    source, stored = side // steps, size // steps
    begin, end = first // source, -(-last // source)
    return slice(begin * source, end * source), slice(begin * stored, end * stored)
