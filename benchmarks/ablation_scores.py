"""Scores of an ablation's predictions, seed by seed, over weights of identities: all of them once, or drawn anew.

Accuracy, weighted F1 and each identity's accuracy are over all folds of a seed together; AUROC is the mean over its
folds, whose logits come from different networks. A fold that a draw leaves without one of the classes has no AUROC and
is left out of the mean.
"""

from collections.abc import Sequence
from functools import reduce
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import special

from benchmarks.ablation_settings import NAME, OLD_FOLDS, TOGETHER
from contract.bootstrap import PEOPLE, Weights, ratio, resamples, weighted_f1, weighted_ranks
from contract.errors import UserError

CELL = ["seed", "fold", "key"]  # which cell of which split: keys come again in every fold
COLUMNS = {*CELL, "label", "logit", "identity", "unseen", "setting", "minutes"}
CHUNK = 50  # draws at once
TEXT = {"identity": str, "subject": str, "key": str}  # as it is written: "NA" may be a person
LEAST = 20  # cells of an identity whose accuracy is a number of its own
Values = dict[str, NDArray[np.float64]]  # by score


def read_table(file: Path) -> pd.DataFrame:
    """Predictions of one file, whatever wrote them; raises ``UserError`` for one that is no table."""
    try:
        return pd.read_csv(file, dtype=TEXT, keep_default_na=False, na_values=[""])
    except (ValueError, OSError) as error:  # pandas' own errors of an empty or ragged file are ValueErrors
        raise UserError(f"{file}: no table of predictions: {' '.join(str(error).split())}") from None


def read(files: Sequence[Path], setting: str | None = None) -> pd.DataFrame:
    """The predictions of all files, which are of ``setting`` where one is named.

    Raises ``UserError`` for a file that is none or is of another setting, and for one that comes twice.
    """
    tables = []
    for file in files:
        table = read_table(file)
        named = NAME.fullmatch(file.name)
        if not set(table.columns) >= COLUMNS or named is None or set(table.fold) - {int(named["fold"])}:
            raise UserError(f"{file}: not predictions of benchmarks/ablation.py")
        others = sorted(set(table.setting) - {setting})
        if setting is not None and others:
            raise UserError(f"{file}: named as {setting}, but its rows are of {', '.join(others)}")
        table["folds"] = int(named["folds"] or OLD_FOLDS)
        if named["folds"] is None and int(named["fold"]) > OLD_FOLDS:
            raise UserError(f"{file}: an old name, which stands for {OLD_FOLDS} folds, and fold {named['fold']}")
        tables.append(table)
    whole = pd.concat(tables, ignore_index=True)
    if whole.duplicated(["setting", "unseen", *CELL]).any():
        raise UserError(f"{files[0].parent}: a setting has two predictions of one cell, seed and fold")
    return whole


def together(tables: pd.DataFrame, setting: str) -> pd.DataFrame:
    """Predictions of the members of "A+B" together: the mean of their probabilities, cell by cell; minutes add up."""
    members = paired(tables, *setting.split(TOGETHER))
    logits = np.stack([member.logit for member in members])
    blast, normal = (special.logsumexp(special.log_expit(sign * logits), axis=0) for sign in (1, -1))
    minutes = np.sum([member.minutes for member in members], axis=0)
    return members[0].assign(setting=setting, logit=blast - normal, minutes=minutes)  # logs: a probability ends at 1.0


def people_of(table: pd.DataFrame) -> list[str]:
    """The identities of a table, in the order of the columns of their weights."""
    return sorted(set(table.identity))


def drawn_anew(people: Sequence[str]) -> Weights:
    """How often each identity is drawn, as in reports: float64 ``[2000, P]``; ``[0, P]`` where there is only one."""
    return np.concatenate([np.zeros((0, len(people))), *resamples(people, len(people), PEOPLE)])


