"""Classes that are called otherwise than normal and blast: pictures and the page say their names."""

import re
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from finished_report import record
from matplotlib.text import Text
from two_networks import write_network

from contract.model_card import ModelCard
from evaluate.cell_image import read_cell
from evaluate.charts import draw_intervals
from evaluate.classify import classify, open_networks
from evaluate.curves import draw_decision, draw_precision_recall, draw_reliability, draw_roc, draw_thresholds
from evaluate.demo import Demo, demo
from evaluate.figures import draw_gallery
from evaluate.gallery import error_picture
from evaluate.paper_tables import part_tables
from evaluate.report_page import render_page
from evaluate.report_record import ConfidentError, ReportRecord
from evaluate.web import PAGE
from evaluate.web_page import describe_image

NAMES = ("HEM", "ALL")


@pytest.fixture
def artifacts(card: ModelCard, tmp_path: Path) -> Path:
    """A network that tells HEM and ALL apart."""
    write_network(tmp_path / "artifacts", replace(card, classes=NAMES), 1)
    return tmp_path / "artifacts"


@pytest.fixture
def image(synthetic_data: Path) -> Path:
    return synthetic_data / "synthetic" / "valid" / "1.bmp"


@pytest.fixture
def whole() -> ReportRecord:
    """A finished report on HEM and ALL."""
    return record(dataset=replace(record().dataset, classes=NAMES))


def test_the_curves(whole: ReportRecord) -> None:
    labels = np.array([0, 1] * 30)
    said = SimpleNamespace(labels=labels, probability=(0.2 + 0.6 * labels).astype(np.float32))
    found: Any = dict.fromkeys(whole.networks, said)
    for figure, words in (
        (draw_roc(found, whole), ["1 - specificity (HEM cells called ALL)", "sensitivity (ALLs found)"]),
        (draw_precision_recall(found, whole), ["Precision and recall; dotted: share of ALLs, "]),
        (draw_reliability(whole.networks, NAMES), ["probability of a ALL", "share of ALLs"]),
        (draw_thresholds(found, whole), ["threshold of the calibrated probability of a ALL"]),
        (draw_intervals(whole), ["F1 of ALLs"]),
        (
            draw_decision(found, NAMES),
            [
                "call every cell a ALL",
                "call no cell a ALL",
                "net benefit (ALLs found per cell, less false alarms)",
                "threshold probability: P(ALL) from which one would act",
            ],
        ),
    ):
        texts = [text.get_text() for text in figure.findobj(Text)]
        assert all(any(text.startswith(word) for text in texts) for word in words), texts
        assert not any("blast" in text or "normal" in text for text in texts)


def test_the_page_and_the_paper_of_the_report(whole: ReportRecord) -> None:
    one = whole.networks["resnet18"]
    assert one.file is not None
    file = replace(one.file, card=one.file.card | {"dataset": "cells", "manifest_digest": "c" * 64})
    alone = replace(whole, networks={"resnet18": replace(one, file=file)}, pairs=(), history={})
    figures = ("intervals", "reliability", "thresholds", "decision", "confusion_resnet18")
    html = render_page(alone, dict.fromkeys(figures, ""), {})
    for words in ("F1 of ALLs", "Share of ALLs among", "weighs ALLs found"):
        assert words in html
    assert part_tables(whole)["results-accuracy"][1]["head"][-2] == "F1 of ALLs"


def test_the_errors_of_the_report() -> None:
    error = ConfidentError("1.png", "valid-000001", "1.bmp", None, 0, 1, 0.9)
    picture = error_picture(np.full((33, 33, 3), 200, np.uint8), np.ones((33, 33), np.float32))
    figure = draw_gallery("resnet18", (error,), NAMES, {"1.png": picture})
    assert figure.axes[0].get_title() == "valid-000001\nHEM, called ALL: P(ALL) 0.900"


def test_the_pictures_of_the_demo(artifacts: Path, image: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[tuple[Any, ...]] = []
    monkeypatch.setattr("evaluate.figures.draw_activation", lambda *given: drawn.append(given))
    demo(Demo((image,), artifacts, (), device="cpu"))
    ((_, maps, classes, *_),) = drawn
    (caption,) = maps
    assert "P(ALL) 0." in caption
    assert classes == NAMES


def test_the_web_page(artifacts: Path, image: Path) -> None:
    networks = open_networks(artifacts, (), "cpu", 1, int8=False)
    assert describe_image(classify(read_cell(image), networks, "cell"))["classes"] == ["HEM", "ALL"]
    page = (PAGE / "page.js").read_text(encoding="utf-8")
    assert page.count("P(${answer.classes[1]})") == 2
    assert "blast" not in page
    text = (PAGE / "index.html").read_text(encoding="utf-8")
    blast, normal = 'data-label="1">blast<', 'data-label="0">normal<'  # until the networks' names are there
    assert re.findall(r".{15}(?i:blast|normal).", text) == [blast, normal, blast, blast, normal]
