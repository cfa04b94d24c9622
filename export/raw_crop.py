"""The builder's crop and resize as ONNX operators; ``build_shards/preprocess.py`` is what it must agree with.

What the crop has of the frame is cut out first. The area average over it is a matrix, for rows and for columns, whose
entries are the overlaps of a stored pixel's interval with a source pixel's: one for every few stored lines, which lie
within a few source lines. What lies outside the frame weighs nothing, and so counts as background. Averages over a
native window lie on the half between two levels time and again, where the last bit of a sum decides: so these are
added up by constants in OpenCV's order and types (``ResizeArea_Invoker`` in its ``resize.cpp``), and are the builder's
to the bit. Where the scale is a power of two, every sum is exact in any order.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from contract.recipe import Recipe
from export.builder import GraphBuilder, double, integer, single

BANDS = 8  # at most; a size that none of 2 to 8 divides is averaged in one
SLIVER = 1e-3  # px; OpenCV leaves out a source line of which a stored one covers less
FAR = 1 << 20  # px; more than any image has: keeps a dividend positive, where ONNX truncates and Python floors


@dataclass(frozen=True)
class Box:
    """Names of int64 scalars, in source pixels."""

    left: str
    top: str
    side: str


def crop_box(g: GraphBuilder, image: str, recipe: Recipe) -> Box:
    """The square to cut out of ``image``, uint8 ``[H, W, 3]``, which is above zero where the cell is."""
    height, width = (g.op("Gather", g.op("Shape", image), integer(axis)) for axis in (0, 1))
    lines = g.cast(g.op("Reshape", image, integer(0, -1)), np.float32)  # sums of floats: the fastest of all reductions
    top, bottom = _extent(g, g.reduce("ReduceSum", lines, 1))
    columns = g.op("Reshape", g.reduce("ReduceSum", lines, 0), integer(-1, 3))
    left, right = _extent(g, g.reduce("ReduceSum", columns, 1))
    if recipe.crop == "none":
        side = g.op("Max", height, width)
        return Box(_half(g, g.op("Sub", width, side)), _half(g, g.op("Sub", height, side)), side)
    side = g.op("Max", g.op("Sub", bottom, top), g.op("Sub", right, left))
    if recipe.crop == "native":
        side = g.op("Max", side, integer(recipe.window))
    across, down = (g.op("Sub", g.op("Add", low, high), side) for low, high in ((left, right), (top, bottom)))
    return Box(_half(g, across), _half(g, down), side)


def cut_out(g: GraphBuilder, image: str, box: Box) -> tuple[str, Box]:
    """What the crop has of ``image``, uint8 ``[H, W, 3]``: the whole cell; and the crop's place in that."""
    start = g.op("Concat", *(g.op("Reshape", edge, integer(1).reshape(1)) for edge in (box.top, box.left)), axis=0)
    first, last = g.op("Max", start, integer(0)), g.op("Add", start, box.side)
    left, top = (g.op("Min", edge, integer(0)) for edge in (box.left, box.top))
    return g.op("Slice", image, first, last, integer(0, 1)), Box(left, top, box.side)


def columns_of(g: GraphBuilder, image: str) -> str:
    """``[W, 3, H]`` of ``[H, W, 3]``: in planes, so that onnxruntime does not move the turn behind what follows."""
    lines = g.op("Transpose", g.op("Reshape", image, integer(0, -1)), perm=[1, 0])
    height = g.op("Gather", g.op("Shape", image), integer(0).reshape(1))
    return g.op("Reshape", lines, g.op("Concat", integer(-1, 3), height, axis=0))


