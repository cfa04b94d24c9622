"""Letters of names in pictures: drawn in a font that has them, told where none has, and Latin letters never differ."""

import matplotlib
import numpy as np
import pytest
from matplotlib import font_manager
from matplotlib.figure import Figure
from matplotlib.text import Text

from contract.fonts import INSTALL, OWN, families
from evaluate import letters
from evaluate.rendering import STYLE, render

needs_font = pytest.mark.skipif(families(font_manager) == [OWN], reason="no font with Chinese characters here")


@pytest.fixture(autouse=True)
def _forget() -> None:
    letters._note.cache_clear()


def _figure(name: str) -> Figure:
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(1, 1), layout="constrained")
        axes = figure.subplots()
        axes.set_title(name)
        axes.set_xticks([0], [name])
        axes.set_yticks([])
    return figure


@needs_font
def test_chinese_names_are_drawn_and_no_box(capsys: pytest.CaptureFixture[str]) -> None:
    one, other = render(_figure("细胞.bmp"), "a", "alt"), render(_figure("白血.bmp"), "a", "alt")
    assert one.png != other.png  # boxes of as many letters would be one picture
    assert one.svg != other.svg
    assert "细胞.bmp" in one.inline
    assert capsys.readouterr() == ("", "")


def test_where_no_font_has_a_letter_one_line_says_so(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(letters, "families", lambda _: [OWN])
    picture = render(_figure("细胞"), "a", "alt")  # a warning of matplotlib's would be an error here
    render(_figure("细胞"), "b", "alt")
    assert capsys.readouterr().err == f"note: no font for '细胞': pictures show boxes: {INSTALL}\n"
    assert "细胞" in picture.inline  # the reader's own machine may have a font


@pytest.mark.parametrize("name", ["cell.bmp", "Zürich, 20 °C, κ"])
def test_a_picture_without_such_letters_has_its_own_font_alone(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(letters, "families", lambda _: 1 / 0)  # fonts of this machine must not matter
    figure = _figure(name)
    render(figure, "a", "alt")
    assert {tuple(np.atleast_1d(text.get_fontfamily())) for text in figure.findobj(Text)} == {(OWN,)}
