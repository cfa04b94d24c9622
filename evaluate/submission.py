"""CSVs of predictions: for a Kaggle board, and with probabilities for people."""

import csv
import io
from collections.abc import Iterable, Sequence
from pathlib import Path, PurePosixPath

from contract.errors import UserError
from contract.manifest import Manifest, Submission
from contract.publish import publish_text


def wanted_order(manifest: Manifest, split: str, arch: str) -> Submission:
    """The list of IDs to predict: that of the network's own test CSV, else the only list of the split.

    Raises ``UserError`` where the split has lists of other networks only.
    """
    lists = [submission for submission in manifest.submissions if submission.split == split]
    for submission in lists:
        if submission.name in (arch, split):
            return submission
    raise UserError(f"split {split!r}: no test CSV for {arch}: there are {', '.join(s.name for s in lists) or 'none'}")


def plain(i: str) -> str:
    """An ID without "./" and doubled slashes: two boards may spell one image's path in two ways."""
    return str(PurePosixPath(i))


def write_submission(path: Path, ids: Sequence[str], label_of: dict[str, int]) -> None:
    """Write ``ID,label``, in the order of ``ids`` and as they spell it; ``label_of`` is keyed by ``plain`` IDs.

    Raises ``UserError`` naming the first ID that stands twice or has no prediction.
    """
    _check(path, ids, label_of)
    _write(path, ("ID", "label"), ((i, label_of[plain(i)]) for i in ids))


def write_predictions(
    path: Path, ids: Sequence[str], label_of: dict[str, int], probability_of: dict[str, float]
) -> None:
    """Write ``ID,label,probability``, in the order of ``ids``; the probability is that of label 1, 6 digits."""
    _check(path, ids, label_of)
    _write(
        path, ("ID", "label", "probability"), ((i, label_of[plain(i)], f"{probability_of[plain(i)]:.6f}") for i in ids)
    )


def _check(path: Path, ids: Sequence[str], label_of: dict[str, int]) -> None:
    seen: set[str] = set()
    for i in ids:
        if plain(i) not in label_of:
            raise UserError(f"{path}: the ID {i!r} is asked for and is not in the shards")
        if plain(i) in seen:
            raise UserError(f"{path}: the ID {i!r} is asked for twice")
        seen.add(plain(i))


def _write(path: Path, header: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    publish_text(path, text.getvalue())
