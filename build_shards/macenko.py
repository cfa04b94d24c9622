"""Macenko's and Vahadane's stain normalisation of one cell, in optical density.

Conventions (``IO``, ``BETA``, ``ALPHA``, percentiles) are those of torchstain's numpy backend. Sums are made without
BLAS, so no bit depends on a thread count. Planes are padded to whole vectors of the processor, so no bit depends on
where among the pixels one lies: where vectors end within a plane, OpenCV rounds the rest otherwise.
"""
# ruff: noqa: N803, N806  (OD, HE, C, That: the symbols of the papers)

import math

import cv2
import numpy as np
from numpy.typing import NDArray

from build_shards.percentile import percentiles
from build_shards.vahadane import sparse_vectors

IO = 240.0  # grey level of light that met no stain
BETA = 0.15  # optical density below which, in any channel, a pixel tells nothing about a stain's direction
ALPHA = 1.0  # percentile of angles (and 100 - ALPHA) taken as the two stains, against outliers
MAXIMUM = 99.0  # percentile of concentrations taken as the largest

# Below these a statistic would be rounding noise blown up. Each lies well under anything seen in a real cell.
MINIMUM_PIXELS = 100
MINIMUM_VARIANCE = 1e-4  # of optical density along the second eigenvector
MINIMUM_SINE = np.sin(np.radians(3))  # of the angle between the two stains
MINIMUM_CONCENTRATION = 0.05  # optical density units
VECTOR = 64  # values: the widest that any processor works on at once, unrolled

Pixels = NDArray[np.uint8]
Floats = NDArray[np.float32]
Matrix = NDArray[np.float64]

OD_OF_LEVEL = -np.log((np.arange(256) + 1) / IO).astype(np.float32)


def measure_stains(pixels: Pixels, method: str) -> tuple[float, ...] | None:
    """The unit stain vectors H and E in RGB and their largest concentrations, in units of optical density.

    ``pixels`` is uint8 ``[M, 3]`` RGB, ``method`` "macenko" or "vahadane". None where they cannot be told.
    """
    stains = _separate(_densities(pixels), len(pixels), method)
    return None if stains is None else (*stains[0].T.ravel().tolist(), *stains[2].tolist())


def restain(pixels: Pixels, method: str, target: tuple[float, ...]) -> Pixels | None:
    """Replace the cell's stain vectors and largest concentrations by the target's: uint8 ``[M, 3]`` of 1 to 255.

    ``target`` is as ``measure_stains`` gives it. None where the cell's own cannot be told. Source: Macenko et al. 2009,
    ISBI, p. 1107, section 3.
    """
    stains = _separate(_densities(pixels), len(pixels), method)
    if stains is None:
        return None
    _, C, maxC = stains
    HERef, maxCRef = np.array(target[:6]).reshape(2, 3).T, np.array(target[6:])
    light = _mix(HERef * -(maxCRef / maxC), C)
    cv2.threshold(light, 1, 0, cv2.THRESH_TRUNC, light)  # brighter than IO * e is 255 all the same
    cv2.exp(light, light)
    levels = cv2.convertScaleAbs(light, alpha=IO, beta=-1)  # without the 1 that OD_OF_LEVEL added; half goes to even
    np.maximum(levels, 1, out=levels)
    return np.asarray(cv2.merge([plane[None, : len(pixels)] for plane in levels])[0], dtype=np.uint8)


