"""The curve of a report is that of the exported network's own training."""

from dataclasses import replace
from pathlib import Path

import pytest
from finished_report import network

from contract.errors import UserError
from evaluate.history import read_history, refuse_other_training
from evaluate.report_record import EpochAccuracy
from evaluate.scoring import _histories

HEADER = "epoch,train_loss,train_accuracy,valid_loss,valid_accuracy,size\n"
GROWING = HEADER + "1,1,0.5,0.6,0.90,48\n2,1,0.6,0.6,0.80,64\n3,1,0.7,0.5,0.85,64\n"  # the best of 64 px is 3

UNCLOSED = HEADER + '"' + "1,1,0.5,0.6,0.9,48\n" * 10_000  # one field, longer than Python's reader takes


def _written(tmp_path: Path, text: str) -> Path:
    (tmp_path / "history.csv").write_text(text)
    return tmp_path / "history.csv"


def test_rows_are_read_as_accuracy_by_epoch(tmp_path: Path) -> None:
    found = read_history(_written(tmp_path, GROWING))
    assert found[2] == EpochAccuracy(3, 0.7, 0.85)
    assert len(found) == 3


@pytest.mark.parametrize(
    "text",
    [
        "",
        HEADER,
        "epoch\n1\n",
        HEADER + "1,1,0.5,0.6,nan,48\n",
        HEADER + "1,1,text,0.6,0.9,48\n",
        HEADER + "1,1\n",
        HEADER + "1,1,50,0.6,90,48\n",  # per cent
        HEADER + "1.5,1,0.5,0.6,0.9,48\n",
        HEADER + "0,1,0.5,0.6,0.9,48\n",
        HEADER + "1e300,1,0.5,0.6,0.9,48\n",
        HEADER + "1,1,0.5,0.6,0.9,48\n" * 2,  # an epoch twice
        UNCLOSED,
    ],
)
def test_what_is_no_history_is_named(tmp_path: Path, text: str) -> None:
    with pytest.raises(UserError, match=r"history\.csv: not a history of training"):
        read_history(_written(tmp_path, text))
    (tmp_path / "history.csv").write_bytes(b"\xff\xfe")
    with pytest.raises(UserError, match=r"history\.csv: cannot be read: not UTF-8"):
        read_history(tmp_path / "history.csv")


@pytest.mark.parametrize(
    ("added", "epoch", "best"),
    [
        ("", 3, None),
        ("", 1, 3),  # more accurate, but at a smaller size
        ("", 9, 3),  # the history of a shorter training
        ("4,1,0.8,0.5,0.86,64\n", 3, 4),  # trained on
        ("4,1,0.8,0.5,0.84,64\n", 3, None),  # trained on for nothing: the weights are the same
        ("4,1,0.8,0.4,0.85,64\n", 3, 4),  # as accurate, of lower loss
        ("4,1,0.8,0.5,0.85,64\n", 4, None),  # equal to the file's digits
    ],
)
def test_an_export_of_another_epoch_than_the_best_is_refused(
    tmp_path: Path, added: str, epoch: int, best: int | None
) -> None:
    path = _written(tmp_path, GROWING + added)
    if best is None:
        refuse_other_training(path, epoch, "resnet18/model.onnx")
        return
    with pytest.raises(UserError, match=rf"its best epoch is {best}, resnet18/model\.onnx holds epoch {epoch} "):
        refuse_other_training(path, epoch, "resnet18/model.onnx")


def test_a_report_refuses_the_curve_of_a_longer_training(tmp_path: Path) -> None:
    (tmp_path / "resnet18").mkdir()
    _written(tmp_path / "resnet18", GROWING)
    column = network("resnet18", 0.9)
    assert column.file is not None
    column = replace(column, file=replace(column.file, card={**column.file.card, "epoch": 3}))
    assert list(_histories({"resnet18": column, "resnet50": column}, tmp_path)) == ["resnet18"]
    _written(tmp_path / "resnet18", GROWING + "4,1,0.8,0.4,0.9,64\n")
    with pytest.raises(UserError, match=r"export the network again"):
        _histories({"resnet18": column}, tmp_path)


def test_a_history_in_the_folder_of_no_network_is_not_of_the_report(tmp_path: Path) -> None:
    # A record with its curve could not be drawn again: evaluate.record_check refuses it.
    (tmp_path / "ensemble").mkdir()
    _written(tmp_path / "ensemble", GROWING)
    column = replace(network("resnet18", 0.9), file=None)
    assert _histories({"ensemble": column}, tmp_path) == {}
