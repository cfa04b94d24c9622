"""95 % intervals by bootstrap: people drawn anew (clustered), and images drawn anew beside it.

A resample is a vector of whole weights, how often each cell is drawn, so a score over thousands of resamples is a few
matrix products; AUROC and average precision come from weighted ranks. Efron & Tibshirani 1993, ch. 13; for clusters
Field & Welsh 2007, J. R. Stat. Soc. B 69:369.
"""

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from evaluate.metrics import BINS, NAMES, Labels, Probability, bin_of, decide, score
from evaluate.report_record import Estimate, Interval, Scores

RESAMPLES = 2000
SEED = 0
LEVEL = 0.95
CHUNK = 250  # resamples at once: memory stays bounded

Weights = NDArray[np.float64]


def score_with_intervals(
    labels: Labels, probability: Probability, threshold: float, people: Sequence[str] | None, resamples: int = RESAMPLES
) -> Scores:
    """Every score with its clustered and its image-level interval.

    ``people`` names the person of each cell, ``None`` where they are unknown. With fewer than two there is nothing to
    draw anew, and the clustered intervals are ``None``.
    """
    clusters = None if people is None else np.unique(np.array(people), return_inverse=True)[1]
    clustered = _intervals(labels, probability, threshold, clusters, resamples, 0)
    by_image = _intervals(labels, probability, threshold, np.arange(len(labels)), resamples, 1)
    values = score(labels, probability, threshold)
    return Scores(**{name: Estimate(values[name], clustered[name], by_image[name]) for name in NAMES})


def _intervals(
    labels: Labels,
    probability: Probability,
    threshold: float,
    clusters: NDArray[np.int64] | None,
    resamples: int,
    stream: int,
) -> dict[str, Interval | None]:
    if clusters is None or len(np.unique(clusters)) < 2:
        return dict.fromkeys(NAMES)
    rng = np.random.default_rng([SEED, stream])
    parts = [weighted_scores(labels, probability, threshold, w) for w in draw_weights(clusters, resamples, rng)]
    return {name: percentile_interval(np.concatenate([part[name] for part in parts])) for name in NAMES}


def draw_weights(clusters: NDArray[np.int64], resamples: int, rng: np.random.Generator) -> Iterator[Weights]:
    """Weights float64 ``[up to CHUNK, N]``: all cells of a cluster are drawn as often as their cluster.

    ``clusters`` int64 ``[N]`` numbers each cell's cluster from 0 without gaps; as many are drawn as there are.
    """
    count = int(clusters.max()) + 1
    for start in range(0, resamples, CHUNK):
        drawn = rng.multinomial(count, np.full(count, 1 / count), size=min(CHUNK, resamples - start))
        yield drawn[:, clusters].astype(np.float64)


def percentile_interval(values: NDArray[np.float64]) -> Interval | None:
    """The middle 95 % of the resamples; ``None`` where more than 5 % of them leave the score undefined (NaN)."""
    defined = values[~np.isnan(values)]
    if len(defined) < LEVEL * len(values):
        return None
    low, high = np.quantile(defined, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)


def weighted_scores(
    labels: Labels, probability: Probability, threshold: float, weights: Weights
) -> dict[str, NDArray[np.float64]]:
    """Every score of ``NAMES`` for each row of ``weights`` ``[B, N]``: float64 ``[B]``, NaN where undefined."""
    blast, called = labels == 1, decide(probability, threshold) == 1
    cells = np.stack([blast & called, ~blast & called, blast & ~called, ~blast & ~called], axis=1)
    tp, fp, fn, tn = (weights @ cells.astype(np.float64)).T
    n = weights.sum(axis=1)
    sensitivity, specificity = _ratio(tp, tp + fn), _ratio(tn, tn + fp)
    f1, f1_normal = _ratio(2 * tp, 2 * tp + fp + fn), _ratio(2 * tn, 2 * tn + fp + fn)
    auroc, auprc = _ranked(blast, probability, weights)
    return {
        "accuracy": (tp + tn) / n,
        "balanced_accuracy": (sensitivity + specificity) / 2,
        "sensitivity": sensitivity,
        "specificity": specificity,
        "ppv": _ratio(tp, tp + fp),
        "npv": _ratio(tn, tn + fn),
        "f1": f1,
        "f1_weighted": np.where((tp + fn > 0) & (tn + fp > 0), (f1 * (tp + fn) + f1_normal * (tn + fp)) / n, np.nan),
        "mcc": _ratio(tp * tn - fp * fn, np.sqrt((tp + fp) * (tp + fn) * (tn + fp) * (tn + fn))),
        "auroc": auroc,
        "auprc": auprc,
        "brier": weights @ np.square(probability.astype(np.float64) - labels) / n,
        "ece": _calibration_error(labels, probability, weights) / n,
    }


def _ratio(part: NDArray[np.float64], whole: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.divide(part, whole, out=np.full_like(part, np.nan), where=whole > 0)


def _ranked(
    blast: NDArray[np.bool_], probability: Probability, weights: Weights
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """AUROC (Mann-Whitney, a tie counts half) and average precision, of each row of weights."""
    order = np.argsort(-probability, kind="stable")
    starts = np.flatnonzero(np.diff(probability[order], prepend=np.inf))  # of the groups of equal probability
    drawn = weights[:, order]
    blasts = np.add.reduceat(drawn * blast[order], starts, axis=1)
    normals = np.add.reduceat(drawn * ~blast[order], starts, axis=1)
    hits, alarms = np.cumsum(blasts, axis=1), np.cumsum(normals, axis=1)  # at the threshold of each group
    all_blasts, all_normals = hits[:, -1], alarms[:, -1]
    both = np.where((all_blasts > 0) & (all_normals > 0), 1.0, np.nan)
    beaten = (blasts * (all_normals[:, None] - alarms + normals / 2)).sum(axis=1)
    precision = np.nan_to_num(_ratio(hits, hits + alarms))
    return (
        _ratio(beaten, all_blasts * all_normals) * both,
        _ratio((blasts * precision).sum(axis=1), all_blasts) * both,
    )


def _calibration_error(labels: Labels, probability: Probability, weights: Weights) -> NDArray[np.float64]:
    """Sum over bins of |sum of weight x (probability - label)|: ECE times n."""
    member = np.eye(BINS)[bin_of(probability)]
    return np.abs(weights @ (member * (probability.astype(np.float64) - labels)[:, None])).sum(axis=1)
