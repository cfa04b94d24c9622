"""Accuracy and loss of every epoch, as ``history.csv``; which epoch is the best, and when the last one was."""

import csv
import io
import math
from contextlib import suppress
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from contract.errors import UserError
from contract.files import read_text
from contract.publish import publish_text
from train.config import Config
from train.schedule import all_epochs, cycle_of

NAME = "history.csv"
LAST = 1_000_000_000  # no training has as many epochs


@dataclass(frozen=True)
class Epoch:
    """One row: the training phase sees augmented images and current weights, the testing phase EMA weights on valid.

    In a refit (``--refit``), which learns valid too, there is no testing phase: its columns are NaN.
    """

    epoch: int  # counted from 1
    train_loss: float  # what is minimised, the second head's part included
    train_accuracy: float  # share of 0..1; of mixed cells, how often the label of the greater part is told
    valid_loss: float
    valid_accuracy: float
    valid_auroc: float  # NaN where valid has one class only
    valid_f1: float  # of both classes, weighted by their numbers of samples
    lr: float  # at the epoch's end
    size: int  # px a side that the training phase saw
    seconds: float
    images_per_second: float  # of the training phase

    @property
    def validated(self) -> bool:
        """Whether there was a testing phase."""
        return not math.isnan(self.valid_accuracy)

    @property
    def metrics(self) -> dict[str, float]:
        """Those on valid, by name, as a model card holds them: what is not defined is left out."""
        found = {name: value for name, value in vars(self).items() if name.startswith("valid_")}
        return {name: value for name, value in found.items() if math.isfinite(value)}


def best_epoch(history: list[Epoch]) -> Epoch:
    """The epoch of highest accuracy on valid; ties go to the lower loss, then to the earlier epoch.

    While sizes grow, epochs of the largest size so far count alone: only they know the cells' full scale. Without a
    testing phase (a refit) it is the last one.
    """
    if not history[-1].validated:
        return history[-1]
    largest = max(row.size for row in history)
    return min((row for row in history if row.size == largest), key=lambda row: (-row.valid_accuracy, row.valid_loss))


def finished(history: list[Epoch], config: Config) -> bool:
    """Whether all epochs are done, or patience has ended the run before."""
    return len(history) >= all_epochs(config) or not_bettered(history, config) is not None


def not_bettered(history: list[Epoch], config: Config) -> Epoch | None:
    """The best epoch where patience ends the run, as so many after it were no better; ``None`` where it goes on.

    Only the epochs of the cycle count that the next one belongs to: after a warm restart all are worse for a while. At
    the end of a cycle, and so of the run, there are none.
    """
    rows = history[cycle_of(config, len(history) + 1).before :]
    if not config.patience or not rows:
        return None
    best = best_epoch(rows)
    return best if len(history) - best.epoch >= config.patience else None


def write_history(path: Path, rows: list[Epoch]) -> None:
    """Write all rows by rename, unless they stand there already."""
    text = io.StringIO()
    writer = csv.DictWriter(text, [field.name for field in fields(Epoch)], lineterminator="\n")
    writer.writeheader()
    writer.writerows({k: round(v, 6) if isinstance(v, float) else v for k, v in asdict(row).items()} for row in rows)
    with suppress(OSError):  # what is not there or cannot be read is written
        if path.read_bytes() == text.getvalue().encode():
            return
    publish_text(path, text.getvalue())


def read_history(path: Path) -> list[Epoch]:
    """Read the rows back; raises ``UserError`` for a file that is not a history."""
    kinds, text = {field.name: field.type for field in fields(Epoch)}, read_text(path)
    try:
        rows = [Epoch(**{k: kinds[k](v) for k, v in row.items()}) for row in csv.DictReader(io.StringIO(text))]  # type: ignore[operator]
    except (KeyError, TypeError, ValueError, csv.Error):
        raise UserError(f"{path}: not a history of training") from None
    if not rows:
        raise UserError(f"{path}: not a history of training: without a row")
    if not all(before < row.epoch < LAST for before, row in zip([0, *(row.epoch for row in rows)], rows, strict=False)):
        raise UserError(f"{path}: not a history of training: its epochs do not rise from 1 on")
    return rows
