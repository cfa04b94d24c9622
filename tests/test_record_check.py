"""A metrics.json that reads well and does not hang together is refused before anything is drawn of it."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from finished_report import artifacts, record, words

from contract.baseline import BaselineCard
from contract.errors import UserError
from contract.record import to_json
from evaluate.paper import Paper, paper
from evaluate.publish import Publish, publish
from evaluate.record_check import check_record
from evaluate.report import Page, page
from evaluate.report_record import SubjectRow, Verdicts, load_record
from evaluate.stale import check_networks

__all__ = ["artifacts", "words"]  # fixtures

ROW = {"n": 1, "blasts": 1, "called_blast": 1, "correct": 1, "accuracy": 1, "interval": [0, 1], "probability": 1}

ERROR = {"picture": "a.png", "key": "1", "source": "1.bmp", "subject": None, "label": 0, "verdict": 1, "probability": 1}


def _edit(artifacts: Path, place: str, value: Any) -> None:
    path = artifacts / "report" / "metrics.json"
    whole = part = json.loads(path.read_text(encoding="utf-8"))
    *outer, last = place.split()
    for key in outer:
        part = part[key]
    part[last] = value
    path.write_text(json.dumps(whole), encoding="utf-8")


@pytest.mark.parametrize(
    ("place", "value", "rule"),
    [
        ("networks", {}, "networks: must be known columns, one of them a network"),
        ("networks resnet34", None, "networks: must be known columns"),
        ("networks resnet18 subjects", [{"subject": "1", "identity": None, "vote": 1, "truth": 1, **ROW}], "subjects"),
        ("networks resnet18 errors", [{**ERROR, "verdict": 2}], r"networks\.resnet18: labels must be 0 and 1"),
        ("networks resnet18 errors", [{**ERROR, "label": -1}], r"networks\.resnet18: labels must be 0 and 1"),
        ("networks resnet18 file card", {}, r"networks\.resnet18: file\.card must be a network's"),
        ("networks resnet18 file card mean", "x", r"networks\.resnet18: file\.card must be a network's"),
        ("history resnet18", [], "history: must be of known networks, an epoch at least"),
        ("history resnet34", [{"epoch": 1, "train": 0.5, "valid": 0.5}], "history: must be of known networks"),
        ("dataset classes", ["normal"], r"dataset\.classes: must be two names"),
        ("networks resnet18 scores auprc value", None, r"networks\.resnet18: auroc and auprc must both be known"),
        ("networks resnet18 unlabelled", {"test": {"n": 1, "blasts": 1, "normals": 0}}, "their unlabelled splits must"),
        ("date", "today", "date: must be YYYY-MM-DD"),
        ("pairs", [{**vars(record().pairs[0]), "a": "resnet34"}], "pairs: must be of networks that it has"),
    ],
)
def test_what_does_not_hang_together_is_told_by_its_rule(
    artifacts: Path, words: Path, place: str, value: Any, rule: str
) -> None:
    if place == "networks resnet34":
        value = json.loads(record().to_json())["networks"]["resnet18"]
    _edit(artifacts, place, value)
    with pytest.raises(UserError, match=rf"report/metrics\.json: .*{rule}"):
        paper(Paper("0123456", "Ada", words, artifacts))


def test_the_page_looks_too(artifacts: Path) -> None:
    _edit(artifacts, "date", "2026-13-04")
    with pytest.raises(UserError, match="date: must be YYYY-MM-DD"):
        page(Page(artifacts))


def test_publishing_does_as_well(artifacts: Path, tmp_path: Path) -> None:
    (artifacts / "report" / "metrics.json").write_text(to_json(record(networks={}, pairs=(), history={})))
    with pytest.raises(UserError, match=r"metrics\.json: networks: must be known columns, one of them a network"):
        publish(Publish(artifacts, tmp_path / "out", incomplete=True))
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("path", ["../else/model.onnx", "a\0b", "a" * 5000])
def test_a_network_s_file_lies_where_it_belongs(artifacts: Path, path: str) -> None:
    _edit(artifacts, "networks resnet18 file path", path)
    made = load_record(artifacts / "report")
    with pytest.raises(UserError, match=r"metrics\.json: networks\.resnet18\.file\.path must be resnet18/model\.onnx"):
        check_networks(made, artifacts, may_lack=True)


def _rows(**changes: Any) -> tuple[SubjectRow, ...]:
    return (SubjectRow(**{"subject": "1", "identity": None, **ROW, "vote": 1, "truth": 1, **changes}),)


@pytest.mark.parametrize("changes", [{"vote": 2}, {"truth": -1}])
def test_the_votes_and_truths_of_people_are_labels_or_unknown(changes: dict[str, int], tmp_path: Path) -> None:
    one = record().networks["resnet18"]
    for rows in (_rows(), _rows(vote=None, truth=None)):
        check_record(record(networks={"resnet18": replace(one, subjects=rows)}, pairs=(), history={}), tmp_path)
    wrong = replace(one, subjects=_rows(**changes))
    with pytest.raises(UserError, match=r"networks\.resnet18: labels must be 0 and 1"):
        check_record(record(networks={"resnet18": wrong}, pairs=(), history={}), tmp_path)


def _without(card: dict[str, Any], *path: str) -> dict[str, Any]:
    first, *rest = path
    return {k: _without(v, *rest) if rest and k == first else v for k, v in card.items() if rest or k != first}


def test_what_a_page_says_of_a_network_its_card_must_have(tmp_path: Path) -> None:
    one = record().networks["resnet18"]
    assert one.file is not None
    paths = (
        "epoch",
        "seed",
        "training",
        "mean",
        "std",
        *(f"recipe {key}" for key in ("stain", "crop", "size", "window")),
    )
    cards = [_without(one.file.card, *path.split()) for path in paths]
    for card in (*cards, {**one.file.card, "temperature": "1"}):
        wrong = replace(one, file=replace(one.file, card=card))
        with pytest.raises(UserError, match=r"networks\.resnet18: file\.card must be a network's"):
            check_record(record(networks={"resnet18": wrong}, pairs=(), history={}), tmp_path)


def test_a_split_without_a_cell_and_a_baseline_trained_on_nothing_are_refused(tmp_path: Path) -> None:
    card = BaselineCard(1, "cells", ("normal", "blast"), ("c" * 64,), "trees", ("area",), 0, 0.5, (), {}, {})
    changes: dict[str, dict[str, Any]] = {
        r"^\S+: networks: their unlabelled splits must be the same, a cell": {
            "unlabelled": {"test": Verdicts(0, 0, 0)}
        },
        r"^\S+: networks\.resnet18: baseline\.trained_on must be a number": {"baseline": card},
    }
    for rule, changed in changes.items():
        network = replace(record().networks["resnet18"], **changed)
        with pytest.raises(UserError, match=rule):
            check_record(record(networks={"resnet18": network}, pairs=(), history={}), tmp_path)
