"""Stain normalisation as ONNX operators; ``build_shards/stain.py`` is what it must agree with, method by method.

It works on the list of the cell's pixels, as the builder does, so the length of that list depends on the image. A cell
whose stain cannot be told passes unchanged. A float64 matrix is transposed inside Gemm: onnxruntime up to 1.20 joins
Transpose and MatMul to one node, which it has in float32 alone, and then does not load the file.
"""
# ruff: noqa: N803, N806  (OD, HE, C: the symbols of the papers)

import numpy as np

import build_shards.macenko as macenko
import build_shards.reinhard as reinhard
from contract.recipe import Recipe
from export.builder import GraphBuilder, Value, double, integer, single
from export.raw_eigen import cross, largest_eigenvectors, norm

# sRGB and CIE Lab under D65, with the constants of OpenCV's conversions.
XYZ_OF_RGB = np.array([[0.412453, 0.357580, 0.180423], [0.212671, 0.715160, 0.072169], [0.019334, 0.119193, 0.950227]])
RGB_OF_XYZ = np.array(
    [[3.240479, -1.53715, -0.498535], [-0.969256, 1.875991, 0.041556], [0.055648, -0.204043, 1.057311]]
)
WHITE = np.array([0.950456, 1.0, 1.088754])


def normalise_stain(g: GraphBuilder, image: str, covered: str, recipe: Recipe) -> str:
    """``image``, uint8 ``[H, W, 3]``, with the recipe's stain where ``covered``, float32 ``[H, W]``, is above zero."""
    flat = g.op("Reshape", image, integer(-1, 3))
    mask = g.op("Reshape", g.cast(covered, np.bool_), integer(-1).reshape(1))
    enough = _at_least(g, mask, macenko.MINIMUM_PIXELS)
    # Too few pixels for a statistic: take all of the frame, so that no list is empty; the result is thrown away.
    listed = g.op("Or", mask, g.op("Not", enough))
    where = g.op("Transpose", g.op("NonZero", listed), perm=[1, 0])
    pixels = g.op("GatherND", flat, where)
    method = _reinhard if recipe.stain == "reinhard" else _macenko
    found, told = method(g, pixels, recipe.target)
    level = g.cast(g.op("Clip", g.op("Round", found), single(1), single(255)), np.uint8)
    kept = g.op("Where", g.op("And", enough, told), level, pixels)
    return g.op("Reshape", g.op("ScatterND", flat, where, kept), g.op("Shape", image))


def _at_least(g: GraphBuilder, mask: str, count: int) -> str:
    total = g.reduce("ReduceSum", g.cast(mask, np.int64), 0)
    return g.op("GreaterOrEqual", total, integer(count))


def _reinhard(g: GraphBuilder, pixels: str, target: tuple[float, ...]) -> tuple[str, str]:
    """Levels, float32 ``[M, 3]``, and whether the cell's deviations can be told."""
    lab = g.cast(_lab(g, g.op("Gather", reinhard.LINEAR_OF_LEVEL, g.cast(pixels, np.int32))), np.float64)
    mean = g.reduce("ReduceMean", lab, 0)
    centred = g.op("Sub", lab, mean)
    std = g.op("Sqrt", g.reduce("ReduceMean", g.op("Mul", centred, centred), 0))
    told = g.op("GreaterOrEqual", g.reduce("ReduceMin", std, 0), double(reinhard.MINIMUM_STD))
    gain = g.op("Div", double(*target[3:]), std)
    moved = g.op("Add", g.op("Mul", centred, gain), double(*target[:3]))
    return g.op("Mul", _rgb(g, g.cast(moved, np.float32)), single(255)), told


