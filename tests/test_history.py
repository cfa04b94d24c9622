"""history.csv: comes back as it was written, and nothing else is taken for one."""

from dataclasses import fields
from pathlib import Path

import pytest

from contract.errors import UserError
from train.history import Epoch, read_history, write_history

ROWS = [
    Epoch(1, 0.693147, 0.5, 0.7, 0.416667, 0.025, 40, 1.5, 120.25),
    Epoch(2, 0.5, 0.75, 0.601, 0.833333, 0.05, 40, 1.25, 140.0),
]


def test_rows_come_back_as_they_were(tmp_path: Path) -> None:
    write_history(tmp_path / "history.csv", ROWS)
    found = read_history(tmp_path / "history.csv")
    assert found == ROWS
    assert all(type(row.epoch) is int and type(row.size) is int and type(row.seconds) is float for row in found)


def test_file_has_one_named_column_a_field_and_six_decimals(tmp_path: Path) -> None:
    write_history(tmp_path / "history.csv", [Epoch(1, 1 / 3, 2 / 3, 0.1, 0.2, 0.3, 40, 1.0, 2.0)])
    header, row, end = (tmp_path / "history.csv").read_bytes().decode().split("\n")
    assert header.split(",") == [field.name for field in fields(Epoch)]
    assert row == "1,0.333333,0.666667,0.1,0.2,0.3,40,1.0,2.0"
    assert end == ""


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
        f"{HEADER}\n1,0.5,0.5,0.5,0.5,0.1,40,1.0,2.0,3.0\n".encode(),
        f"{HEADER}\none,0.5,0.5,0.5,0.5,0.1,40,1.0,2.0\n".encode(),
    ],
    ids=["empty", "other columns", "binary", "cut row", "long row", "word for a number"],
)
def test_other_file_is_refused_by_name(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "history.csv"
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"history\.csv: not a history"):
        read_history(path)


def test_missing_file_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"history\.csv: not a history"):
        read_history(tmp_path / "history.csv")
