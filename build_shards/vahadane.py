"""Stain vectors of one cell by sparse non-negative matrix factorisation.

Source: Vahadane et al. 2016, IEEE TMI 35(8):1962, eq. 6: OD ≈ HE·C with HE ≥ 0, C ≥ 0 and an L1 penalty on C.
"""
# ruff: noqa: N803  (OD, C, HE: the symbols of the paper)

import warnings

import numpy as np
from numpy.typing import NDArray

SAMPLE = 2000  # pixels that are factorised: more move the stain vectors by less than cells differ
SPARSITY = 0.02  # the paper's lambda, per pixel; at 0.1 it removes one of two stains as close as those of blood cells
IO = 240  # as in macenko.py, which imports this module: OD = -ln((level + 1) / IO)
STEPS = 50  # from Macenko's vectors, and no more: close stains have no unique factors, and hundreds of steps drift off

Floats = NDArray[np.float32]
Matrix = NDArray[np.float64]


def sparse_vectors(OD: Floats, C: Floats, HE: Matrix) -> Matrix:
    """Factorise optical densities, starting from another method's answer, so that nothing is drawn at random.

    ``OD`` is float32 ``[3, M]`` and positive, ``C`` float32 ``[2, M]`` its first concentrations, ``HE`` float64
    ``[3, 2]`` its first stain vectors. Returns float64 ``[3, 2]`` of unit columns; a stain that the penalty removes
    comes back as zeros.
    """
    from sklearn import config_context
    from sklearn.decomposition import non_negative_factorization  # here: it takes a second, and only this needs it
    from sklearn.exceptions import ConvergenceWarning

    picked = _sample(OD)
    sample = OD[:, picked].T.astype(np.float64)
    codes, vectors = np.maximum(C[:, picked].T, 0).astype(np.float64), np.maximum(HE.T, 0)
    # Checking the arguments of so many small steps would take as long as the steps.
    with warnings.catch_warnings(), config_context(assume_finite=True, skip_parameter_validation=True):
        warnings.simplefilter("ignore", ConvergenceWarning)  # one step is asked for, so none converges
        for _ in range(STEPS):
            codes, vectors = _unit(codes, vectors)
            if not (codes.any(axis=0).all() and vectors.any(axis=1).all()):
                break  # the penalty removed a stain
            codes, vectors, _ = non_negative_factorization(
                sample,
                W=np.ascontiguousarray(codes),
                H=np.ascontiguousarray(vectors),
                n_components=2,
                init="custom",
                alpha_W=SPARSITY / sample.shape[1],  # scikit-learn multiplies it by the number of channels
                alpha_H=0.0,
                l1_ratio=1.0,
                max_iter=1,
            )
    return _unit(codes, vectors)[1].T


def _unit(codes: Matrix, vectors: Matrix) -> tuple[Matrix, Matrix]:
    """The same product with unit vectors: else it escapes the penalty on codes by growing the vectors."""
    length = np.linalg.norm(vectors, axis=1)
    length = np.where(length > 0, length, 1.0)
    return codes * length, vectors / length[:, None]


def _sample(OD: Floats) -> NDArray[np.intp]:
    """Every k-th pixel in the order of their colours: the same colours whatever order the pixels came in.

    Sorted is one whole number a pixel, its three grey levels: faster than sorting by three densities.
    """
    levels = np.rint(np.exp(-OD) * np.float32(IO)).astype(np.uint32)  # plus one: 1 to 256
    order = np.argsort(~(levels[0] | levels[1] << 10 | levels[2] << 20))
    return order[:: -(-len(order) // SAMPLE)]
