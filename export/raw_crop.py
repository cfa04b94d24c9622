"""The builder's crop and resize as ONNX operators; ``build_shards/preprocess.py`` is what it must agree with.

No shape depends on the data: the crop and the area average over it are two matrices, one for rows and one for columns,
whose entries are the overlaps of a stored pixel's interval with a source pixel's. What lies outside the frame has no
row or column, and so counts as background. Averages over a native window lie on the half between two levels time and
again, where the last bit of a sum decides: so these are added up by constants in OpenCV's order and types
(``ResizeArea_Invoker`` in its ``resize.cpp``), and are the builder's to the bit. Where the scale is a power of two,
every sum is exact in any order.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from contract.recipe import Recipe
from export.builder import GraphBuilder, double, integer, single

SLIVER = 1e-3  # px; OpenCV leaves out a source line of which a stored one covers less
FAR = 1 << 20  # px; more than any image has: keeps a dividend positive, where ONNX truncates and Python floors


@dataclass(frozen=True)
class Box:
    """Names of int64 scalars, in source pixels."""

    left: str
    top: str
    side: str


def crop_box(g: GraphBuilder, covered: str, recipe: Recipe) -> Box:
    """The square to cut out; ``covered`` is float32 ``[H, W]``, above zero where the cell is."""
    top, bottom = _extent(g, g.reduce("ReduceMax", covered, 1))
    left, right = _extent(g, g.reduce("ReduceMax", covered, 0))
    height, width = (g.op("Gather", g.op("Shape", covered), integer(axis)) for axis in (0, 1))
    if recipe.crop == "none":
        side = g.op("Max", height, width)
        return Box(_half(g, g.op("Sub", width, side)), _half(g, g.op("Sub", height, side)), side)
    side = g.op("Max", g.op("Sub", bottom, top), g.op("Sub", right, left))
    if recipe.crop == "native":
        side = g.op("Max", side, integer(recipe.window))
    across, down = (g.op("Sub", g.op("Add", low, high), side) for low, high in ((left, right), (top, bottom)))
    return Box(_half(g, across), _half(g, down), side)


def resize(g: GraphBuilder, planes: str, covered: str, box: Box, recipe: Recipe, name: str) -> str:
    """Area-average ``planes``, uint8 ``[3, H, W]``, to ``name``, uint8 ``[1, size, size, 3]``, background zero."""
    inside = g.op("Unsqueeze", g.cast(g.cast(covered, np.bool_), np.float32), integer(0).reshape(1))
    stacked = g.op("Concat", g.cast(planes, np.float32), inside, axis=0)
    shape = g.op("Shape", covered)
    rows = _weights(g, g.op("Gather", shape, integer(0)), box.top, box.side, recipe)
    columns = _weights(g, g.op("Gather", shape, integer(1)), box.left, box.side, recipe)
    averaged = g.op("MatMul", rows, g.op("MatMul", stacked, g.op("Transpose", columns, perm=[1, 0])))
    if recipe.crop == "native" and recipe.window >= recipe.size and math.log2(_scale(recipe)) % 1:
        exact = _window_average(g, stacked, box, recipe)
        averaged = g.op("Where", g.op("Equal", box.side, integer(recipe.window)), exact, averaged)
    colour, coverage = g.ops("Split", 2, averaged, integer(3, 1), axis=0)
    kept = g.op("GreaterOrEqual", coverage, single(0.5))
    mean = g.op("Div", colour, g.op("Where", kept, coverage, single(1)))
    level = g.op("Where", kept, g.op("Clip", g.op("Round", mean), single(1), single(255)), single(0))
    pixels = g.op("Transpose", g.cast(level, np.uint8), perm=[1, 2, 0])
    return g.op("Unsqueeze", pixels, integer(0).reshape(1), name=name)


def _window_average(g: GraphBuilder, stacked: str, box: Box, recipe: Recipe) -> str:
    """Colour sums and coverage, float32 ``[4, size, size]`` of ``[4, H, W]``, of a window that no cell outgrew."""
    lines = g.op("Add", box.top, np.arange(recipe.window))
    seen, index = _inside(g, lines, g.op("Gather", g.op("Shape", stacked), integer(1)))
    # What is gathered always lies along the first axis: in whole lines, not value by value.
    image = g.op("Transpose", g.op("Gather", stacked, index, axis=1), perm=[2, 0, 1])
    length, columns, rows = g.op("Gather", g.op("Shape", image), integer(0)), "", ""
    for source, weight in _taps(recipe):
        here, index = _inside(g, g.op("Add", box.left, source), length)
        factor = g.op("Reshape", g.op("Where", here, weight, single(0)), integer(-1, 1, 1))
        columns = _add(g, columns, g.op("Mul", g.op("Gather", image, index, axis=0), factor))
    columns = g.op("Transpose", columns, perm=[2, 0, 1])
    for source, weight in _taps(recipe):
        factor = g.op("Where", g.op("Gather", seen, source), weight, single(0))
        factor = g.op("Reshape", factor, integer(-1, 1, 1))
        rows = _add(g, rows, g.op("Mul", g.op("Gather", columns, source, axis=0), factor))
    scale = _scale(recipe)
    averaged = g.op("Mul", rows, np.float32(1) / single(scale * scale)) if scale == int(scale) else rows
    return g.op("Transpose", averaged, perm=[2, 0, 1])


def _add(g: GraphBuilder, total: str, part: str) -> str:
    """The sum so far, empty at first, and the next part of it."""
    return g.op("Add", total, part) if total else part


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


def _weights(g: GraphBuilder, length: str, start: str, side: str, recipe: Recipe) -> str:
    """Share of every source line, ``length`` of them, in each of the ``size`` stored ones: float32 ``[size, length]``.

    A cell that is enlarged is interpolated as OpenCV's INTER_AREA does then; a native window never is.
    """
    lines = g.op("Sub", g.op("Range", integer(0), length, integer(1)), start)
    source = g.op("Unsqueeze", g.cast(lines, np.float64), integer(0).reshape(1))
    side = g.cast(side, np.float64)
    inverse = g.op("Div", double(recipe.size), side)
    scale = g.op("Div", double(1), inverse)
    stored = np.arange(recipe.size, dtype=np.float64)[:, None]
    low, high = g.op("Mul", scale, stored), g.op("Mul", scale, stored + 1)
    overlap = g.op("Sub", g.op("Min", high, g.op("Add", source, double(1))), g.op("Max", low, source))
    area = g.op("Div", g.op("Max", overlap, double(0)), scale)
    if recipe.crop == "native" and recipe.window >= recipe.size:
        return g.cast(area, np.float32)
    linear = _linear(g, source, side, (scale, inverse), stored)
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
