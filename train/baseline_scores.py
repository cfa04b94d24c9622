"""Scores of held-out cells and how sure they are: over cells, and over people."""

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from contract.baseline import COLUMNS
from contract.bootstrap import (
    PEOPLE,
    RESAMPLES,
    Interval,
    Weights,
    people_of,
    percentile_interval,
    ratio,
    resamples,
    weighted_confusion,
    weighted_f1,
    weighted_ranks,
)
from contract.interval import wilson_interval

THRESHOLD = 0.5


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
    def joined(cls, parts: Sequence["Scored"], folds: Sequence[int]) -> "Scored":
        """All cells of several folds; keys, which every fold counts from 0, then begin with the fold's number."""
        if len(parts) == 1:
            return parts[0]
        return cls(
            ids=tuple(i for part in parts for i in part.ids),
            keys=tuple(f"fold{fold}-{key}" for part, fold in zip(parts, folds, strict=True) for key in part.keys),
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
    accuracy: Interval | None  # None where more than 5 % of the resamples leave the score undefined
    f1_weighted: Interval | None
    auroc: Interval | None


@dataclass(frozen=True)
class Scores:
    """Scores of a set of cells; ``None`` where one is undefined."""

    n: int
    accuracy: float
    accuracy_interval: tuple[float, float]  # 95 %, Wilson; as if cells were independent
    f1_weighted: float | None  # mean over both classes by their frequency; None where one is absent, as in reports
    auroc: float | None
    sensitivity: float | None
    specificity: float | None
    by_people: PeopleIntervals | None  # None where people are unknown, or only one
    identities: tuple[IdentityScore, ...]  # the worst first


def score(cells: Scored, number: int = RESAMPLES) -> Scores:
    """Score ``cells`` at a threshold of 0.5; intervals from ``number`` resamples, drawn as for cards and reports."""
    right = cells.verdicts == cells.labels
    values = {name: value.item() for name, value in _weighted(cells, np.ones((1, len(right)))).items()}
    accuracy = values.pop("accuracy")
    return Scores(
        n=len(right),
        accuracy=accuracy,
        accuracy_interval=wilson_interval(int(right.sum()), len(right)),
        **{name: None if np.isnan(value) else value for name, value in values.items()},
        by_people=_drawn_anew(cells, number),
        identities=_identities(cells, right),
    )


def _weighted(cells: Scored, weights: Weights) -> dict[str, NDArray[np.float64]]:
    """The five scores of each row of ``weights`` ``[B, N]``: float64 ``[B]``, NaN where a class is absent."""
    blast = cells.labels == 1
    tp, fp, fn, tn = weighted_confusion(blast, cells.verdicts == 1, weights)
    return {
        "accuracy": ratio(tp + tn, tp + fp + fn + tn),
        "f1_weighted": weighted_f1(tp, fp, fn, tn),
        "auroc": weighted_ranks(blast, cells.probability, weights)[0],
        "sensitivity": ratio(tp, tp + fn),
        "specificity": ratio(tn, tn + fp),
    }


def _drawn_anew(cells: Scored, number: int) -> PeopleIntervals | None:
    """Intervals of people as cards and reports name them, drawn anew; ``None`` where they are unknown, or only one."""
    people = people_of(cells.subjects, cells.identities, cells.keys)
    parts = [_weighted(cells, weights) for weights in resamples(people, len(cells.labels), PEOPLE, number)]
    if people is None or not parts:
        return None
    found = {name: percentile_interval(np.concatenate([part[name] for part in parts])) for name in parts[0]}
    return PeopleIntervals(len(set(people)), number, found["accuracy"], found["f1_weighted"], found["auroc"])


def _identities(cells: Scored, right: NDArray[np.bool_]) -> tuple[IdentityScore, ...]:
    rows = []
    for name in sorted({name for name in cells.identities if name is not None}):
        mine = np.array([identity == name for identity in cells.identities])
        n, correct = int(mine.sum()), int(right[mine].sum())
        rows.append(IdentityScore(name, n, int((cells.labels[mine] == 1).sum()), correct, correct / n))
    return tuple(sorted(rows, key=lambda row: (row.accuracy, -row.n, row.identity)))


def in_words(scores: Scores, who: str) -> list[str]:
    """The scores as lines of text; ``who`` names the people that were drawn anew: people, or subject ids."""
    low, high = scores.accuracy_interval
    lines = [
        f"  accuracy {scores.accuracy:.1%} ({low:.1%} to {high:.1%}, Wilson, as if cells were independent)",
        f"  weighted F1 {_number(scores.f1_weighted)}, AUROC {_number(scores.auroc)}",
    ]
    if scores.by_people is not None:
        drawn = scores.by_people
        for name, found in (("accuracy", drawn.accuracy), ("weighted F1", drawn.f1_weighted), ("AUROC", drawn.auroc)):
            lines.append(f"  {name}: {_interval(found)} when the {drawn.people} {who} are drawn anew")
    if scores.identities:
        worst, called = scores.identities[0], "identity" if who == "people" else "subject id"
        lines.append(f"  worst {called}: {worst.identity}, {worst.correct} of {worst.n} right")
    return lines


def _number(value: float | None) -> str:
    return "undefined" if value is None else f"{value:.3f}"


def _interval(pair: Interval | None) -> str:
    return "undefined" if pair is None else f"{pair[0]:.3f} to {pair[1]:.3f}"
