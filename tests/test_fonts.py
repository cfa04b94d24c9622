"""Names in Chinese, Japanese and Korean in the pictures of builds and trainings; Latin letters never differ."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import matplotlib
import pytest
from matplotlib import font_manager

from build_shards.audit_figure import draw_twins
from build_shards.dataset import read_dataset
from build_shards.preview import preview
from contract.fonts import CJK, OWN, families
from contract.recipe import Recipe
from train.curves import draw_run
from train.history import Epoch

INSTALLED = families(font_manager)
needs_font = pytest.mark.skipif(INSTALLED == [OWN], reason="no font with Chinese characters here")
Draw = Callable[[str], bytes]


class Machine:
    """A stand-in for ``matplotlib.font_manager``: fonts that it listed, and files that came since."""

    def __init__(self, *listed: str, since: tuple[str, ...] = ()) -> None:
        self.fontManager, self.since = SimpleNamespace(ttflist=[], addfont=self.add), since
        self.fontManager.ttflist = [SimpleNamespace(name=name, fname=f"{name}.ttf") for name in listed]

    def findSystemFonts(self) -> list[str]:  # noqa: N802
        return [*(f"{font.name}.ttf" for font in self.fontManager.ttflist), *self.since]

    def add(self, path: str) -> None:
        if path.startswith("bitmaps"):
            raise RuntimeError("not a scalable font")
        assert path in self.since
        self.fontManager.ttflist.append(SimpleNamespace(name=path.removesuffix(".ttf"), fname=path))


def test_of_the_fonts_of_a_machine_those_are_taken_that_have_the_letters_in_their_order() -> None:
    assert families(Machine(CJK[7], "Comic Sans MS", CJK[2], OWN, CJK[2])) == [OWN, CJK[2], CJK[7]]
    assert families(Machine("Comic Sans MS")) == [OWN]


def test_a_font_that_came_after_matplotlib_s_list_is_found_and_a_bad_one_passed_over() -> None:
    assert families(Machine(OWN, since=("bitmaps.pcf", "Comic Sans MS.ttf", f"{CJK[3]}.ttf"))) == [OWN, CJK[3]]


@needs_font
def test_a_real_font_that_came_later_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    manager = font_manager.fontManager
    files = {font.fname for font in manager.ttflist if font.name in CJK}
    monkeypatch.setattr(manager, "ttflist", [font for font in manager.ttflist if font.fname not in files])
    assert families(font_manager) == INSTALLED


@pytest.fixture(params=["accuracy", "preview", "twins"])
def draw(request: pytest.FixtureRequest, synthetic_data: Path, tmp_path: Path) -> Draw:
    """``draw(name)`` is a picture with that name in its title, as PNG."""
    picture = tmp_path / "picture.png"

    def accuracy(name: str) -> bytes:
        draw_run([Epoch(1, 0.5, 0.6, 0.6, 0.7, 0.9, 0.8, 0.1, 40, 1.0, 100.0)], picture, "resnet18", name)
        return picture.read_bytes()

    def sheet(name: str) -> bytes:
        preview(replace(read_dataset(synthetic_data), name=name), Recipe(size=40), picture)
        return picture.read_bytes()

    return {"accuracy": accuracy, "preview": sheet, "twins": lambda name: draw_twins((), {}, name)}[request.param]


@needs_font
def test_chinese_names_are_drawn_and_no_box(draw: Draw) -> None:
    assert draw("细胞") != draw("白血")  # boxes of as many letters would be one picture, and a warning


@needs_font
def test_a_picture_without_such_letters_is_the_same_on_a_machine_without_such_fonts(draw: Draw) -> None:
    here = draw("Zürich, 20 °C, κ")
    with matplotlib.rc_context({"font.family": OWN}):
        assert draw("Zürich, 20 °C, κ") == here
