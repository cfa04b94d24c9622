"""How far calibrated probabilities are off: the bins and the error that cards, reports and their intervals share."""

import numpy as np
from numpy.typing import NDArray

BINS = 10  # of equal width


def bin_of(probability: NDArray[np.floating]) -> NDArray[np.int64]:
    """The bin of each probability, 0 to ``BINS`` - 1; 1.0 lies in the last."""
    return np.minimum((probability.astype(np.float64) * BINS).astype(np.int64), BINS - 1)


def calibration_error(labels: NDArray[np.int64], probability: NDArray[np.floating]) -> float:
    """Expected calibration error: mean over bins, by their cells, of |mean probability - share of label 1|.

    ``labels`` ``[N]`` of 0 and 1, ``probability`` of label 1 ``[N]``. Naeini, Cooper, Hauskrecht 2015 (AAAI), on the
    probability of label 1 rather than of the label called.
    """
    gaps = np.bincount(bin_of(probability), weights=probability.astype(np.float64) - labels, minlength=BINS)
    return float(np.abs(gaps).sum() / len(labels))
