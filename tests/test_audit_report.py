"""What an audit says on the terminal, which pairs it shows to the eye, and how a pair is drawn."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure

from build_shards.audit import Audit, Outlier, SplitAudit, Twin
from build_shards.audit_figure import IDENTICAL, NEAR, _draw_pair, draw_twins
from build_shards.audit_report import print_audit, telling
from build_shards.people import Link
from build_shards.synthetic import draw_cell
from build_shards.twins import Chance


@pytest.fixture(autouse=True)
def _wide_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "250")


def twin(name: str, correlation: float, ids: str = "AA", splits: tuple[str, str] = ("train", "train")) -> Twin:
    """A pair of the subject ids that are the letters of ``ids``; identical files where it correlates by 1."""
    return Twin(f"{name}a", f"{name}b", *splits, ids[0], ids[1], correlation == 1, correlation, 0)


def audit_of(*twins: Twin) -> Audit:
    splits = (
        SplitAudit("train", 20, 11, 9, 7, 0, 0, 0, 0, 4),
        SplitAudit("test", 40, 3, 5, 6, 1, 2, 10, 12, 13),
    )
    links = (
        Link("A", "B", 0, 1, 2, 0.871, 0.905, 0.987, 0.0013, True),
        Link("A", "C", 0, 0, 1, 0.9, 0.9, 0.9, 2, False),
    )
    outliers = (*(Outlier("x", "train", "size", 1.0, 4.0) for _ in range(3)), Outlier("y", "train", "stain", 1.0, 4.0))
    chance = Chance(pairs=300, mirrored_twins=2, highest=0.8124, start=0.9, count=50, scale=0.1)
    return Audit(
        *("drawn", "course", "given", 28, 0.86, chance, 5, splits),
        *((("A", "B"),), links, twins, outliers),
    )


def said(audit: Audit, capsys: pytest.CaptureFixture[str]) -> list[str]:
    """The lines of the terminal, without the tables' rules."""
    print_audit(audit)
    return [" ".join(line.replace("│", " ").replace("┃", " ").split()) for line in capsys.readouterr().out.splitlines()]


def test_every_count_stands_under_its_name(capsys: pytest.CaptureFixture[str]) -> None:
    lines = said(audit_of(twin("1", 1.0), twin("2", 0.9), twin("3", 0.9)), capsys)
    assert "train 20 11 9 7 0 0 0 0 4" in lines
    assert "test 40 3 5 6 1 2 10 12 13" in lines
    assert "A = B 0 1 2 0.871 0.905 0.987 1.3e-03 yes" in lines
    assert "A = C 0 0 1 0.900 0.900 0.900 2.0e+00 no" in lines
    head = lines.index("ids in people identical twins in twins")  # no word is cut, 100 columns or fewer
    assert lines[head + 1] == "split cells normal blast subjects train in train in train train inside"
    assert "ids stated identical near lowest median highest by chance joined" in lines


def test_twins_in_train_false_twins_and_outliers_are_told_in_words(capsys: pytest.CaptureFixture[str]) -> None:
    text = " ".join(said(audit_of(twin("1", 1.0), twin("2", 0.9), twin("3", 0.9)), capsys))
    assert "12 of the 40 images of test have a twin in train" in text
    assert "images of train have" not in text
    assert "3 twins (two images of one cell): 1 identical file, 2 near-identical; 5 of them with two labels" in text
    assert "of 300 pairs with one side mirrored 2 pass as twins (highest correlation 0.812, twins are 0.86" in text
    assert "outliers: 3 in size, 1 in stain (robust z above 3.5)" in text
    assert "one person: A = B" in text


def test_the_pairs_shown_begin_with_the_least_and_the_most_alike_of_every_two_ids() -> None:
    ab = [twin(f"ab{i}", 0.9 + i / 100, ids) for i, ids in enumerate(("AB", "BA", "AB"))]
    ac = [twin(f"ac{i}", 0.87 + i / 100, "AC") for i in range(3)]
    crossing = [twin(f"x{i}", 0.95 + i / 100, splits=splits) for i, splits in enumerate((("train", "test"),) * 2)]
    inside = [twin(f"in{i}", 0.86 + i / 1000) for i in range(40)]
    shown = telling(audit_of(*inside, *crossing, *ab, *ac), most=12)
    names = [one.first[:-1] for one in shown]
    assert names == ["ac0", "ab0", "ac2", "ab2", "x0", "x1", *(f"in{i}" for i in range(6))]


@pytest.mark.parametrize(("turns", "correlation"), [(0, 1.0), (1, 0.912), (3, 0.912)])
def test_a_pair_is_drawn_side_by_side_the_first_turned_onto_the_second(
    tmp_path: Path, write_image, turns: int, correlation: float
) -> None:
    image = draw_cell(1, 0.0, np.random.default_rng(0), 90)
    files = {"1.bmp": write_image(tmp_path / "1.bmp", image)}
    second = np.rot90(image, turns).copy()
    second[44:46, 44:46] = 1  # a dark spot, so that the two can be told apart
    files["2.bmp"] = write_image(tmp_path / "2.bmp", second)
    axes = Figure().subplots()
    pair = Twin("1.bmp", "2.bmp", "train", "test", "A", None, correlation == 1, correlation, turns)
    _draw_pair(axes, pair, files)
    drawn = np.asarray(axes.get_images()[0].get_array())
    left, right = np.hsplit(drawn, 2)
    spot = right.max(axis=2) < 5
    assert spot.sum() == 4
    assert left[spot].min() > 5
    np.testing.assert_array_equal(left[~spot], right[~spot])
    assert axes.get_title() == "A (train)  |  ? (test)"
    how = {0: "identical files", 1: "r = 0.912, turned 90°", 3: "r = 0.912, turned 270°"}[turns]
    assert axes.get_xlabel() == f"{how}\n1.bmp | 2.bmp"
    assert axes.xaxis.label.get_color() == (IDENTICAL if turns == 0 else NEAR)


def test_brackets_and_colons_of_a_name_are_told_as_they_are(capsys: pytest.CaptureFixture[str]) -> None:
    named = dataclasses.replace(audit_of(), dataset="cells [/of] [bold]:warning:", identities=(("[/A]", "[red]B"),))
    lines = said(named, capsys)
    assert "cells [/of] [bold]:warning:: splits" in lines
    assert "one person: [/A] = [red]B" in lines


def test_a_dollar_in_a_title_is_a_dollar() -> None:
    assert draw_twins((), {}, r"cells for $\x$: 0 twins").startswith(b"\x89PNG")


def test_a_narrow_terminal_cuts_no_word(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    audit = audit_of()
    external = SplitAudit("external", 10661, 7272, 3389, 101, 101, 101, 1071, 1071, 1071)
    lines = said(dataclasses.replace(audit, splits=(*audit.splits, external)), capsys)
    assert "external 10661 7272 3389 101 101 101 1071 1071 1071" in lines
    assert not any("…" in line for line in lines)
