"""The CSVs of docs/results/course/: what a column says of the cells of an unlabelled split, short and in its order."""

import csv
import io
from collections.abc import Iterable

from evaluate.predictions import Predictions

HEADER = ("ID", "label", "probability")


def published(split: str, name: str, found: Predictions) -> dict[str, bytes]:
    """By file name: ``predictions_NAME.csv`` of test beside its submission, ``<split>_NAME.csv`` of any other split."""
    if split != "test":
        return {f"{split}_{name}.csv": table(found).encode()}
    return {f"predictions_{name}.csv": table(found).encode(), f"submission_{name}.csv": submission(found)}


def table(found: Predictions) -> str:
    """``ID,label,probability``: the verdict and the calibrated probability of each cell, in the file's order."""
    rows = zip(found.cells.ids, found.verdicts.tolist(), (f"{p:.6f}" for p in found.probability), strict=True)
    return _csv(HEADER, rows)


def submission(found: Predictions) -> bytes:
    """``ID,label``, as a board takes it."""
    return _csv(("ID", "label"), zip(found.cells.ids, found.verdicts.tolist(), strict=True)).encode()


def _csv(header: tuple[str, ...], rows: Iterable[tuple[object, ...]]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    return text.getvalue()
