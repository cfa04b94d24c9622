"""Scores of each subject id, and the majority vote per id."""

import numpy as np
from numpy.typing import NDArray

from contract.interval import wilson_interval
from evaluate.predictions import Predictions
from evaluate.report_record import SubjectRow, Vote


def subject_rows(found: Predictions) -> tuple[SubjectRow, ...]:
    """One row a subject id, the least accurate first, then those of more cells, then by name; () if unknown."""
    subjects, number = np.unique([subject or "" for subject in found.cells.subjects], return_inverse=True)
    rows = [_row(found, str(s), np.flatnonzero(number == i)) for i, s in enumerate(subjects) if s]
    return tuple(sorted(rows, key=lambda row: (row.accuracy, -row.n, row.subject)))


def _row(found: Predictions, subject: str, cells: NDArray[np.int64]) -> SubjectRow:
    labels, verdicts = found.labels[cells], found.verdicts[cells]
    n, blasts, called, correct = len(cells), int(labels.sum()), int(verdicts.sum()), int((labels == verdicts).sum())
    return SubjectRow(
        subject=subject,
        identity=found.cells.identities[cells[0]],
        n=n,
        blasts=blasts,
        called_blast=called,
        correct=correct,
        accuracy=correct / n,
        interval=wilson_interval(correct, n),
        probability=float(found.probability[cells].astype(np.float64).mean()),
        vote=None if 2 * called == n else int(2 * called > n),
        truth=1 if blasts == n else 0 if blasts == 0 else None,
    )


def majority_vote(rows: tuple[SubjectRow, ...]) -> Vote | None:
    """How often most of an id's verdicts are right; a tie is wrong; ``None`` where there is nobody to vote on."""
    voters = [row for row in rows if row.truth is not None]
    if not voters:
        return None
    correct = sum(row.vote == row.truth for row in voters)
    return Vote(
        n=len(voters),
        correct=correct,
        ties=sum(row.vote is None for row in voters),
        mixed=len(rows) - len(voters),
        accuracy=correct / len(voters),
        interval=wilson_interval(correct, len(voters)),
    )
