"""Stain normalisation: give every cell the stain of one target, fitted on the training split.

Every function takes the pixels of one cell, uint8 ``[M, 3]`` RGB, and never a frame: no background can enter a
statistic, and none can be coloured. A cell whose stain cannot be told gives None and is to pass unchanged.

- ``reinhard``: mean and standard deviation in CIE Lab. Reinhard et al. 2001, IEEE CG&A 21(5):34.
- ``macenko``: stain vectors by SVD of optical density. Macenko et al. 2009, ISBI, p. 1107.
- ``vahadane``: stain vectors by sparse NMF. Vahadane et al. 2016, IEEE TMI 35(8):1962.

Conventions (``IO``, ``BETA``, ``ALPHA``, percentiles) are those of torchstain's numpy backend. Sums are element-wise,
without BLAS, so no bit depends on a thread count or on where in the array a pixel lies.
"""
# ruff: noqa: N803, N806  (OD, HE, C, That: the symbols of the papers)

from collections.abc import Iterable

import cv2
import numpy as np
from numpy.typing import NDArray

from build_shards.percentile import percentiles
from build_shards.vahadane import sparse_vectors
from contract.errors import UserError
from contract.recipe import TARGET_LENGTHS

METHODS = tuple(TARGET_LENGTHS)

IO = 240.0  # grey level of light that met no stain
BETA = 0.15  # optical density below which, in any channel, a pixel tells nothing about a stain's direction
ALPHA = 1.0  # percentile of angles (and 100 - ALPHA) taken as the two stains, against outliers
MAXIMUM = 99.0  # percentile of concentrations taken as the largest

# Below these a statistic would be rounding noise blown up. Each lies well under anything seen in a real cell.
MINIMUM_PIXELS = 100
MINIMUM_STD = 0.25  # Lab units; about that of 8-bit rounding alone
MINIMUM_VARIANCE = 1e-4  # of optical density along the second eigenvector
MINIMUM_SINE = np.sin(np.radians(3))  # of the angle between the two stains
MINIMUM_CONCENTRATION = 0.05  # optical density units

Pixels = NDArray[np.uint8]
Floats = NDArray[np.float32]
Matrix = NDArray[np.float64]

_LEVELS = np.arange(256) / 255
_OD_OF_LEVEL = -np.log((np.arange(256) + 1) / IO).astype(np.float32)
_LINEAR_OF_LEVEL = np.where(_LEVELS > 0.04045, ((_LEVELS + 0.055) / 1.055) ** 2.4, _LEVELS / 12.92).astype(np.float32)


def measure(pixels: Pixels, method: str) -> tuple[float, ...] | None:
    """The stain statistics of one cell, or None where they cannot be told (too few or too uniform pixels).

    ``pixels`` is uint8 ``[M, 3]`` RGB. ``reinhard`` gives the means of L, a, b and their standard deviations;
    ``macenko`` and ``vahadane`` give the unit stain vectors H and E in RGB and their largest concentrations, in units
    of optical density; ``none`` gives (). Raises ``ValueError`` for another method, shape or dtype.
    """
    _check(pixels, method)
    if method == "none":
        return ()
    if len(pixels) < MINIMUM_PIXELS:
        return None
    if method == "reinhard":
        return _measure_lab(_lab(pixels))
    stains = _separate(_densities(pixels), method)
    return None if stains is None else (*stains[0].T.ravel().tolist(), *stains[2].tolist())


def fit_target(measured: Iterable[tuple[float, ...]], method: str) -> tuple[float, ...]:
    """The target that ``normalise`` aims at: the median of every number over the cells, so that no cell is the model.

    Stain vectors are made unit length again. Raises ``UserError`` where no cell was measured.
    """
    if method == "none":
        return ()
    cells = np.array(list(measured), dtype=np.float64)
    if len(cells) == 0:
        raise UserError(f"stain {method}: no cell of the training split could be measured: there is nothing to aim at")
    target = np.median(cells, axis=0)
    if method != "reinhard":
        for stain in (target[0:3], target[3:6]):
            stain /= np.linalg.norm(stain)
    return tuple(target.tolist())


def normalise(pixels: Pixels, method: str, target: tuple[float, ...]) -> Pixels | None:
    """Give one cell the stain of ``target``: uint8 ``[M, 3]`` RGB of 1 to 255, or None where it must pass unchanged.

    ``pixels`` is uint8 ``[M, 3]`` RGB; ``none`` returns them as they are. No result is below 1, so no cell pixel can
    be taken for background. Raises ``ValueError`` for another method, shape, dtype or length of the target.
    """
    _check(pixels, method)
    if len(target) != TARGET_LENGTHS[method]:
        raise ValueError(f"target of {len(target)} numbers: {method} has {TARGET_LENGTHS[method]}")
    if method == "none":
        return pixels
    if len(pixels) < MINIMUM_PIXELS:
        return None
    return _reinhard(pixels, target) if method == "reinhard" else _restain(pixels, method, target)