def by_seed(table: pd.DataFrame, people: Sequence[str], weights: Weights) -> Values:
    """Every score of every seed and row of ``weights`` ``[B, P]`` of the ``people``: float64 ``[S, B]``."""
    seeds = [_scores(part, people, weights) for _, part in table.groupby("seed")]
    return {name: np.stack([seed[name] for seed in seeds]) for name in seeds[0]}


def _scores(table: pd.DataFrame, people: Sequence[str], weights: Weights) -> Values:
    place = np.searchsorted(np.array(people), table.identity.to_numpy(str))
    blast, logit, fold = (table.label == 1).to_numpy(), table.logit.to_numpy(float), table.fold.to_numpy()
    called = logit > 0
    kinds = (blast & called, ~blast & called, blast & ~called, ~blast & ~called)
    counts = np.stack([np.bincount(place, kind, minlength=len(people)) for kind in kinds], axis=1)  # by identity
    tp, fp, fn, tn = (weights @ counts).T
    cells = counts.sum(axis=1)
    judged = cells >= LEAST
    median, worst = _median_and_worst((counts[:, 0] + counts[:, 3])[judged] / cells[judged], weights[:, judged])
    return {
        "accuracy": ratio(tp + tn, tp + fp + fn + tn),
        "F1": weighted_f1(tp, fp, fn, tn),
        "AUROC": mean_of_defined(
            np.stack([_auroc(blast[mine], logit[mine], place[mine], weights) for mine in _parts(fold)])
        ),
        "median": median,
        "worst": worst,
    }


def _auroc(blast: NDArray[np.bool_], logit: NDArray[np.float64], place: NDArray[np.int64], weights: Weights) -> NDArray:
    """Of one fold, some draws at a time: a weight a cell and draw is large."""
    parts = (weights[i : i + CHUNK, place] for i in range(0, len(weights), CHUNK))
    return np.concatenate([np.zeros(0), *(weighted_ranks(blast, logit, part)[0] for part in parts)])


def _parts(fold: NDArray[np.int64]) -> list[NDArray[np.bool_]]:
    return [fold == number for number in np.unique(fold)]


def mean_of_defined(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """The mean over the first axis of what is not NaN; NaN where nothing is left."""
    there = ~np.isnan(values)
    return ratio(np.where(there, values, 0.0).sum(axis=0), there.sum(axis=0).astype(np.float64))


def _median_and_worst(accuracy: NDArray[np.float64], weights: Weights) -> tuple[NDArray, NDArray]:
    """Of identities with ``accuracy`` ``[P]``, each as often as ``weights`` ``[B, P]`` says: twice float64 ``[B]``."""
    order = np.argsort(accuracy, kind="stable")
    padded = np.append(accuracy[order], np.nan)  # the place behind the last: where nobody was drawn
    passed = np.cumsum(weights[:, order], axis=1)
    count = weights[:, order].sum(axis=1)
    at = lambda k: padded[(passed <= k[:, None]).sum(axis=1)]  # noqa: E731  # the k-th of them, from 0
    return (at((count - 1) // 2) + at(count // 2)) / 2, at(np.zeros_like(count))


def paired(tables: pd.DataFrame, *settings: str) -> tuple[pd.DataFrame, ...]:
    """The cells that all settings judged, row by row the same; raises ``UserError`` for none, or for other people."""
    parts = [tables[tables.setting == setting].set_index(CELL) for setting in settings]
    common = reduce(lambda found, part: found.intersection(part.index), parts, parts[0].index)
    first, *others = parts = [part.loc[common].reset_index() for part in parts]
    if common.empty:
        raise UserError(f"{', '.join(settings[1:])}: no cell, seed and fold in common with {settings[0]}")
    for name, other in zip(settings[1:], others, strict=True):
        if not first[["label", "identity"]].equals(other[["label", "identity"]]):
            raise UserError(f"{name}: its folds hold other cells than those of {settings[0]}: of another dataset")
    return tuple(parts)