def resize(g: GraphBuilder, columns: str, covered: str, box: Box, recipe: Recipe, name: str) -> str:
    """Area-average ``columns``, uint8 ``[W, 3, H]``, to ``name``, uint8 ``[1, size, size, 3]``, background zero.

    What is gathered always lies along the first axis, in whole lines: the columns of the image, then the rows of what
    they became.
    """
    inside = g.op("Unsqueeze", g.cast(g.cast(covered, np.bool_), np.float32), integer(1).reshape(1))
    columns = g.op("Concat", g.cast(columns, np.float32), inside, axis=1)
    columns = _average(g, columns, box.left, box.side, recipe)
    rows = _average(g, _turned(g, columns, recipe), box.top, box.side, recipe)
    scale = _scale(recipe)
    if _in_order(recipe) and scale == int(scale):
        share = g.op("Where", g.op("Equal", box.side, integer(recipe.window)), 1 / single(scale * scale), single(1))
        rows = g.op("Mul", rows, share)
    colour, coverage = g.ops("Split", 2, rows, integer(3, 1), axis=1)
    kept = g.op("GreaterOrEqual", coverage, single(0.5))
    mean = g.op("Div", colour, g.op("Where", kept, coverage, single(1)))
    level = g.op("Where", kept, g.op("Clip", g.op("Round", mean), single(1), single(255)), single(0))
    pixels = g.op("Transpose", g.cast(level, np.uint8), perm=[0, 2, 1])
    return g.op("Unsqueeze", pixels, integer(0).reshape(1), name=name)


def _average(g: GraphBuilder, lines: str, start: str, side: str, recipe: Recipe) -> str:
    """The ``size`` stored lines, float32 ``[size, 4, M]``, of ``[L, 4, M]``, for the crop from ``start`` on."""
    if not _in_order(recipe):
        return _banded(g, lines, start, side, recipe)
    fits = g.op("Equal", side, integer(recipe.window))
    # Each is zero where the other is meant: a sum takes a fraction of the time of Where.
    return g.op("Add", _window(g, lines, start, recipe, fits), _banded(g, lines, start, side, recipe, fits))


def _window(g: GraphBuilder, lines: str, start: str, recipe: Recipe, fits: str) -> str:
    """What ``_average`` gives where the cell ``fits`` the window, else zeros; a whole scale does not yet divide it."""
    length, averaged = g.op("Gather", g.op("Shape", lines), integer(0)), ""
    for source, weight in _taps(recipe):
        seen, index = _inside(g, g.op("Add", start, source), length)
        factor = g.op("Reshape", g.op("Where", g.op("And", seen, fits), weight, single(0)), integer(-1, 1, 1))
        part = g.op("Mul", g.op("Gather", lines, index, axis=0), factor)
        averaged = g.op("Add", averaged, part) if averaged else part
    return averaged


def _banded(g: GraphBuilder, lines: str, start: str, side: str, recipe: Recipe, fits: str | None = None) -> str:
    """What ``_average`` gives for any crop; zeros, of next to no lines, where the cell ``fits`` the window.

    Lines are multiplied in bands of as many stored ones, each with the source lines that it can overlap instead of with
    all of them.
    """
    bands = max(count for count in range(1, BANDS + 1) if recipe.size % count == 0)
    reach = g.op("Add", g.op("Div", side, integer(bands)), integer(3))
    if fits:
        reach = g.op("Where", fits, integer(1), reach)
    side = g.cast(side, np.float64)
    inverse = g.op("Div", double(recipe.size), side)
    scale = g.op("Div", double(1), inverse)
    stored = np.arange(recipe.size, dtype=np.float64).reshape(bands, -1, 1)
    first = g.cast(g.op("Floor", g.op("Mul", scale, stored[:, :1])), np.int64)
    source = g.op("Add", first, g.op("Range", integer(0), reach, integer(1)))
    seen, index = _inside(g, g.op("Add", source, start), g.op("Gather", g.op("Shape", lines), integer(0)))
    weights = _weights(g, g.cast(source, np.float64), side, (scale, inverse), stored, recipe)
    if fits:
        seen = g.op("And", seen, g.op("Not", fits))
    weights = g.op("Where", seen, weights, single(0))
    gathered = g.op("Gather", lines, g.op("Reshape", index, integer(-1).reshape(1)), axis=0)
    one, rest = integer(0).reshape(1), integer(-1).reshape(1)
    banded = g.op("Concat", integer(bands).reshape(1), g.op("Unsqueeze", reach, one), rest, axis=0)
    averaged = g.op("MatMul", weights, g.op("Reshape", gathered, banded))
    return g.op("Reshape", averaged, integer(recipe.size, 4, -1))


def _turned(g: GraphBuilder, lines: str, recipe: Recipe) -> str:
    """``[M, 4, size]`` of float32 ``[size, 4, M]``: in two steps, which onnxruntime makes 10 times as fast as one."""
    planes = g.op("Reshape", g.op("Transpose", lines, perm=[1, 0, 2]), integer(4 * recipe.size, -1))
    return g.op("Reshape", g.op("Transpose", planes, perm=[1, 0]), integer(-1, 4, recipe.size))


