"""95 % intervals by bootstrap, as cards, reports and the baseline give them: people drawn anew (clustered), or images.

A resample is a vector of whole weights, how often each cell is drawn, so a score over thousands of resamples is a few
matrix products; AUROC and average precision come from weighted ranks. Efron & Tibshirani 1993, ch. 13; for clusters
Field & Welsh 2007, J. R. Stat. Soc. B 69:369.
"""

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

RESAMPLES = 2000
SEED = 0
LEVEL = 0.95
CHUNK = 250  # resamples at once: memory stays bounded
PEOPLE, IMAGES = 0, 1  # streams of random numbers, by what is drawn anew

Weights = NDArray[np.float64]
Interval = tuple[float, float]


def people_of(
    subjects: Sequence[str | None], identities: Sequence[str | None], keys: Sequence[str]
) -> list[str] | None:
    """The person of each cell: identity, else subject, else the cell alone; ``None`` where no subject is known."""
    if not any(subjects):
        return None
    named = zip(identities, subjects, keys, strict=True)
    return [f"identity {i}" if i else f"subject {s}" if s else f"cell {key}" for i, s, key in named]


def resamples(people: Sequence[str] | None, cells: int, stream: int, number: int = RESAMPLES) -> Iterator[Weights]:
    """Weights of ``PEOPLE`` or ``IMAGES`` drawn anew; none where there are fewer than two to draw from."""
    if stream == IMAGES:
        clusters = np.arange(cells)
    else:
        clusters = np.unique(np.array(people or [""] * cells), return_inverse=True)[1]
    if len(np.unique(clusters)) > 1:
        yield from draw_weights(clusters, number, np.random.default_rng([SEED, stream]))


def draw_weights(clusters: NDArray[np.int64], number: int, rng: np.random.Generator) -> Iterator[Weights]:
    """Weights float64 ``[up to CHUNK, N]``: all cells of a cluster are drawn as often as their cluster.

    ``clusters`` int64 ``[N]`` numbers each cell's cluster from 0 without gaps; as many are drawn as there are.
    """
    count = int(clusters.max()) + 1
    for start in range(0, number, CHUNK):
        drawn = rng.multinomial(count, np.full(count, 1 / count), size=min(CHUNK, number - start))
        yield drawn[:, clusters].astype(np.float64)


def percentile_interval(values: NDArray[np.float64]) -> Interval | None:
    """The middle 95 % of the resamples; ``None`` where more than 5 % of them leave the score undefined (NaN)."""
    defined = values[~np.isnan(values)]
    if len(defined) == 0 or len(defined) < LEVEL * len(values):
        return None
    low, high = np.quantile(defined, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)


def weighted_share(holds: NDArray[np.bool_], among: NDArray[np.bool_], weights: Weights) -> NDArray[np.float64]:
    """The share of the cells ``among`` that hold, of each row of weights: float64 ``[B]``, NaN where there are none."""
    return ratio(weights @ (holds & among).astype(np.float64), weights @ among.astype(np.float64))


def weighted_confusion(
    blast: NDArray[np.bool_], called: NDArray[np.bool_], weights: Weights
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """True and false positives, false and true negatives, of each row of weights: four times float64 ``[B]``."""
    cells = np.stack([blast & called, ~blast & called, blast & ~called, ~blast & ~called], axis=1)
    tp, fp, fn, tn = (weights @ cells.astype(np.float64)).T
    return tp, fp, fn, tn


def weighted_f1(
    tp: NDArray[np.float64], fp: NDArray[np.float64], fn: NDArray[np.float64], tn: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Mean over both classes by their frequency, the challenge's score: float64 ``[B]``, NaN where one is absent."""
    blasts, normals = tp + fn, tn + fp
    f1, f1_normal = ratio(2 * tp, 2 * tp + fp + fn), ratio(2 * tn, 2 * tn + fp + fn)
    return np.where((blasts > 0) & (normals > 0), (f1 * blasts + f1_normal * normals) / (blasts + normals), np.nan)


def weighted_ranks(
    blast: NDArray[np.bool_], probability: NDArray[np.floating], weights: Weights
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """AUROC (Mann-Whitney, a tie counts half) and average precision, of each row of weights; NaN where undefined."""
    order = np.argsort(-probability, kind="stable")
    starts = np.flatnonzero(np.diff(probability[order], prepend=np.inf))  # of the groups of equal probability
    drawn = weights[:, order]
    blasts = np.add.reduceat(drawn * blast[order], starts, axis=1)
    normals = np.add.reduceat(drawn * ~blast[order], starts, axis=1)
    hits, alarms = np.cumsum(blasts, axis=1), np.cumsum(normals, axis=1)  # at the threshold of each group
    all_blasts, all_normals = hits[:, -1], alarms[:, -1]
    both = np.where((all_blasts > 0) & (all_normals > 0), 1.0, np.nan)
    beaten = (blasts * (all_normals[:, None] - alarms + normals / 2)).sum(axis=1)
    precision = np.nan_to_num(ratio(hits, hits + alarms))
    return (
        ratio(beaten, all_blasts * all_normals) * both,
        ratio((blasts * precision).sum(axis=1), all_blasts) * both,
    )


def ratio(part: NDArray[np.float64], whole: NDArray[np.float64]) -> NDArray[np.float64]:
    """``part / whole``, NaN where ``whole`` is zero."""
    return np.divide(part, whole, out=np.full_like(part, np.nan), where=whole > 0)