def _lab(g: GraphBuilder, linear: str) -> str:
    """float32 ``[M, 3]``: L of 0 to 100, a and b around 0, from linear light of 0 to 1."""
    xyz = g.op("MatMul", linear, (XYZ_OF_RGB / WHITE[:, None]).T.astype(np.float32))
    root = g.op("Pow", xyz, single(1 / 3))
    straight = g.op("Add", g.op("Mul", xyz, single(7.787)), single(16 / 116))
    f = g.op("Where", g.op("Greater", xyz, single(0.008856)), root, straight)
    # L = 116 fy - 16, a = 500 (fx - fy), b = 200 (fy - fz); below the bend OpenCV's 903.3 Y is 116 * 7.787 Y.
    matrix = np.array([[0, 116, 0], [500, -500, 0], [0, 200, -200]], np.float32).T
    return g.op("Sub", g.op("MatMul", f, matrix), single(16, 0, 0))


def _rgb(g: GraphBuilder, lab: str) -> str:
    """Back to sRGB of 0 to 1."""
    matrix = np.array([[1 / 116, 1 / 500, 0], [1 / 116, 0, 0], [1 / 116, 0, -1 / 200]], np.float32).T
    f = g.op("Add", g.op("MatMul", lab, matrix), single(16 / 116))
    cubed = g.op("Mul", f, g.op("Mul", f, f))
    straight = g.op("Div", g.op("Sub", f, single(16 / 116)), single(7.787))
    bend = 7.787 * 0.008856 + 16 / 116
    xyz = g.op("Where", g.op("Greater", f, single(bend)), cubed, straight)
    linear = g.op("Clip", g.op("MatMul", xyz, (RGB_OF_XYZ * WHITE).T.astype(np.float32)), single(0), single(1))
    curved = g.op("Sub", g.op("Mul", g.op("Pow", linear, single(1 / 2.4)), single(1.055)), single(0.055))
    return g.op("Where", g.op("Greater", linear, single(0.0031308)), curved, g.op("Mul", linear, single(12.92)))


def _macenko(g: GraphBuilder, pixels: str, target: tuple[float, ...]) -> tuple[str, str]:
    """Levels, float32 ``[M, 3]``, and whether the cell's two stains can be told (Macenko et al. 2009, section 3)."""
    OD = g.op("Gather", macenko.OD_OF_LEVEL, g.cast(pixels, np.int32))
    HE, told = _stain_vectors(g, OD)
    C = g.op("MatMul", OD, g.cast(_inverse(g, HE), np.float32))
    columns = g.ops("Split", 2, C, integer(1, 1), axis=1)
    maxima = [_percentile(g, g.op("Reshape", column, integer(-1).reshape(1)), macenko.MAXIMUM) for column in columns]
    maxC = g.op("Concat", *maxima, axis=0)
    told = g.op("And", told, _reaches(g, maxC, macenko.MINIMUM_CONCENTRATION))
    reference, largest = np.array(target[:6]).reshape(2, 3), np.array(target[6:])
    ratio = g.op("Unsqueeze", g.op("Div", double(*largest), maxC), integer(1).reshape(1))
    light = g.op("MatMul", C, g.cast(g.op("Mul", -reference, ratio), np.float32))
    light = g.op("Exp", g.op("Min", light, single(1)))
    return g.op("Sub", g.op("Mul", light, single(macenko.IO)), single(1)), told


