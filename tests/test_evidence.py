"""Evidence is one thing wherever it is shown: the same pixels in the demo's picture, on the page and in the report."""

import base64
import re
from pathlib import Path

import cv2
import matplotlib
import numpy as np
import pytest
from matplotlib.figure import Figure
from numpy.typing import NDArray

from build_shards.synthetic import draw_cell
from contract.model_card import ModelCard
from evaluate import figures, report_page, web, web_page
from evaluate.classify import Opinion
from evaluate.evidence import BLAST, NORMAL, OPACITY, evidence_of, legend, mean_evidence, paint_evidence, reach_of
from evaluate.gallery import error_picture, split_picture
from evaluate.predictor import Predictor

BLUE, ORANGE, WHITE = np.array([0, 114, 178]), np.array([213, 94, 0]), np.array([255, 255, 255])


@pytest.fixture
def cell() -> NDArray[np.uint8]:
    small = cv2.resize(draw_cell(1, 0.0, np.random.default_rng(0)), (56, 56), interpolation=cv2.INTER_NEAREST)
    small[28, 28] = (200, 0, 90)  # of the cell, although a channel is 0
    return small.astype(np.uint8)


@pytest.fixture
def evidence() -> NDArray[np.float32]:
    return np.random.default_rng(1).normal(0, 3, (7, 7)).astype(np.float32)