def _check(pixels: Pixels, method: str) -> None:
    if method not in METHODS:
        raise ValueError(f"stain {method!r}: must be one of {', '.join(METHODS)}")
    if pixels.dtype != np.uint8 or pixels.ndim != 2 or pixels.shape[1] != 3:
        raise ValueError(f"pixels: {pixels.dtype} {list(pixels.shape)} given, uint8 [M, 3] needed")


def _reinhard(pixels: Pixels, target: tuple[float, ...]) -> Pixels | None:
    lab = _lab(pixels)
    source = _measure_lab(lab)
    if source is None:
        return None
    for channel in range(3):
        gain = target[3 + channel] / source[3 + channel]
        lab[..., channel] *= np.float32(gain)
        lab[..., channel] += np.float32(target[channel] - gain * source[channel])
    return _to_levels(cv2.cvtColor(lab, cv2.COLOR_Lab2RGB)[:, 0] * np.float32(255))


def _lab(pixels: Pixels) -> Floats:
    """float32 ``[M, 1, 3]``: L of 0 to 100, a and b around 0.

    The table makes the light linear, because OpenCV's own step from sRGB interpolates coarsely (off by 0.4 in a).
    """
    linear = cv2.LUT(np.ascontiguousarray(pixels)[:, None], _LINEAR_OF_LEVEL)
    return np.asarray(cv2.cvtColor(linear, cv2.COLOR_LRGB2Lab), dtype=np.float32)


def _measure_lab(lab: Floats) -> tuple[float, ...] | None:
    means, stds = (statistic[:, 0] for statistic in cv2.meanStdDev(lab))  # in float64, over the population
    return (*means.tolist(), *stds.tolist()) if stds.min() >= MINIMUM_STD else None


def _restain(pixels: Pixels, method: str, target: tuple[float, ...]) -> Pixels | None:
    """Replace the cell's stain vectors and largest concentrations by the target's (Macenko, section 3)."""
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
    return np.asarray(cv2.merge(list(_to_levels(light)[..., None]))[:, 0], dtype=np.uint8)


def _densities(pixels: Pixels) -> Floats:
    """Optical densities -ln((I + 1) / IO) as contiguous planes: float32 ``[3, M]``."""
    OD = np.empty((3, len(pixels)), np.float32)
    for plane, levels in zip(OD, cv2.split(pixels[:, None]), strict=True):
        plane[:] = cv2.LUT(levels, _OD_OF_LEVEL)[:, 0]
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
    if np.linalg.norm(np.cross(HE[:, 0], HE[:, 1])) < MINIMUM_SINE:
        return None
    # Haematoxylin takes more red light than eosin: it is the first column.
    return HE if HE[0, 0] > HE[0, 1] else HE[:, ::-1]


def _concentrations(OD: Floats, HE: Matrix, method: str) -> Floats:
    """Of both stains in every pixel, float32 ``[2, M]``: least squares, for vahadane among C >= 0 only."""
    C = _mix(_inverse(HE), OD)
    if method == "macenko":
        return C
    # Of two stains, the best pair with one negative gives way to the other stain alone.
    alone = _mix(HE.T, OD)
    return np.maximum(np.where(C[::-1] < 0, alone, C), np.float32(0))


def _inverse(HE: Matrix) -> Matrix:
    """Least squares: float64 ``[2, 3]``. Never near singular: stains nearly parallel are refused first."""
    return np.linalg.pinv(HE).astype(np.float64)


def _mix(matrix: Matrix, planes: Floats) -> Floats:
    """``matrix @ planes``, float64 ``[R, N]`` by float32 ``[N, M]``, term by term in one order: float32 ``[R, M]``."""
    out = np.empty((len(matrix), planes.shape[1]), np.float32)
    term = np.empty(planes.shape[1], np.float32)
    for row, mixed in zip(matrix.astype(np.float32), out, strict=True):
        np.multiply(planes[0], row[0], out=mixed)
        for weight, plane in zip(row[1:], planes[1:], strict=True):
            mixed += np.multiply(plane, weight, out=term)
    return out


def _to_levels(values: Floats) -> Pixels:
    """Rounded (half to even) and cut to 1 to 255; writes over ``values``."""
    np.clip(values, 1, 255, out=values)
    return np.asarray(cv2.convertScaleAbs(values), dtype=np.uint8)
