"""Contact sheets drawn again: which cells the networks see, from how many sides, and when they need not look."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from finished_report import record

import evaluate.sheets
from contract.errors import UserError
from evaluate.predictions import Cells, Predictions
from evaluate.sheets import _look_again, redraw_sheets

CELLS = Cells(("a", "b", "c"), ("1", "2", "3"), ("A", "B", "C"), (None,) * 3, (0, 1, 1))


def _right(cells: Cells) -> Predictions:
    p = np.array(cells.labels, np.float32)
    return Predictions(cells, None, p, p, p.astype(np.int64))


def test_each_network_looks_at_the_shown_cells_alone_where_its_own_shards_hold_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    own: Any = SimpleNamespace(path="own", cells=lambda _: CELLS.at([2, 0, 1]), reader=lambda split: f"own {split}")
    columns: Any = SimpleNamespace(networks={"resnet18": "network"}, shards={"resnet18": own}, orientations=8)
    monkeypatch.setattr(evaluate.sheets, "look_of", lambda network, sides: f"{network} of {sides} sides")
    monkeypatch.setattr(evaluate.sheets, "predict_split", lambda *given: given)
    asked = _look_again(columns, "valid", CELLS, [1, 2])["resnet18"]
    assert asked[:4] == ("network of 8 sides", "own valid", CELLS.at([1, 2]), [2, 0])  # type: ignore[index]


def test_where_nothing_is_wrong_no_network_looks_and_other_cells_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    columns = SimpleNamespace(folders=(SimpleNamespace(cells=lambda _: CELLS),))
    monkeypatch.setattr(evaluate.sheets, "_columns", lambda *_: columns)
    monkeypatch.setattr(evaluate.sheets, "_look_again", lambda *_: pytest.fail("looked"))
    where = (Path("a"), (Path("shards"),), "cpu")
    assert redraw_sheets(record(), {"resnet18": _right(CELLS)}, *where) == {}
    other = {"resnet18": _right(CELLS), "resnet50": _right(CELLS.at([0, 2, 1]))}
    with pytest.raises(UserError, match=r"predictions_valid_resnet50\.csv: does not list the cells of shards"):
        redraw_sheets(record(), other, *where)
