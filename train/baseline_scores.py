"""Scores of held-out cells and how sure they are: over cells, and over people."""

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from contract.baseline import COLUMNS
from contract.interval import wilson_interval

THRESHOLD = 0.5
Interval = tuple[float | None, float | None]


@dataclass(frozen=True, eq=False)
class Scored:
    """Cells with what was said of them."""

    ids: tuple[str, ...]  # source paths
    keys: tuple[str, ...]
    subjects: tuple[str | None, ...]
    identities: tuple[str | None, ...]
    labels: NDArray[np.int64]  # [n]; -1 where unknown
    probability: NDArray[np.float64]  # of a blast, [n], with no more digits than single precision has

    @classmethod
    def joined(cls, parts: Sequence["Scored"]) -> "Scored":
        """All cells of several folds."""
        return cls(
            ids=tuple(i for part in parts for i in part.ids),
            keys=tuple(key for part in parts for key in part.keys),
            subjects=tuple(s for part in parts for s in part.subjects),
            identities=tuple(s for part in parts for s in part.identities),
            labels=np.concatenate([part.labels for part in parts]),
            probability=np.concatenate([part.probability for part in parts]),
        )

    @property
    def verdicts(self) -> NDArray[np.int64]:
        """Int64 ``[n]``: 1 where the probability reaches the threshold."""
        return (self.probability >= THRESHOLD).astype(np.int64)

    def to_csv(self) -> str:
        """One row a cell under ``contract.baseline.COLUMNS``; ``label`` is the true one, empty where unknown."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(COLUMNS)
        labels = ["" if label < 0 else label for label in self.labels.tolist()]
        probability = map(str, self.probability.astype(np.float32))
        columns = (self.ids, self.keys, self.subjects, self.identities, labels, probability, self.verdicts.tolist())
        writer.writerows(zip(*columns, strict=True))
        return text.getvalue()


@dataclass(frozen=True)
class IdentityScore:
    """One person's cells."""

    identity: str
    n: int
    blasts: int
    correct: int
    accuracy: float


@dataclass(frozen=True)
class PeopleIntervals:
    """95 % intervals when people are drawn anew (bootstrap over identities, percentiles)."""

    people: int
    resamples: int
    accuracy: Interval
    f1_weighted: Interval
    auroc: Interval


@dataclass(frozen=True)
class Scores:
    """Scores of a set of cells; ``None`` where one is undefined."""

    n: int
    accuracy: float
    accuracy_interval: tuple[float, float]  # 95 %, Wilson; as if cells were independent
    f1_weighted: float  # mean over both classes by their frequency
    auroc: float | None
    sensitivity: float | None
    specificity: float | None
    by_people: PeopleIntervals | None  # None where people are unknown, or only one
    identities: tuple[IdentityScore, ...]  # the worst first


def score(cells: Scored, resamples: int, seed: int) -> Scores:
    """Score ``cells`` at a threshold of 0.5, with intervals from ``resamples`` drawn by ``seed``."""
    right = cells.verdicts == cells.labels
    accuracy, f1, auroc = _three(cells.labels, cells.probability, np.ones(len(cells.labels)))
    known = None not in cells.identities and len(set(cells.identities)) > 1
    return Scores(
        n=len(right),
        accuracy=accuracy,
        accuracy_interval=wilson_interval(int(right.sum()), len(right)),
        f1_weighted=f1,
        auroc=auroc,
        sensitivity=float(right[cells.labels == 1].mean()) if (cells.labels == 1).any() else None,
        specificity=float(right[cells.labels == 0].mean()) if (cells.labels == 0).any() else None,
        by_people=_drawn_anew(cells, resamples, seed) if known else None,
        identities=_identities(cells, right),
    )


def _three(
    labels: NDArray[np.int64], probability: NDArray[np.float64], weights: NDArray[np.float64]
) -> tuple[float, float, float | None]:
    """Accuracy, weighted F1 and AUROC (None where a class is absent) of cells that count ``weights`` times."""
    called, blast = probability >= THRESHOLD, labels == 1
    f1 = 0.0
    for of_class, called_so in ((blast, called), (~blast, ~called)):
        both, either = weights[of_class & called_so].sum(), weights[of_class].sum() + weights[called_so].sum()
        f1 += float(weights[of_class].sum() * 2 * both / max(either, 1))
    total = weights.sum()
    accuracy = float(weights[called == blast].sum() / total)
    return accuracy, f1 / float(total), _auroc(blast, probability, weights)


def _auroc(blast: NDArray[np.bool_], probability: NDArray[np.float64], weights: NDArray[np.float64]) -> float | None:
    """The share of pairs (blast, normal cell) in which the blast has the higher probability; a tie counts half."""
    places = np.unique(probability, return_inverse=True)[1]
    blasts, normals = np.bincount(places, weights * blast), np.bincount(places, weights * ~blast)
    pairs = blasts.sum() * normals.sum()
    below = np.cumsum(normals) - normals / 2
    return float(blasts @ below / pairs) if pairs else None


def _drawn_anew(cells: Scored, resamples: int, seed: int) -> PeopleIntervals:
    rng = np.random.default_rng(seed)
    names, who = np.unique(np.array(cells.identities), return_inverse=True)
    draws = (np.bincount(rng.integers(0, len(names), len(names)), minlength=len(names)) for _ in range(resamples))
    rows = [_three(cells.labels, cells.probability, drawn[who].astype(np.float64)) for drawn in draws]
    spread = [_percentiles([row[k] for row in rows]) for k in range(3)]
    return PeopleIntervals(len(names), resamples, spread[0], spread[1], spread[2])


def _percentiles(values: Sequence[float | None]) -> Interval:
    """2.5th and 97.5th; undefined where more than 5 % of the resamples are."""
    known = [value for value in values if value is not None]
    if len(known) < 0.95 * len(values):
        return None, None
    low, high = np.percentile(known, (2.5, 97.5))
    return float(low), float(high)


def _identities(cells: Scored, right: NDArray[np.bool_]) -> tuple[IdentityScore, ...]:
    rows = []
    for name in sorted({name for name in cells.identities if name is not None}):
        mine = np.array([identity == name for identity in cells.identities])
        n, correct = int(mine.sum()), int(right[mine].sum())
        rows.append(IdentityScore(name, n, int((cells.labels[mine] == 1).sum()), correct, correct / n))
    return tuple(sorted(rows, key=lambda row: (row.accuracy, -row.n, row.identity)))