def _stain_vectors(g: GraphBuilder, OD: str) -> tuple[str, str]:
    """HE as rows, float64 ``[2, 3]``, H first, and whether they can be told."""
    stained = g.op("GreaterOrEqual", g.reduce("ReduceMin", OD, 1), single(macenko.BETA))
    told = _at_least(g, stained, macenko.MINIMUM_PIXELS)
    listed = g.op("Or", stained, g.op("Not", told))
    ODhat = g.op("Compress", OD, listed, axis=0)
    mean = g.reduce("ReduceMean", g.cast(ODhat, np.float64), 0)
    variance, plane = largest_eigenvectors(g, _covariance(g, ODhat, mean))
    told = g.op("And", told, g.op("GreaterOrEqual", variance, double(macenko.MINIMUM_VARIANCE)))
    side = g.op("MatMul", plane, g.op("Unsqueeze", mean, integer(1).reshape(1)))
    told = g.op(
        "And",
        told,
        _reaches(g, g.op("ReduceSum", g.op("Mul", side, side), keepdims=0), macenko.MINIMUM_CONCENTRATION**2),
    )
    plane = g.op("Mul", plane, g.op("Where", g.op("Less", side, double(0)), double(-1), double(1)))
    That = g.op("MatMul", ODhat, g.cast(g.op("Transpose", plane, perm=[1, 0]), np.float32))
    x, y = g.ops("Split", 2, That, integer(1, 1), axis=1)
    angle = g.op("Reshape", _atan2(g, y, x), integer(-1).reshape(1))
    ends = [_percentile(g, angle, percent) for percent in (macenko.ALPHA, 100 - macenko.ALPHA)]
    phi = g.op("Unsqueeze", g.op("Concat", *ends, axis=0), integer(1).reshape(1))
    turn = g.op("Concat", *(g.cast(g.op(f, g.cast(phi, np.float32)), np.float64) for f in ("Cos", "Sin")), axis=1)
    HE = g.op("MatMul", turn, plane)
    first, second = g.ops("Split", 2, HE, integer(1, 1), axis=0)
    sine = norm(g, cross(g, first, second))
    told = g.op("And", told, _reaches(g, sine, float(macenko.MINIMUM_SINE)))
    swapped = g.op("Concat", second, first, axis=0)
    red = [g.op("Gather", vector, integer(0), axis=1) for vector in (first, second)]
    return g.op("Where", g.op("Greater", *red), HE, swapped), told


def _covariance(g: GraphBuilder, ODhat: str, mean: str) -> str:
    centred = g.cast(g.op("Sub", ODhat, g.cast(mean, np.float32)), np.float64)
    products = g.op("Gemm", centred, centred, transA=1)
    count = g.cast(g.op("Gather", g.op("Shape", ODhat), integer(0)), np.float64)
    return g.op("Div", products, g.op("Max", g.op("Sub", count, double(1)), double(1)))


def _inverse(g: GraphBuilder, HE: str) -> str:
    """Least squares for two vectors: float64 ``[3, 2]``, so that OD times it are the concentrations."""
    gram = g.op("Gemm", HE, HE, transB=1)
    a, b, _, d = g.ops("Split", 4, g.op("Reshape", gram, integer(4).reshape(1)), integer(1, 1, 1, 1), axis=0)
    determinant = g.op("Sub", g.op("Mul", a, d), g.op("Mul", b, b))
    minus = g.op("Neg", b)
    adjugate = g.op("Reshape", g.op("Concat", d, minus, minus, a, axis=0), integer(2, 2))
    return g.op("Gemm", HE, g.op("Div", adjugate, determinant), transA=1)


def _reaches(g: GraphBuilder, values: str, least: float) -> str:
    smallest = g.op("ReduceMin", values, keepdims=0)
    return g.op("GreaterOrEqual", smallest, double(least))


def _atan2(g: GraphBuilder, y: str, x: str) -> str:
    turn = g.op("Where", g.op("Less", y, single(0)), single(-np.pi), single(np.pi))
    behind = g.op("Where", g.op("Less", x, single(0)), turn, single(0))
    return g.op("Add", g.op("Atan", g.op("Div", y, x)), behind)


def _percentile(g: GraphBuilder, values: str, percent: float) -> str:
    """As ``np.percentile``, float64 ``[1]``, of float32 ``[N]``: only the values beyond it are sorted."""
    count = g.op("Shape", values)
    last = g.op("Sub", count, integer(1))
    place = g.op("Mul", g.cast(last, np.float64), double(percent / 100))
    below = g.cast(g.op("Floor", place), np.int64)
    above = g.op("Min", g.op("Add", below, integer(1)), last)
    low_end = percent < 50
    wanted = g.op("Add", above, integer(1)) if low_end else g.op("Sub", count, below)
    ordered = g.ops("TopK", 2, values, wanted, largest=int(not low_end), sorted=1)[0]
    places: list[Value] = [at if low_end else g.op("Sub", last, at) for at in (below, above)]
    low, high = (g.cast(g.op("Gather", ordered, at), np.float64) for at in places)
    share = g.op("Sub", place, g.cast(below, np.float64))
    return g.op("Add", low, g.op("Mul", g.op("Sub", high, low), share))
