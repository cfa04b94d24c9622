"""The CSVs of docs/results/course/: what a column says of the cells of an unlabelled split, short and in its order."""

from evaluate.predictions import Predictions, csv_text
from evaluate.submission import HEADER as OF_A_BOARD

HEADER = ("ID", "label", "probability")


def published(split: str, name: str, found: Predictions) -> dict[str, bytes]:
    """By file name: ``predictions_NAME.csv`` of test beside its submission, ``<split>_NAME.csv`` of any other split."""
    if split != "test":
        return {f"{split}_{name}.csv": table(found).encode()}
    return {f"predictions_{name}.csv": table(found).encode(), f"submission_{name}.csv": submission(found)}


def table(found: Predictions) -> str:
    """``ID,label,probability``: the verdict and the calibrated probability of each cell, in the file's order."""
    rows = zip(found.cells.ids, found.verdicts.tolist(), (f"{p:.6f}" for p in found.probability), strict=True)
    return csv_text(HEADER, rows)


def submission(found: Predictions) -> bytes:
    """``ID,label``, as a board takes it."""
    return csv_text(OF_A_BOARD, zip(found.cells.ids, found.verdicts.tolist(), strict=True)).encode()
