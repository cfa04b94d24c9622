"""The baseline as a column of a report: its measured cells are joined by source, and decided by its card."""

import hashlib
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from contract.baseline import CARD, COLUMNS, NAME, BaselineCard, predictions_name
from contract.errors import UserError
from evaluate.baseline import Baseline, load_baseline
from evaluate.columns import Columns, _speaker
from evaluate.predictions import Cells

WANTED = Cells(("a", "b", "c"), ("1", "2", "3"), (None,) * 3, (None,) * 3, (0, 1, 1))


@pytest.fixture
def baseline(tmp_path: Path) -> Baseline:
    """Measured cells b, a, c, in that order; decides at 0.7."""
    rows = ["b,kb,,,1,0.6,0", "a,ka,,,0,0.2,0", "c,kc,,,1,0.8,1"]
    data = "\n".join([",".join(COLUMNS), *rows, ""]).encode()
    (tmp_path / predictions_name("valid")).write_bytes(data)
    files = {"valid": hashlib.sha256(data).hexdigest()}
    card = BaselineCard(1, "cells", ("normal", "blast"), ("m",), "trees", ("area",), 0, 0.7, (9,), {}, files)
    cells = Cells(("b", "a", "c"), ("kb", "ka", "kc"), (None,) * 3, (None,) * 3, (1, 0, 1))
    shards = SimpleNamespace(cells=lambda _: cells, reader=lambda _: SimpleNamespace(image=lambda i: i))
    return Baseline(tmp_path, card, shards)  # type: ignore[arg-type]


def test_the_baseline_is_joined_by_source_and_decides_by_its_card(baseline: Baseline) -> None:
    found = baseline.predictions("valid", WANTED)
    assert found.probability == pytest.approx([0.2, 0.6, 0.8])
    assert found.verdicts.tolist() == [0, 0, 1]
    assert [baseline.image("valid", WANTED, i) for i in range(3)] == [1, 0, 2]


@pytest.mark.parametrize("value", ["1.5", "-0.1", "nan"])
def test_a_probability_out_of_range_is_refused(value: str, baseline: Baseline) -> None:
    path = baseline.folder / predictions_name("valid")
    data = path.read_bytes().replace(b"0.6", value.encode())
    path.write_bytes(data)
    card = replace(baseline.card, files={"valid": hashlib.sha256(data).hexdigest()})
    with pytest.raises(UserError, match="a probability is not between 0 and 1"):
        replace(baseline, card=card).predictions("valid", WANTED)


def test_the_column_has_the_threshold_of_the_card(baseline: Baseline) -> None:
    speaker = _speaker(Columns((), {}, {}, baseline), NAME, baseline.folder)
    assert (speaker.threshold, speaker.baseline, speaker.temperature) == (0.7, baseline.card, None)


def test_a_baseline_of_other_classes_is_not_of_these_shards(baseline: Baseline) -> None:
    (baseline.folder / NAME).mkdir()
    (baseline.folder / NAME / CARD).write_text(baseline.card.to_json())

    def found(digest: str, *classes: str) -> Baseline | None:
        folder: Any = SimpleNamespace(path="there", manifest=SimpleNamespace(digest=digest, classes=classes))
        return load_baseline(baseline.folder, [folder])

    assert found("m", "normal", "blast") is not None
    for other in (("m", "HEM", "ALL"), ("another", "normal", "blast")):
        with pytest.raises(UserError, match=r"card\.json: was trained on other shards than there"):
            found(*other)


@pytest.mark.parametrize("text", ["", "ID,label\na,1\n"])
def test_a_listed_file_of_other_columns_is_refused(text: str, baseline: Baseline) -> None:
    (baseline.folder / predictions_name("valid")).write_text(text)
    card = replace(baseline.card, files={"valid": hashlib.sha256(text.encode()).hexdigest()})
    with pytest.raises(UserError, match=r"predictions_valid\.csv: its columns are not ID, key"):
        replace(baseline, card=card).predictions("valid", WANTED)
