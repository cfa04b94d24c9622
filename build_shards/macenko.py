"""Macenko's and Vahadane's stain normalisation of one cell, in optical density.

Conventions (``IO``, ``BETA``, ``ALPHA``, percentiles) are those of torchstain's numpy backend. Sums are element-wise,
without BLAS, so no bit depends on a thread count or on where in the array a pixel lies.
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

Pixels = NDArray[np.uint8]
Floats = NDArray[np.float32]
Matrix = NDArray[np.float64]

_OD_OF_LEVEL = -np.log((np.arange(256) + 1) / IO).astype(np.float32)


def measure_stains(pixels: Pixels, method: str) -> tuple[float, ...] | None:
    """The unit stain vectors H and E in RGB and their largest concentrations, in units of optical density.

    ``pixels`` is uint8 ``[M, 3]`` RGB, ``method`` "macenko" or "vahadane". None where they cannot be told.
    """
    stains = _separate(_densities(pixels), method)
    return None if stains is None else (*stains[0].T.ravel().tolist(), *stains[2].tolist())


def restain(pixels: Pixels, method: str, target: tuple[float, ...]) -> Pixels | None:
    """Replace the cell's stain vectors and largest concentrations by the target's: uint8 ``[M, 3]`` of 1 to 255.

    ``target`` is as ``measure_stains`` gives it. None where the cell's own cannot be told. Source: Macenko et al. 2009,
    ISBI, p. 1107, section 3.
    """
    stains = _separate(_densities(pixels), method)
    if stains is None:
        return None
    _, C, maxC = stains
    HERef, maxCRef = np.array(target[:6]).reshape(2, 3).T, np.array(target[6:])
    light = _mix(HERef * -(maxCRef / maxC), C)
    with np.errstate(over="ignore"):  # brighter than 255 is 255 all the same
        np.exp(light, out=light)
        light *= IO
    light -= 1  # the 1 that _OD_OF_LEVEL added
    np.clip(light, 1, 255, out=light)
    levels = cv2.convertScaleAbs(light)  # rounds half to even
    return np.asarray(cv2.merge([plane[None] for plane in levels])[0], dtype=np.uint8)


def _densities(pixels: Pixels) -> Floats:
    """Optical densities -ln((I + 1) / IO) as contiguous planes: float32 ``[3, M]``."""
    OD = np.empty((3, len(pixels)), np.float32)
    for plane, levels in zip(OD, cv2.split(pixels[None]), strict=True):
        cv2.LUT(levels, _OD_OF_LEVEL, plane[None])
    return OD


def _separate(OD: Floats, method: str) -> tuple[Matrix, Floats, Matrix] | None:
    """HE, float64 ``[3, 2]``, C, float32 ``[2, M]``, and maxC, float64 ``[2]``; None where they cannot be told."""
    ODhat = OD
    if OD.size and OD.min() < BETA:  # rare in cells cut out of their background
        ODhat = np.take(OD, np.flatnonzero((OD >= BETA).all(axis=0)), axis=1)
    HE = _macenko_vectors(ODhat)
    if HE is not None and method == "vahadane":
        HE = _apart(sparse_vectors(ODhat, _mix(_inverse(HE), ODhat), HE))
    if HE is None:
        return None
    C = _concentrations(OD, HE, method)
    maxC = np.concatenate([percentiles(amounts, MAXIMUM) for amounts in C])
    return (HE, C, maxC) if maxC.min() >= MINIMUM_CONCENTRATION else None


def _macenko_vectors(ODhat: Floats) -> Matrix | None:
    """The directions of the extreme angles in the plane of most variance: float64 ``[3, 2]``, H then E."""
    if ODhat.shape[1] < MINIMUM_PIXELS:
        return None
    mean = ODhat.mean(axis=1).astype(np.float64)
    variances, eigvecs = np.linalg.eigh(_covariance(ODhat, mean))
    if variances[1] < MINIMUM_VARIANCE:
        return None
    plane = eigvecs[:, 1:]
    # LAPACK's signs are anyone's guess: the mean colour lies between 0 and 90 degrees, far from where angles wrap.
    plane = plane * np.where(mean @ plane < 0, -1, 1)
    That = _mix(plane.T, ODhat)
    phi = percentiles(np.arctan2(That[1], That[0]), ALPHA, 100 - ALPHA)
    return _apart(plane @ np.stack([np.cos(phi), np.sin(phi)]))


def _covariance(ODhat: Floats, mean: Matrix) -> Matrix:
    centred = ODhat - mean.astype(np.float32)[:, None]
    product, lower = np.empty(ODhat.shape[1], np.float32), np.zeros((3, 3))  # the lower half is all eigh reads
    for i in range(3):
        for j in range(i + 1):
            lower[i, j] = np.multiply(centred[i], centred[j], out=product).sum()
    return lower / (ODhat.shape[1] - 1)


def _apart(HE: Matrix) -> Matrix | None:
    """The two stains in their order, or None where they are nearly parallel (or one is gone)."""
    (h0, e0), (h1, e1), (h2, e2) = HE.tolist()
    cross = np.array([h1 * e2 - h2 * e1, h2 * e0 - h0 * e2, h0 * e1 - h1 * e0])  # np.cross takes six times as long
    if math.sqrt(cross @ cross) < MINIMUM_SINE:
        return None
    # Haematoxylin takes more red light than eosin: it is the first column.
    return HE if h0 > e0 else HE[:, ::-1]


def _concentrations(OD: Floats, HE: Matrix, method: str) -> Floats:
    """Of both stains in every pixel, float32 ``[2, M]``: least squares, for vahadane among C >= 0 only."""
    C = _mix(_inverse(HE), OD)
    if method == "macenko":
        return C
    # Of two stains, the best pair with one negative gives way to the other stain alone.
    alone = _mix(HE.T, OD)
    return np.maximum(np.where(C[::-1] < 0, alone, C), np.float32(0))


def _inverse(HE: Matrix) -> Matrix:
    """Least squares: float64 ``[2, 3]``, the bits of ``np.linalg.pinv`` in half its time.

    Never near singular, so no singular value is cut off: stains nearly parallel are refused first.
    """
    u, s, vt = np.linalg.svd(HE, full_matrices=False)
    return np.asarray(vt.T @ ((1 / s)[:, None] * u.T))


def _mix(matrix: Matrix, planes: Floats) -> Floats:
    """``matrix @ planes``, float64 ``[R, N]`` by float32 ``[N, M]``, term by term in one order: float32 ``[R, M]``."""
    out = np.empty((len(matrix), planes.shape[1]), np.float32)
    term = np.empty(planes.shape[1], np.float32)
    for row, mixed in zip(matrix.astype(np.float32), out, strict=True):
        np.multiply(planes[0], row[0], out=mixed)
        for weight, plane in zip(row[1:], planes[1:], strict=True):
            mixed += np.multiply(plane, weight, out=term)
    return out
