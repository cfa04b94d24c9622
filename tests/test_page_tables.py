"""Every number of the page stands below its head and beside its name."""

import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest
from finished_report import network, record

from evaluate.metrics import NAMES
from evaluate.report_page import render_page
from evaluate.report_record import (
    ConfidentError,
    Estimate,
    Network,
    Pair,
    Reliability,
    ReportRecord,
    Scores,
    SubjectRow,
    ThresholdRow,
    Verdicts,
    Vote,
)

SHARES = {
    "accuracy": "accuracy",
    "balanced accuracy": "balanced_accuracy",
    "sensitivity": "sensitivity",
    "specificity": "specificity",
    "PPV (precision)": "ppv",
    "NPV": "npv",
    "F1 of blasts": "f1",
    "weighted F1": "f1_weighted",
}
NUMBERS = {
    "MCC": "mcc",
    "AUROC": "auroc",
    "AUPRC": "auprc",
    "Brier (lower is better)": "brier",
    "ECE (lower is better; intervals too high)": "ece",
}
ERROR = ConfidentError("gallery_resnet18_01.png", "valid-000003", "cells/3.bmp", "H7", 0, 1, 0.987)


class _Page(HTMLParser):
    """Tables as rows of texts, by caption; lists of facts as texts by name, in the page's order."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tables: dict[str, list[list[str]]] = {}
        self.facts: list[dict[str, str]] = []
        self._rows: list[list[str]] = []
        self._text, self._name, self._caption = "", "", ""
        self.feed(html)

    def handle_starttag(self, tag: str, _: object) -> None:
        if tag in ("caption", "th", "td", "dt", "dd"):
            self._text = ""
        elif tag == "dl":
            self.facts.append({})
        elif tag == "table":
            self._rows = []
        elif tag == "tr":
            self._rows.append([])

    def handle_data(self, data: str) -> None:
        self._text += data

    def handle_endtag(self, tag: str) -> None:
        text = " ".join(self._text.split())
        if tag == "caption":
            self.tables[text] = self._rows
        elif tag in ("th", "td"):
            self._rows[-1].append(text)
        elif tag == "dt":
            self._name = text
        elif tag == "dd":
            self.facts[-1][self._name] = text

    def table(self, caption: str) -> list[dict[str, str]]:
        """The rows of the only table whose caption begins so, by head."""
        ((head, *rows),) = [rows for text, rows in self.tables.items() if text.startswith(caption)]
        return [dict(zip(head, row, strict=True)) for row in rows]


def _column(name: str, start: float) -> Network:
    """A column no two of whose numbers are equal."""
    one = network(name, None)
    scores = {}
    for k, score in enumerate(NAMES):
        value = start + 0.03 * k
        scores[score] = Estimate(value, (value - 0.02, value + 0.025), (value - 0.01, value + 0.015))
    people = (
        SubjectRow("H7", "H7", 5, 0, 3, 2, 0.4, (0.1, 0.8), 0.6, 1, 0),
        SubjectRow("3", "3+4", 4, 4, 2, 2, 0.5, (0.2, 0.8), 0.5, None, 1),
        SubjectRow("4", "3+4", 1, 1, 1, 1, 1.0, (0.2, 1.0), 0.9, 1, 1),
    )
    rows = (
        ThresholdRow("0.4", 0.4, 8, 0.91, 0.22, 0.33, None),
        ThresholdRow("operating", 0.45, 7, 0.81, 0.32, 0.43, 0.54),
    )
    return replace(
        one,
        file=None if one.file is None else replace(one.file, card=one.file.card | {"dataset": "cells"}),
        members=("resnet18",) if one.file is None else (),
        threshold=0.45,
        scores=Scores(**scores),
        before=Reliability(0.211, 0.122, ()),
        after=Reliability(0.133, 0.044, ()),
        thresholds=rows,
        subjects=people,
        vote=Vote(9, 6, 1, 2, 6 / 9, (0.35, 0.88)),
        errors=(ERROR,) if name == "resnet18" else (),
        unlabelled={"test": Verdicts(20, 5, 15)},
    )


@pytest.fixture(scope="module")
def made() -> ReportRecord:
    columns = {"resnet18": _column("resnet18", 0.3), "ensemble": _column("ensemble", 0.31)}
    pair = Pair("resnet18", "ensemble", 0.9, 0.8, 5, 2, 1, 3, 0.0421, 0.0842)
    return record(networks=columns, pairs=(pair,), history={})


@pytest.fixture(scope="module")
def html(made: ReportRecord) -> str:
    drawn = ("intervals", "confusion_resnet18", "confusion_ensemble", "reliability", "thresholds", "decision")
    return render_page(made, dict.fromkeys((*drawn, "subjects", "agreement"), "<svg></svg>"), {ERROR.picture: b"png"})


@pytest.fixture(scope="module")
def page(html: str) -> _Page:
    return _Page(html)


def test_each_score_stands_beside_its_name_people_s_interval_before_that_of_images(
    page: _Page, made: ReportRecord
) -> None:
    rows = {row["score"]: row for row in page.table("Scores at each network's operating threshold.")}
    assert list(rows) == [*SHARES, *NUMBERS]
    for head, score in (SHARES | NUMBERS).items():
        for name, column in made.networks.items():
            e = getattr(column.scores, score)
            numbers = (e.value, *e.clustered, *e.by_image)
            if head in SHARES:
                wanted = "{:.1f} % {:.1f} to {:.1f} {:.1f} to {:.1f}".format(*(100 * value for value in numbers))
            else:
                wanted = "{:.3f} {:.3f} to {:.3f} {:.3f} to {:.3f}".format(*numbers)
            assert rows[head][name] == wanted, (head, name)


def test_the_facts_and_the_cards_say_what_their_names_say(page: _Page, html: str) -> None:
    facts, card, other, *_ = page.facts
    assert facts == {
        "split": "valid",
        "cells": "10",
        "normal": "4",
        "blast": "6",
        "subject ids": "3",
        "people behind them": "2",
        "people in train too": "1",
    }
    assert card == {
        "95 % interval, by people": "28.0 to 32.5",
        "95 % interval, by images": "29.0 to 31.5",
        "sensitivity": "36.0 %",
        "specificity": "39.0 %",
        "weighted F1": "0.510",
        "AUROC": "0.570",
        "majority vote per subject id": "6 of 9",
    }
    assert other["sensitivity"] == "37.0 %"
    lead = " ".join(re.sub(r"<[^>]+>", "", html).split())
    assert "Highest accuracy on this split: ensemble, right on 31.0 % of 10 cells" in lead
    assert "finding 37.0 % of the blasts and clearing 40.0 % of the normal cells." in lead
    assert "the interval of its accuracy is 1.8 times as wide" in lead


def test_calibration_thresholds_votes_and_pairs_stand_below_their_heads(page: _Page) -> None:
    first, ensemble = page.table("Calibration before and after temperature")
    assert ensemble["temperature"] == "that of its members"
    heads = ("Brier before", "Brier after", "ECE before", "ECE after")
    assert [first[head] for head in heads] == ["0.211", "0.133", "0.122", "0.044"]
    low, operating = page.table("resnet18: rates in percent at each threshold")
    assert low == {
        "threshold": "0.400",
        "": "",
        "called blast": "8",
        "sens.": "91.0",
        "spec.": "22.0",
        "PPV": "33.0",
        "NPV": "undefined",
    }
    assert list(operating.values()) == ["0.450", "operating", "7", "81.0", "32.0", "43.0", "54.0"]
    vote, _ = page.table("Majority vote per subject id")
    assert list(vote.values())[1:] == ["6 of 9", "66.7 %", "35.0 to 88.0", "1", "2"]
    assert list(vote)[4:] == ["ties", "with cells of both classes, left out"]
    (pair,) = page.table("McNemar's test")
    assert pair == {
        "pair": "resnet18, ensemble",
        "both right": "5",
        "only the first": "2",
        "only the second": "1",
        "both wrong": "3",
        "p": "0.042",
        "p (Holm)": "0.084",
    }


def test_people_and_unlabelled_splits_stand_below_their_heads(page: _Page, html: str) -> None:
    worst, tie, right = page.table("Right verdicts of each subject id's cells")
    assert worst == {
        "subject id": "H7",
        "person": "H7",
        "class": "normal",
        "cells": "5",
        "resnet18": "2 · 40 % (blast)",
        "ensemble": "2 · 40 % (blast)",
    }
    assert list(tie.values())[:5] == ["3", "3+4", "blast", "4", "2 · 50 % (tie)"]
    assert right["resnet18"] == "1 · 100 %"
    assert page.table("Cells called blast, of all cells") == [
        {"split": "test", "resnet18": "5 of 20 (25.0 %)", "ensemble": "5 of 20 (25.0 %)"}
    ]
    text = " ".join(re.sub(r"<[^>]+>", "", html).split())
    assert "H7 (40 % of 5 cells, normal), 3 (50 % of 4 cells, blast), 4 (100 % of 1 cell, blast)." in text


def test_an_error_says_what_it_is_and_what_it_was_called(html: str) -> None:
    text = " ".join(re.sub(r"<[^>]+>", "", html).split())
    assert "normal called blast P(blast) 0.987, subject H7 cells/3.bmp" in text
    assert f'<img src="data:image/png;base64,cG5n" alt="Cell {ERROR.key} of subject H7' in html
    assert "ensemble None: every verdict on this split is right." in text


def test_the_files_that_spoke_are_listed_with_their_threshold(page: _Page, made: ReportRecord) -> None:
    network_row, ensemble_row = page.table("The files that spoke")
    file = made.networks["resnet18"].file
    assert file is not None
    assert network_row["file, size, SHA-256"] == f"resnet18/model.onnx, 44.7 MB{file.sha256}"
    assert network_row["decides"].startswith("P ≥ 0.450balanced")
    assert network_row["training"] == "cellssees 112 px, crop native of 288 px, stain macenkoepoch 2, seed 7"
    assert ensemble_row["file, size, SHA-256"] == "mean of the calibrated probabilities of resnet18"
