"""Classes that are called otherwise than normal and blast: pictures and the page say their names."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from two_networks import write_network

from contract.model_card import ModelCard
from evaluate.cell_image import read_cell
from evaluate.classify import classify, open_networks
from evaluate.curves import draw_decision
from evaluate.demo import Demo, demo
from evaluate.figures import draw_gallery
from evaluate.gallery import error_picture
from evaluate.report_record import ConfidentError
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


def test_the_axis_of_the_decision_curve() -> None:
    said = SimpleNamespace(labels=np.array([0, 1]), probability=np.array([0.2, 0.9], np.float32))
    (axes,) = draw_decision({"resnet18": said}, NAMES).axes  # type: ignore[dict-item]
    assert axes.get_xlabel() == "threshold probability: P(ALL) from which one would act"


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
    assert "P(blast)" not in page
