"""A training's ``history.csv`` as a report reads it, and whether the exported network is of that training."""

import csv
import io
from itertools import pairwise
from pathlib import Path

from contract.errors import UserError
from contract.files import read_text
from evaluate.report_record import EpochAccuracy

LAST = 1e9  # no training has as many epochs


def read_history(path: Path) -> tuple[EpochAccuracy, ...]:
    """Accuracy per epoch; raises ``UserError`` for a file that is no history of training."""
    return tuple(
        EpochAccuracy(int(row["epoch"]), row["train_accuracy"], row["valid_accuracy"]) for row in _read_rows(path)
    )


def refuse_other_training(path: Path, epoch: int, model: str) -> None:
    """Raise ``UserError`` where the history's best epoch is not ``epoch``, whose weights the file ``model`` holds.

    The rule is that of training: of the epochs of the largest size the most accurate on valid, then that of the lower
    loss. Of equals, to the digits of the file, any will do.
    """
    standing = {
        int(row["epoch"]): (row.get("size", 0.0), row["valid_accuracy"], -row.get("valid_loss", 0.0))
        for row in _read_rows(path)
    }
    best = max(standing, key=lambda e: standing[e])
    if standing.get(epoch) != standing[best]:
        raise UserError(
            f"{path}: its best epoch is {best}, {model} holds epoch {epoch} of another training, or of it before it "
            "went on: export the network again (make export FORCE=1)"
        )


def _read_rows(path: Path) -> list[dict[str, float]]:
    """By column, as numbers; a column that is there must hold one in every row."""
    names, text = ("epoch", "train_accuracy", "valid_accuracy", "valid_loss", "size"), read_text(path)
    try:
        found = list(csv.DictReader(io.StringIO(text)))
        rows = [{name: float(row[name]) for name in names if name in row} for row in found]
        shares = [row[name] for row in rows for name in names[1:3]]
        if rows and _are_epochs([row["epoch"] for row in rows]) and all(0 <= share <= 1 for share in shares):
            return rows
    except (KeyError, TypeError, ValueError, csv.Error):
        pass
    raise UserError(f"{path}: not a history of training (epoch, train_accuracy, valid_accuracy)")


def _are_epochs(found: list[float]) -> bool:
    """Whole numbers from 1 on, each above the last one; NaN is none."""
    rising = all(before < after for before, after in pairwise([0.0, *found]))
    return rising and all(epoch.is_integer() and epoch < LAST for epoch in found)