def _densities(pixels: Pixels) -> Floats:
    """Optical densities -ln((I + 1) / IO) as contiguous planes, float32 ``[3, P]``: zero from pixel M on."""
    OD = np.empty((3, -(-len(pixels) // VECTOR) * VECTOR), np.float32)
    OD[:, len(pixels) :] = 0
    for plane, levels in zip(OD, cv2.split(pixels[None]), strict=True):
        cv2.LUT(levels, OD_OF_LEVEL, plane[None, : len(pixels)])
    return OD


def _separate(OD: Floats, count: int, method: str) -> tuple[Matrix, Floats, Matrix] | None:
    """HE, float64 ``[3, 2]``, C, float32 ``[2, P]``, and maxC, float64 ``[2]``; None where they cannot be told.

    ``OD`` is float32 ``[3, P]``, its first ``count`` columns the cell's pixels.
    """
    ODhat, told = _telling(OD[:, :count])
    plane = _plane(ODhat)
    if plane is None:
        return None
    That = _mix(plane.T, OD)  # the pixels in that plane
    HE = _apart(plane @ _extremes(That[:, told]))
    if HE is not None and method == "vahadane":
        HE = _apart(sparse_vectors(ODhat, _mix(_inverse(HE), ODhat), HE))
    if HE is None:
        return None
    C = _mix(_inverse(HE) @ plane, That) if method == "macenko" else _never_negative(OD, HE)
    maxC = np.concatenate([percentiles(amounts[:count], MAXIMUM) for amounts in C])
    return (HE, C, maxC) if maxC.min() >= MINIMUM_CONCENTRATION else None


def _telling(OD: Floats) -> tuple[Floats, slice | NDArray[np.intp]]:
    """The pixels that tell a stain's direction, float32 ``[3, N]``, and their places among all."""
    if OD.size == 0 or OD.min() >= BETA:
        return OD, slice(OD.shape[1])
    told = np.flatnonzero((OD >= BETA).all(axis=0))  # rare in cells cut out of their background
    return np.take(OD, told, axis=1), told


def _plane(ODhat: Floats) -> Matrix | None:
    """The plane of most variance: two orthonormal columns, float64 ``[3, 2]``, the first along the mean colour.

    None where the pixels are few, vary in less than two directions, or lie all around the plane's origin.
    """
    if ODhat.shape[1] < MINIMUM_PIXELS:
        return None
    mean, covariance = _moments(ODhat)
    _, variances, eigvecs = cv2.eigen(covariance)  # Jacobi: between other work it takes a fifth of LAPACK's time
    x, y = eigvecs[:2] @ mean
    length = math.hypot(x, y)
    if variances[1, 0] < MINIMUM_VARIANCE or length < MINIMUM_CONCENTRATION:
        return None
    # No sign of an eigenvector, which is anyone's guess, can turn this, and no angle comes near where angles wrap.
    return np.asarray(eigvecs[:2].T @ np.array([[x, -y], [y, x]]) / length)


def _moments(ODhat: Floats) -> tuple[Matrix, Matrix]:
    """Mean, float64 ``[3]``, and covariance, float64 ``[3, 3]``.

    By 2ab = a² + b² - (a - b)², whose sums OpenCV makes in float64: faster than products of float32 planes.
    """
    planes, count, covariance = [plane[None] for plane in ODhat], ODhat.shape[1], np.empty((3, 3))
    means = [cv2.mean(plane)[0] for plane in planes]
    squares = [cv2.norm(plane, cv2.NORM_L2SQR) for plane in planes]
    for i in range(3):
        for j in range(i + 1):
            apart = cv2.norm(planes[i], planes[j], cv2.NORM_L2SQR) if i != j else 0
            product = (squares[i] + squares[j] - apart) / 2 - means[i] * means[j] * count
            covariance[i, j] = covariance[j, i] = product / (count - 1)
    return np.array(means), covariance


def _extremes(That: Floats) -> Matrix:
    """The directions of the extreme angles among pixels of the plane, float32 ``[2, N]``: float64 ``[2, 2]``.

    By tangents: their order is that of the angles. What lay at a right angle to the mean or beyond, as no colour of a
    cell does, counts as at a right angle.
    """
    ahead = np.maximum(That[0], np.float32(1e-6))
    phi = np.arctan(percentiles(np.divide(That[1], ahead, out=ahead), ALPHA, 100 - ALPHA))
    return np.stack([np.cos(phi), np.sin(phi)])


def _apart(HE: Matrix) -> Matrix | None:
    """The two stains in their order, or None where they are nearly parallel (or one is gone)."""
    (h0, e0), (h1, e1), (h2, e2) = HE.tolist()
    cross = np.array([h1 * e2 - h2 * e1, h2 * e0 - h0 * e2, h0 * e1 - h1 * e0])  # np.cross takes six times as long
    if math.sqrt(cross @ cross) < MINIMUM_SINE:
        return None
    # Haematoxylin takes more red light than eosin: it is the first column.
    return HE if h0 > e0 else HE[:, ::-1]


def _never_negative(OD: Floats, HE: Matrix) -> Floats:
    """Concentrations of both stains in every pixel, float32 ``[2, P]``: least squares among C >= 0 only."""
    C = _mix(_inverse(HE), OD)
    # Of two stains, the best pair with one negative gives way to the other stain alone.
    alone = _mix(HE.T, OD)
    return np.maximum(np.where(C[::-1] < 0, alone, C), np.float32(0))


def _inverse(HE: Matrix) -> Matrix:
    """Least squares, float64 ``[2, 3]``, by the normal equations: stains nearly parallel were refused first."""
    (hh, he), (_, ee) = (HE.T @ HE).tolist()
    return np.array([[ee, -he], [-he, hh]]) / (hh * ee - he * he) @ HE.T


def _mix(matrix: Matrix, planes: Floats) -> Floats:
    """``matrix @ planes``, float64 ``[R, N]``, N 2 or 3, by float32 ``[N, P]``, without BLAS: float32 ``[R, P]``."""
    out = np.empty((len(matrix), planes.shape[1]), np.float32)
    for (first, second, *third), mixed in zip(matrix.tolist(), out[:, None], strict=True):
        cv2.addWeighted(planes[:1], first, planes[1:2], second, 0, mixed)
        for weight in third:
            cv2.scaleAdd(planes[2:], weight, mixed, mixed)
    return out