def _by_hand(crop: NDArray[np.uint8], evidence: NDArray[np.float32]) -> NDArray[np.float64]:
    """One pixel after another, in Python's own floats."""
    side, reach = len(evidence), float(np.abs(evidence).max())
    painted = np.empty((side, side, 3))
    for y in range(side):
        for x in range(side):
            pixel, share = crop[y * len(crop) // side, x * len(crop) // side], float(evidence[y, x]) / reach
            grey = float(pixel.mean()) if pixel.any() else 255.0
            end = ORANGE if share > 0 else BLUE
            painted[y, x] = 0.6 * (WHITE + abs(share) * (end - WHITE)) + 0.4 * grey
    return painted


@pytest.mark.parametrize("side", [56, 112])
def test_every_pixel_is_the_one_made_by_hand(cell: NDArray[np.uint8], evidence: NDArray[np.float32], side: int) -> None:
    large = mean_evidence([evidence], side)
    painted = paint_evidence(cell, large)
    assert painted.shape == (side, side, 3)
    np.testing.assert_allclose(painted, _by_hand(cell, large), atol=0.5 + 1e-4)


def test_orange_for_a_blast_blue_for_normal_white_for_neither() -> None:
    black = np.zeros((2, 2, 3), np.uint8)
    painted = paint_evidence(black, np.array([[2, -2], [0, 1]], np.float32))
    assert (painted[0, 0] == np.rint(0.6 * ORANGE + 0.4 * 255)).all()
    assert (painted[0, 1] == np.rint(0.6 * BLUE + 0.4 * 255)).all()
    assert (painted[1, 0] == 255).all()
    assert (paint_evidence(black, np.zeros((2, 2), np.float32)) == 255).all()


def test_evidence_is_the_log_odds_of_the_probability_beside_it(three: Path, card: ModelCard) -> None:
    """Up to a constant of the network, whatever the cell; and a temperature is never forgotten."""
    predictor = Predictor(next(three.glob("*/model.onnx")), "cpu", 1)
    images = np.random.default_rng(0).integers(1, 256, (4, card.recipe.size, card.recipe.size, 3), dtype=np.uint8)
    said, temperature = predictor.predict(images), predictor.card.temperature
    odds = np.log(said.probability.astype(np.float64)) - np.log1p(-said.probability.astype(np.float64))
    constants = odds - [evidence_of(cam, temperature).mean() for cam in said.cam]
    assert np.ptp(constants) == pytest.approx(0, abs=1e-3)
    assert evidence_of(said.cam[0], 2.0) * 2 == pytest.approx(evidence_of(said.cam[0], 1.0))


def test_the_mean_over_networks_is_of_their_evidence() -> None:
    one, other = np.full((2, 2), 4, np.float32), np.full((3, 3), -2, np.float32)
    assert mean_evidence([one, other], 8) == pytest.approx(np.ones((8, 8)))


def test_report_page_and_demo_show_the_same_pixels(
    cell: NDArray[np.uint8], evidence: NDArray[np.float32], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(web_page, "SIDE", 56)
    monkeypatch.setattr(figures, "MAP", 56)
    painted = paint_evidence(cell, mean_evidence([evidence], 56))

    shown, in_report = split_picture(error_picture(cell, mean_evidence([evidence], 56)))
    assert (shown == cell).all()
    assert (in_report == painted).all()

    opinion = Opinion(1, "blast", 0.9, 0.45, 1.5, evidence, cell)
    told = web_page._describe_opinion("resnet18", opinion)
    url = told.pop("map")
    assert list(told.values()) == ["resnet18", 1, "blast", 0.9, 0.45, 1.5]
    png = np.frombuffer(base64.b64decode(url.removeprefix("data:image/png;base64,")), np.uint8)
    assert (cv2.imdecode(png, cv2.IMREAD_COLOR)[:, :, ::-1] == painted).all()

    in_demo = _demo_figure(cell, evidence, monkeypatch, tmp_path).axes[1].images[0]
    assert (np.asarray(in_demo.get_array()) == painted).all()


def test_the_demo_s_scale_has_the_colours_of_its_map(
    cell: NDArray[np.uint8], evidence: NDArray[np.float32], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    bar = _demo_figure(cell, evidence, monkeypatch, tmp_path).axes[-1]
    reach = reach_of(mean_evidence([evidence], figures.MAP))
    assert bar.get_xlim() == pytest.approx((-reach, reach))
    steps = np.linspace(-1, 1, 256, dtype=np.float32)[None]  # as many as a colour map of matplotlib's has
    on_white = paint_evidence(np.zeros((1, 256, 3), np.uint8), steps).astype(int)
    (drawn,) = [c for c in bar.collections if isinstance(c, matplotlib.collections.QuadMesh)]
    colours = drawn.cmap(np.linspace(0, 1, 256))[:, :3]
    assert drawn.get_alpha() == OPACITY
    assert np.abs(on_white[0] - 255 * (OPACITY * colours + 1 - OPACITY)).max() <= 1
    assert bar.get_xlabel() == "evidence: normal ← 0 → blast (log odds)"
    bar = _demo_figure(cell, evidence, monkeypatch, tmp_path, ("HEM", "ALL")).axes[-1]
    assert bar.get_xlabel() == "evidence: HEM ← 0 → ALL (log odds)"


def _demo_figure(
    cell: NDArray[np.uint8],
    evidence: NDArray[np.float32],
    monkeypatch: pytest.MonkeyPatch,
    folder: Path,
    classes: tuple[str, ...] = ("normal", "blast"),
) -> Figure:
    drawn: list[Figure] = []
    monkeypatch.setattr(figures, "png_bytes", lambda figure: drawn.append(figure) or b"")
    other = 255 - cell  # as another network sees it
    figures.draw_activation(other, {"resnet18": (cell, evidence)}, classes, "one", folder / "one.png")
    return drawn[0]


@pytest.mark.parametrize(
    ("css", "normal", "blast"),
    [
        (web.PAGE / "page.css", "--normal-fill: {}", "--blast-fill: {}"),
        (report_page.TEMPLATES / "page.css", ".swatch.normal {{ background: {}", ".swatch.blast {{ background: {}"),
    ],
)
def test_the_pages_legends_have_the_colours_of_the_maps(css: Path, normal: str, blast: str) -> None:
    """A style sheet cannot import them."""
    text = css.read_text(encoding="utf-8")
    assert normal.format(NORMAL) in text
    assert blast.format(BLAST) in text


def test_the_legend_names_the_classes_in_the_order_of_their_labels() -> None:
    assert re.search("blue for HEM, orange for ALL", legend(("HEM", "ALL")))
