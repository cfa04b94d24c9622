"""Accuracy and loss of every epoch, as ``history.csv``."""

import csv
import io
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from contract.errors import UserError
from contract.publish import publish_text

NAME = "history.csv"


@dataclass(frozen=True)
class Epoch:
    """One row: the training phase sees augmented images and current weights, the testing phase EMA weights on valid."""

    epoch: int  # counted from 1
    train_loss: float
    train_accuracy: float  # share of 0..1
    valid_loss: float
    valid_accuracy: float
    lr: float  # at the epoch's end
    size: int  # px a side that the training phase saw
    seconds: float
    images_per_second: float  # of the training phase


def write_history(path: Path, rows: list[Epoch]) -> None:
    """Write all rows by rename."""
    text = io.StringIO()
    writer = csv.DictWriter(text, [field.name for field in fields(Epoch)], lineterminator="\n")
    writer.writeheader()
    writer.writerows({k: round(v, 6) if isinstance(v, float) else v for k, v in asdict(row).items()} for row in rows)
    publish_text(path, text.getvalue())


def read_history(path: Path) -> list[Epoch]:
    """Read the rows back; raises ``UserError`` for a file that is not a history."""
    kinds = {field.name: field.type for field in fields(Epoch)}
    try:
        with path.open(newline="", encoding="utf-8") as file:
            rows = [Epoch(**{k: kinds[k](v) for k, v in row.items()}) for row in csv.DictReader(file)]  # type: ignore[operator]
    except (KeyError, TypeError, ValueError, OSError):
        raise UserError(f"{path}: not a history of training") from None
    if not rows:
        raise UserError(f"{path}: not a history of training: without a row")
    return rows