def _in_order(recipe: Recipe) -> bool:
    """Whether a window that no cell outgrew is added up in OpenCV's order; by a power of two, sums are exact."""
    return recipe.crop == "native" and recipe.window >= recipe.size and math.log2(_scale(recipe)) % 1 > 0


def _scale(recipe: Recipe) -> float:
    """Source pixels a stored one, rounded as OpenCV has it."""
    return 1 / (recipe.size / recipe.window)


def _inside(g: GraphBuilder, lines: str, length: str) -> tuple[str, str]:
    """Whether the frame has each of the lines, and the line, or 0 where it has not."""
    seen = g.op("And", g.op("GreaterOrEqual", lines, integer(0)), g.op("Less", lines, length))
    return seen, g.op("Where", seen, lines, integer(0))


def _taps(recipe: Recipe) -> Iterator[tuple[NDArray[np.int64], NDArray[np.float32]]]:
    """Of every stored line the first source line, the second, ..., and its weight; a whole scale weighs at the end."""
    scale = _scale(recipe)
    low = scale * np.arange(recipe.size)
    high = low + scale
    for tap in range(math.ceil(scale) + 1):
        source = np.floor(low) + tap
        overlap = np.minimum(high, source + 1) - np.maximum(low, source)
        overlap[overlap <= SLIVER] = 0
        weight = overlap if scale == int(scale) else overlap / np.minimum(scale, recipe.window - low)
        yield np.minimum(source, recipe.window - 1).astype(np.int64), weight.astype(np.float32)


def _extent(g: GraphBuilder, line: str) -> tuple[str, str]:
    """First index above zero and one past the last, of float32 ``[L]``; 0 and L where there is none."""
    seen = g.cast(g.cast(line, np.bool_), np.int32)
    first = g.op("ArgMax", seen, axis=0, keepdims=0)
    last = g.op("ArgMax", seen, axis=0, keepdims=0, select_last_index=1)
    return first, g.op("Add", last, integer(1))


def _half(g: GraphBuilder, value: str) -> str:
    """``value // 2`` as Python has it."""
    return g.op("Sub", g.op("Div", g.op("Add", value, integer(2 * FAR)), integer(2)), integer(FAR))


def _weights(
    g: GraphBuilder, source: str, side: str, scales: tuple[str, str], stored: np.ndarray, recipe: Recipe
) -> str:
    """Share of every source line, float64 ``[bands, 1, S]``, in each of the stored ones, ``[bands, T, 1]``: float32.

    A cell that is enlarged is interpolated as OpenCV's INTER_AREA does then; a native window never is.
    """
    scale = scales[0]
    low, high = g.op("Mul", scale, stored), g.op("Mul", scale, stored + 1)
    overlap = g.op("Sub", g.op("Min", high, g.op("Add", source, double(1))), g.op("Max", low, source))
    area = g.op("Div", g.op("Max", overlap, double(0)), scale)
    if recipe.crop == "native" and recipe.window >= recipe.size:
        return g.cast(area, np.float32)
    linear = _linear(g, source, side, scales, stored)
    return g.cast(g.op("Where", g.op("Less", scale, double(1)), linear, area), np.float32)


def _linear(g: GraphBuilder, source: str, side: str, scales: tuple[str, str], stored: np.ndarray) -> str:
    """Weights of the two nearest source lines, placed so that a whole enlargement repeats lines and blends few.

    Where a share is whole, rounding decides between two lines: so it is done in the types that OpenCV does it in.
    """
    first = g.op("Floor", g.op("Mul", scales[0], stored))
    beyond = g.op("Sub", stored + 1, g.op("Mul", g.op("Add", first, double(1)), scales[1]))
    beyond = g.cast(beyond, np.float32)
    share = g.op("Where", g.op("Greater", beyond, single(0)), g.op("Sub", beyond, g.op("Floor", beyond)), single(0))
    share = g.cast(share, np.float64)
    last = g.op("Sub", side, double(1))
    share = g.op("Where", g.op("GreaterOrEqual", first, last), double(0), share)
    distance = g.op("Sub", source, g.op("Min", first, last))
    here = g.op("Where", g.op("Equal", distance, double(0)), g.op("Sub", double(1), share), double(0))
    return g.op("Where", g.op("Equal", distance, double(1)), share, here)
