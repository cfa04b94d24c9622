"""The summary in the terminal: each score stands in its column."""

from dataclasses import replace
from pathlib import Path

import pytest
from finished_report import network, record

from contract.record import to_json
from evaluate.report_record import Bootstrap, Estimate, ReportRecord
from evaluate.summary import Summary, print_summary


def summarise(whole: ReportRecord, artifacts: Path) -> None:
    (artifacts / "report").mkdir()
    (artifacts / "report" / "metrics.json").write_text(to_json(whole))
    print_summary(Summary(artifacts))


def test_a_row_has_accuracy_its_interval_sensitivity_and_specificity(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    one = network("resnet18", 0.9)
    scores = replace(one.scores, sensitivity=Estimate(0.811, None, None), specificity=Estimate(0.322, None, None))
    whole = record(networks={"resnet18": replace(one, scores=scores)})
    summarise(whole, tmp_path)
    (row,) = [line for line in capsys.readouterr().out.splitlines() if "resnet18" in line and "90.0" in line]
    cells = [cell.strip() for cell in row.strip("│┃").split("│")]
    assert cells[1:5] == ["90.0%", "50.0% to 75.0%", "81.1%", "32.2%"]


def test_weighted_f1_and_auroc_stand_last_and_then_notes_and_files(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    one = network("resnet18", 0.9)
    scores = replace(one.scores, f1_weighted=Estimate(0.4321, None, None), auroc=Estimate(0.8764, None, None))
    files = ("accuracy.png", "predictions_test_resnet18.csv", "submission_resnet18.csv")
    whole = record(networks={"resnet18": replace(one, scores=scores)}, files=files)
    (tmp_path / "comparison").mkdir()
    (tmp_path / "comparison" / "accuracy.png").touch()
    summarise(whole, tmp_path)
    lines = capsys.readouterr().out.splitlines()
    cells = [[cell.strip() for cell in line.replace("┃", "│").strip("│").split("│")] for line in lines]
    head, row = (next(line for line in cells if line[0] == name) for name in ("network", "resnet18"))
    assert head == ["network", "accuracy", "95 % (people)", "sens.", "spec.", "weighted F1", "AUROC"]
    assert row[-2:] == ["0.432", "0.876"]
    assert "note: 2 of the 3 people are in train too." in lines
    assert any(line.startswith("note: no classical baseline stands beside the networks") for line in lines)
    report = tmp_path / "report"
    shown = [tmp_path / "comparison" / "accuracy.png", report / "submission_resnet18.csv"]
    assert lines[-4:] == [str(path) for path in (*shown, report / "metrics.json", report / "index.html")]


def test_where_no_people_are_drawn_the_interval_is_of_images(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    one = network("resnet18", 0.9)
    one = replace(one, scores=replace(one.scores, accuracy=Estimate(0.9, None, (0.6, 0.7))))
    whole = record(networks={"resnet18": one, "baseline": one}, bootstrap=Bootstrap(0.95, 100, 0, "subject", 1))
    summarise(whole, tmp_path)
    printed = capsys.readouterr().out
    assert "95 % (images)" in printed
    assert "60.0% to 70.0%" in printed
    assert "no classical baseline" not in printed


def test_what_a_record_says_steers_no_terminal(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    whole = record(networks={"resnet18": network("resnet18", 0.9)}, notes=("a \x1b[2J note",))
    whole = replace(whole, dataset=replace(whole.dataset, name="cells \x1b]0;title\x07"))
    summarise(whole, tmp_path)
    printed = capsys.readouterr().out
    assert "note: a \ufffd[2J note\n" in printed
    assert "cells \ufffd]0;title\ufffd: valid" in printed
    assert "\x1b" not in printed
