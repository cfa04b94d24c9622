"""Submissions for a Kaggle board: exactly the IDs and the order of its test CSV, checked before they are written."""

import csv
import io
from collections import Counter
from collections.abc import Sequence

from contract.baseline import NAME as BASELINE
from contract.errors import UserError
from contract.manifest import Manifest, Submission
from evaluate.predictions import csv_text, plain
from evaluate.report_record import ARCHS, ENSEMBLE

HEADER = ("ID", "label")


def wanted_order(manifest: Manifest, split: str, name: str) -> Submission:
    """The list of IDs to predict: that of the network's own test CSV, else the only list of the split.

    The ensemble and the baseline have no board: each takes the split's own list, else the first network's.
    Raises ``UserError`` where the split has lists of other networks only.
    """
    lists = {submission.name: submission for submission in manifest.submissions if submission.split == split}
    for wanted in (name, split, *(ARCHS if name in (ENSEMBLE, BASELINE) else ())):
        if wanted in lists:
            return lists[wanted]
    raise UserError(f"split {split!r}: no test CSV for {name}: there are {', '.join(lists) or 'none'}")


def submission_name(split: str, name: str) -> str:
    """The file's name: ``submission_resnet18.csv`` for the split "test", else with the split's name."""
    return f"submission_{name}.csv" if split == "test" else f"submission_{split}_{name}.csv"


def check_wanted(wanted: Submission, known: Sequence[str]) -> None:
    """Raise ``UserError`` naming the first ID that a test CSV asks for twice, or that the shards do not hold."""
    held, seen = {plain(i) for i in known}, set()
    for i in wanted.ids:
        if plain(i) not in held:
            raise UserError(
                f"{wanted.name} test CSV: the ID {i!r} is asked for and is not in the shards ({wanted.split})"
            )
        if plain(i) in seen:
            raise UserError(f"{wanted.name} test CSV: the ID {i!r} is asked for twice")
        seen.add(plain(i))


def submission_text(wanted: Submission, verdict_of: dict[str, int], source: str) -> str:
    """``ID,label``, in the wanted order and spelling; ``verdict_of`` is keyed by ``plain`` IDs.

    The finished text is checked against the test CSV before it is returned; ``source`` names the file in errors.
    """
    check_wanted(wanted, list(verdict_of))
    text = csv_text(HEADER, ((i, verdict_of[plain(i)]) for i in wanted.ids))
    check_submission(text, wanted.ids, source, ordered=True)
    return text


def check_submission(text: str, wanted: Sequence[str], source: str, ordered: bool) -> Counter[str]:
    """Compare a submission with the IDs that its board asks for; returns how often each label stands there.

    Raises ``UserError`` naming the first ID that is missing, extra, double or, where ``ordered``, out of order, and a
    label other than 0 and 1.
    """
    try:
        header, *rows = [tuple(row) for row in csv.reader(io.StringIO(text))] or [()]
    except csv.Error as error:  # a quote that is never closed makes one field of all that follows
        raise UserError(f"{source}: not a CSV: {error}") from None
    if header != HEADER:
        raise UserError(f"{source}: the header is {','.join(header)!r}, it must be 'ID,label'")
    for number, row in enumerate(rows, 2):
        if len(row) != 2 or row[1] not in ("0", "1"):
            raise UserError(f"{source}: line {number}: {','.join(row)!r} is not an ID and a label of 0 or 1")
    _check_ids([row[0] for row in rows], wanted, source, ordered)
    return Counter(row[1] for row in rows)


def _check_ids(given: list[str], wanted: Sequence[str], source: str, ordered: bool) -> None:
    counts, asked = Counter(given), set(wanted)
    rules = [
        ("is missing: the test CSV asks for it", (i for i in wanted if i not in counts)),
        ("is extra: the test CSV does not ask for it", (i for i in given if i not in asked)),
        ("stands there twice", (i for i in given if counts[i] > 1)),
        ("is out of order", (i for i, w in zip(given, wanted, strict=False) if ordered and i != w)),
    ]
    for rule, offenders in rules:
        first = next(offenders, None)
        if first is not None:
            raise UserError(f"{source}: the ID {first!r} {rule}")
