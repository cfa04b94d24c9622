"""Predictions of ablations, reports and baselines as one table, and the accuracy of a part of it with its interval."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from glob import glob
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from benchmarks.ablation_scores import COLUMNS as ABLATION
from benchmarks.ablation_scores import read_table
from benchmarks.ablation_settings import NAME
from contract.bootstrap import PEOPLE, Interval, Weights, percentile_interval, resamples, weighted_share
from contract.errors import UserError
from contract.files import read_text
from contract.manifest import Manifest

SCORED = {"key", "label", "verdict", "subject", "identity"}  # of a report's, or the baseline's, predictions_valid.csv

JOIN = "+"  # between the ids of one person in an identity

Score = Callable[[Weights], NDArray[np.float64]]  # of each row of weights ``[B, N]``: float64 ``[B]``


@dataclass(frozen=True)
class Accuracy:
    """A share of right verdicts, with its 95 % interval when people are drawn anew."""

    value: float
    low: float
    high: float
    n: int  # verdicts; a cell counts once a seed
    people: int

    def __str__(self) -> str:
        return f"{100 * self.value:.1f} % ({100 * self.low:.1f} to {100 * self.high:.1f})"


def read_files(*patterns: str) -> pd.DataFrame:
    """Every file that a pattern matches, once: columns ``person``, ``right``, ``unseen``, ``seed``, ``file``, ``run``.

    ``unseen`` is None where a file does not say whether its people were in training. ``run`` tells what may not be
    pooled: an ablation's setting, and what its file's name says besides seed and fold; the name of a report's file.
    Raises ``UserError`` where a pattern matches nothing, and for a file that is neither an ablation's nor a report's.
    """
    paths: dict[Path, None] = {}
    for pattern in patterns:
        found = sorted(map(Path, glob(pattern)))
        if not found:
            raise UserError(f"{pattern}: no such file")
        paths |= dict.fromkeys(found)
    return pd.concat([_read(path) for path in paths], ignore_index=True)


def _read(path: Path) -> pd.DataFrame:
    table = read_table(path)
    if set(table.columns) >= ABLATION:
        right, person, unseen, seed = (table.logit > 0) == (table.label == 1), table.identity, table.unseen, table.seed
        run = table.setting + _named(path)
    elif set(table.columns) >= SCORED and table.label.notna().all():
        person = table.identity.fillna(table.subject).fillna(table.key)
        right, unseen, seed = table.verdict == table.label, None, pd.Series(0, table.index)
        run = pd.Series(path.stem, table.index)
    else:
        raise UserError(f"{path}: neither predictions of benchmarks/ablation.py nor of a labelled split of a report")
    columns = {"person": person, "right": right, "unseen": unseen, "seed": seed, "file": str(path), "run": run}
    return pd.DataFrame(columns)


def read_identities(manifest: Path) -> dict[str, str]:
    """Who each subject id is; raises ``UserError`` for a manifest of shards that were not split by identity."""
    joined = Manifest.from_json(read_text(manifest), str(manifest)).identities
    if not joined:
        raise UserError(f"{manifest}: knows no identities: name shards that were split by identity")
    return joined


def _named(path: Path) -> str:
    """What an ablation's file name says of the network, its seed and its fold left out."""
    named = NAME.fullmatch(path.name)
    if named is None:
        return ""
    folds = f", {named['folds']} folds, {named['definition']}" if named["folds"] else ""
    return f" ({named['arch']}, {named['size']} px, {named['epochs']} epochs{folds})"


def estimate(people: Sequence[str], score: Score) -> tuple[float, Interval | None]:
    """A score of all cells, and its 95 % interval, people drawn anew: None where they are too few for one."""
    value = float(score(np.ones((1, len(people))))[0])
    drawn = [score(weights) for weights in resamples(people, len(people), PEOPLE)]
    return value, percentile_interval(np.concatenate(drawn)) if drawn else None


def price(seen: pd.DataFrame, unseen: pd.DataFrame) -> tuple[float, Interval | None]:
    """Accuracy on people seen less that on people never seen, and its 95 % interval, the people of both drawn anew.

    Raises ``UserError`` where one person goes by an id on one side and by joined ids ("51+75+78") on the other.
    """
    sides = set(seen.person), set(unseen.person)
    for some, others in (sides, sides[::-1]):
        for name in sorted(some - others):
            if JOIN in name and (apart := sorted({*name.split(JOIN)} & others)):
                raise UserError(f"{apart[0]} on one side is {name} on the other: join the ids by --identities MANIFEST")
    both = pd.concat([seen, unseen], ignore_index=True)
    right, known = both.right.to_numpy(bool), np.arange(len(both)) < len(seen)
    less = lambda w: weighted_share(right, known, w) - weighted_share(right, ~known, w)  # noqa: E731
    return estimate(both.person.tolist(), less)


def accuracy(table: pd.DataFrame) -> Accuracy:
    """Of all verdicts together, seeds and folds pooled; the interval as in reports.

    Raises ``UserError`` where there are fewer than two people to draw anew.
    """
    right, people = table.right.to_numpy(bool), table.person.tolist()
    value, bounds = estimate(people, lambda weights: weighted_share(right, np.ones_like(right), weights))
    if bounds is None:
        raise UserError(f"{table.file.iloc[0]}: one person's cells alone have no interval over people")
    return Accuracy(value, *bounds, len(right), len(set(people)))
