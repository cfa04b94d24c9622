"""Eigenvectors of a symmetric 3x3 matrix in closed form, as ONNX operators in float64.

Eigenvalues: O. K. Smith 1961, Comm. ACM 4(4):168 (a cubic's roots by one arc cosine). Eigenvectors: the cross product
of two rows of A - λI, the longest of the three.
"""

import numpy as np

from export.builder import GraphBuilder, Value, double, integer

POLISH = 3  # Newton steps on the characteristic polynomial: the arc cosine is float32 in onnxruntime


def largest_eigenvectors(g: GraphBuilder, A: str) -> tuple[str, str]:  # noqa: N803
    """The middle eigenvalue, a float64 scalar, and the eigenvectors of the middle and the largest, rows ``[2, 3]``."""
    identity = np.eye(3)
    mean = g.op("Div", g.op("ReduceSum", g.op("Mul", A, identity), keepdims=0), double(3))
    B = g.op("Sub", A, g.op("Mul", mean, identity))  # noqa: N806
    p2 = g.op("Div", g.op("ReduceSum", g.op("Mul", B, B), keepdims=0), double(6))
    p = g.op("Sqrt", g.op("Max", p2, double(1e-300)))
    half = g.op("Div", _determinant(g, B), g.op("Mul", double(2), g.chain("Mul", p, p, p)))
    ratio = g.cast(g.op("Max", g.op("Min", half, double(1)), double(-1)), np.float32)
    angle = g.op("Div", g.cast(g.op("Acos", ratio), np.float64), double(3))
    roots = [_root(g, B, p, angle, turn) for turn in (0.0, 2 * np.pi / 3)]  # of B: the largest and the smallest
    middle = g.op("Sub", mean, g.op("Add", *roots))  # the three sum to zero
    first, third = (_eigenvector(g, g.op("Sub", B, g.op("Mul", root, identity))) for root in roots)
    second = cross(g, third, first)
    return middle, g.op("Concat", second, first, axis=0)


def cross(g: GraphBuilder, a: Value, b: Value) -> str:
    """Cross products of rows, ``[R, 3]`` each."""
    ahead, behind = integer(1, 2, 0), integer(2, 0, 1)
    left = g.op("Mul", g.op("Gather", a, ahead, axis=1), g.op("Gather", b, behind, axis=1))
    right = g.op("Mul", g.op("Gather", a, behind, axis=1), g.op("Gather", b, ahead, axis=1))
    return g.op("Sub", left, right)


def norm(g: GraphBuilder, rows: str) -> str:
    """Length of every row: ``[R, 1]``."""
    return g.op("Sqrt", g.reduce("ReduceSum", g.op("Mul", rows, rows), 1, keepdims=1))


def _determinant(g: GraphBuilder, A: str) -> str:  # noqa: N803
    a, b, c = g.ops("Split", 3, A, integer(1, 1, 1), axis=0)
    return g.op("ReduceSum", g.op("Mul", a, cross(g, b, c)), keepdims=0)


def _root(g: GraphBuilder, B: str, p: str, angle: str, turn: float) -> str:  # noqa: N803
    """2 p cos(angle + turn), then Newton's steps on det(B) - x (x^2 - 3 p^2) = 0, whose sum of roots is zero."""
    cosine = g.cast(g.op("Cos", g.cast(g.op("Add", angle, double(turn)), np.float32)), np.float64)
    x = g.chain("Mul", double(2), p, cosine)
    p2 = g.op("Mul", double(3), g.op("Mul", p, p))
    determinant = _determinant(g, B)
    for _ in range(POLISH):
        x2 = g.op("Mul", x, x)
        value = g.op("Sub", g.op("Mul", x, g.op("Sub", x2, p2)), determinant)
        slope = g.op("Sub", g.op("Mul", double(3), x2), p2)
        steep = g.op("Greater", g.op("Abs", slope), g.op("Mul", double(1e-6), p2))
        x = g.op("Sub", x, g.op("Where", steep, g.op("Div", value, slope), double(0)))
    return x


def _eigenvector(g: GraphBuilder, shifted: str) -> str:
    """Unit ``[1, 3]`` that ``shifted``, A - λI, maps to zero."""
    products = cross(
        g, g.op("Gather", shifted, integer(0, 0, 1), axis=0), g.op("Gather", shifted, integer(1, 2, 2), axis=0)
    )
    lengths = norm(g, products)
    longest = g.op("ArgMax", lengths, axis=0, keepdims=0)
    units = g.op("Div", products, g.op("Max", lengths, double(1e-300)))
    return g.op("Gather", units, longest, axis=0)
