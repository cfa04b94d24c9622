"""The summary in the terminal: each score stands in its column."""

from dataclasses import replace
from pathlib import Path

import pytest
from finished_report import network, record

from contract.record import to_json
from evaluate.report_record import Estimate
from evaluate.summary import Summary, print_summary


def test_a_row_has_accuracy_its_interval_sensitivity_and_specificity(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    one = network("resnet18", 0.9)
    scores = replace(one.scores, sensitivity=Estimate(0.811, None, None), specificity=Estimate(0.322, None, None))
    whole = record(networks={"resnet18": replace(one, scores=scores)})
    (tmp_path / "report").mkdir()
    (tmp_path / "report" / "metrics.json").write_text(to_json(whole))
    print_summary(Summary(tmp_path))
    (row,) = [line for line in capsys.readouterr().out.splitlines() if "resnet18" in line and "90.0" in line]
    cells = [cell.strip() for cell in row.strip("│┃").split("│")]
    assert cells[1:5] == ["90.0%", "50.0% to 75.0%", "81.1%", "32.2%"]
