"""history.csv: comes back as it was written, and nothing else is taken for one."""

import math
from dataclasses import fields, replace
from pathlib import Path

import pytest

from contract.errors import UserError
from train.config import Config
from train.history import Epoch, best_epoch, finished, not_bettered, read_history, write_history

ROWS = [
    Epoch(1, 0.693147, 0.5, 0.7, 0.416667, 0.55, 0.25, 0.025, 40, 1.5, 120.25),
    Epoch(2, 0.5, 0.75, 0.601, 0.833333, 0.9, 0.8, 0.05, 40, 1.25, 140.0),
]


def test_rows_come_back_as_they_were(tmp_path: Path) -> None:
    write_history(tmp_path / "history.csv", ROWS)
    found = read_history(tmp_path / "history.csv")
    assert found == ROWS
    assert all(type(row.epoch) is int and type(row.size) is int and type(row.seconds) is float for row in found)


def test_file_has_one_named_column_a_field_and_six_decimals(tmp_path: Path) -> None:
    write_history(tmp_path / "history.csv", [Epoch(1, 1 / 3, 2 / 3, 0.1, 0.2, 0.6, 0.7, 0.3, 40, 1.0, 2.0)])
    header, row, end = (tmp_path / "history.csv").read_bytes().decode().split("\n")
    assert header.split(",") == [field.name for field in fields(Epoch)]
    assert row == "1,0.333333,0.666667,0.1,0.2,0.6,0.7,0.3,40,1.0,2.0"
    assert end == ""


def test_rows_that_stand_there_already_are_not_written_again(tmp_path: Path) -> None:
    # Whatever was made of the file would look older than it.
    path = tmp_path / "history.csv"
    files = []
    for rows in (ROWS[:1], ROWS[:1], ROWS):
        write_history(path, rows)
        files.append(path.stat().st_ino)
    assert files[0] == files[1] != files[2]


def test_a_history_without_a_row_is_refused(tmp_path: Path) -> None:
    write_history(tmp_path / "history.csv", [])
    with pytest.raises(UserError, match="without a row"):
        read_history(tmp_path / "history.csv")


HEADER = ",".join(field.name for field in fields(Epoch))


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"a,b\n1,2\n",
        b"\x89PNG\r\n\x1a\n\xff",
        f"{HEADER}\n1,0.5,0.5\n".encode(),
        f"{HEADER}\n1,0.5,0.5,0.5,0.5,0.5,0.5,0.1,40,1.0,2.0,3.0\n".encode(),
        f"{HEADER}\none,0.5,0.5,0.5,0.5,0.5,0.5,0.1,40,1.0,2.0\n".encode(),
    ],
    ids=["empty", "other columns", "binary", "cut row", "long row", "word for a number"],
)
def test_other_file_is_refused_by_name(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "history.csv"
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"history\.csv: (not a history|cannot be read: not UTF-8 text)"):
        read_history(path)


@pytest.mark.parametrize("epochs", [(1, 1), (-1, 1), (0, 1), (2, 1), (1, 10**400)])
def test_epochs_that_no_run_counts_are_refused(epochs: tuple[int, int], tmp_path: Path) -> None:
    rows = [replace(row, epoch=epoch) for row, epoch in zip(ROWS, epochs, strict=True)]
    write_history(tmp_path / "history.csv", rows)
    with pytest.raises(UserError, match=r"history\.csv: not a history of training: its epochs do not rise from 1 on"):
        read_history(tmp_path / "history.csv")


def test_missing_file_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"history\.csv: no such file"):
        read_history(tmp_path / "history.csv")


def row(epoch: int, accuracy: float, loss: float = 0.5, size: int = 40) -> Epoch:
    return Epoch(epoch, 0.5, 0.5, loss, accuracy, 0.9, accuracy, 0.1, size, 1.0, 100.0)


@pytest.mark.parametrize(
    ("rows", "best"),
    [
        ([row(1, 0.8, 0.5), row(2, 0.9, 0.9), row(3, 0.85, 0.1)], 2),
        ([row(1, 0.9, 0.5), row(2, 0.9, 0.4), row(3, 0.9, 0.45)], 2),
        ([row(1, 0.9, 0.4), row(2, 0.9, 0.4)], 1),
    ],
    ids=["higher accuracy", "then lower loss", "then earlier"],
)
def test_best_epoch_goes_by_accuracy_then_loss_then_order(rows: list[Epoch], best: int) -> None:
    assert best_epoch(rows).epoch == best


def test_the_best_epoch_is_one_of_the_largest_size() -> None:
    small = row(1, 0.9, 0.3, size=33)
    full = row(2, 0.8, 0.4)
    assert best_epoch([small]) is small
    assert best_epoch([small, full]) is full


@pytest.mark.parametrize(
    ("accuracies", "patience", "end"),
    [
        ([0.9, 0.8, 0.8], 0, False),
        ([0.9, 0.8, 0.8, 0.8], 0, True),
        ([0.9, 0.8], 2, False),
        ([0.9, 0.8, 0.8], 2, True),
        ([0.8, 0.9, 0.8], 2, False),
        ([], 1, False),
    ],
)
def test_run_ends_after_its_epochs_or_its_patience(accuracies: list[float], patience: int, end: bool) -> None:
    rows = [row(i + 1, accuracy) for i, accuracy in enumerate(accuracies)]
    assert finished(rows, Config(epochs=4, patience=patience)) is end


def test_patience_counts_from_the_best_epoch_of_the_largest_size() -> None:
    rows = [row(1, 0.9, size=33), row(2, 0.5), row(3, 0.4)]
    assert not finished(rows, Config(epochs=9, patience=2))
    assert finished([*rows, row(4, 0.4)], Config(epochs=9, patience=2))


@pytest.mark.parametrize(
    ("accuracies", "best"),
    [
        ([0.9, 0.8, 0.8], None),  # the first cycle is over
        ([0.9, 0.8, 0.8, 0.5, 0.6], None),  # worse than the first cycle, and better all the time
        ([0.9, 0.8, 0.8, 0.5, 0.6, 0.6], None),
        ([0.9, 0.8, 0.8, 0.5, 0.6, 0.6, 0.6], 5),
        ([0.9, 0.8, 0.8, 0.5, 0.6, 0.6, 0.7], None),
        ([0.9, 0.8, 0.8, 0.5, 0.6, 0.7, 0.8, 0.8, 0.8], None),  # all epochs are done
    ],
)
def test_patience_counts_anew_in_every_cycle(accuracies: list[float], best: int | None) -> None:
    rows, config = (
        [row(i + 1, accuracy) for i, accuracy in enumerate(accuracies)],
        Config(epochs=3, cycles=2, patience=2),
    )
    assert not_bettered(rows, config) == (None if best is None else rows[best - 1])
    assert finished(rows, config) is (best is not None or len(rows) == 9)


def test_metrics_are_those_on_valid_that_are_defined() -> None:
    assert ROWS[1].metrics == {"valid_loss": 0.601, "valid_accuracy": 0.833333, "valid_auroc": 0.9, "valid_f1": 0.8}
    assert "valid_auroc" not in replace(ROWS[1], valid_auroc=float("nan")).metrics


def test_what_is_not_defined_comes_back_as_nan(tmp_path: Path) -> None:
    write_history(tmp_path / "history.csv", [replace(ROWS[1], valid_auroc=float("nan"))])
    assert math.isnan(read_history(tmp_path / "history.csv")[0].valid_auroc)
