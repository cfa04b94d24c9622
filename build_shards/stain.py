"""Stain normalisation: give every cell the stain of one target, fitted on the training split.

Every function takes the pixels of one cell, uint8 ``[M, 3]`` RGB, and never a frame: no background can enter a
statistic, and none can be coloured. A cell whose stain cannot be told gives None and is to pass unchanged.

- ``reinhard``: mean and standard deviation in CIE Lab. Reinhard et al. 2001, IEEE CG&A 21(5):34.
- ``macenko``: stain vectors by SVD of optical density. Macenko et al. 2009, ISBI, p. 1107.
- ``vahadane``: stain vectors by sparse NMF. Vahadane et al. 2016, IEEE TMI 35(8):1962.
"""

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from build_shards.macenko import MINIMUM_PIXELS, measure_stains, restain
from build_shards.reinhard import measure_lab, shift_lab
from contract.errors import UserError
from contract.recipe import TARGET_LENGTHS

METHODS = tuple(TARGET_LENGTHS)

Pixels = NDArray[np.uint8]


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
    return measure_lab(pixels) if method == "reinhard" else measure_stains(pixels, method)


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
    return shift_lab(pixels, target) if method == "reinhard" else restain(pixels, method, target)


def _check(pixels: Pixels, method: str) -> None:
    if method not in METHODS:
        raise ValueError(f"stain {method!r}: must be one of {', '.join(METHODS)}")
    if pixels.dtype != np.uint8 or pixels.ndim != 2 or pixels.shape[1] != 3:
        raise ValueError(f"pixels: {pixels.dtype} {list(pixels.shape)} given, uint8 [M, 3] needed")
