"""Words of the student's that the typesetter refuses are told by their file; lists and headings stay as written."""

import itertools
import tempfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest
import typst
from finished_report import artifacts, words
from pypdf import PdfReader

from contract.errors import UserError
from evaluate.paper import Paper, paper

__all__ = ["artifacts", "words"]  # fixtures


def _student(artifacts: Path, words: Path) -> Paper:
    return Paper("0123456", "Ada Lovelace", words, artifacts)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("#\n\nwords", r"preprocessing-how\.md: cannot be typeset: .*heading title is empty"),
        ("[words]()", r"preprocessing-how\.md: cannot be typeset: URL must not be empty"),
        ("An eye: \U00013079", r"preprocessing-how\.md: no font here can draw"),
        (
            "![shows](no picture.png)".replace(" ", "%20"),
            r"/no picture\.png: cannot be typeset: failed to decode image",
        ),
    ],
)
def test_the_file_that_cannot_be_typeset_is_named(artifacts: Path, words: Path, text: str, message: str) -> None:
    (words / "no picture.png").write_bytes(b"no picture")
    (words / "preprocessing-how.md").write_text(text, encoding="utf-8")
    with pytest.raises(UserError, match=message):
        paper(_student(artifacts, words))


def test_what_is_in_no_file_of_words_blames_none(artifacts: Path, words: Path) -> None:
    metrics = artifacts / "report" / "metrics.json"
    metrics.write_text(metrics.read_text(encoding="utf-8").replace("some cells", "an eye \U00013079"), encoding="utf-8")
    with pytest.raises(UserError, match=r"^report\.pdf: no font here can draw"):
        paper(_student(artifacts, words))


def test_a_list_keeps_its_numbers_and_may_hold_a_heading(artifacts: Path, words: Path) -> None:
    (words / "introduction.md").write_text("7. seventh\n8. eighth\n\nBetween.\n\n- # Headed\n", encoding="utf-8")
    pages = PdfReader(paper(_student(artifacts, words))).pages
    text = " ".join(" ".join(page.extract_text() for page in pages).split())
    assert "7. seventh 8. eighth Between." in text
    assert "Headed" in text


def test_what_the_typesetter_passes_over_is_an_error(
    artifacts: Path, words: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    compiled, said = typst.compile_with_warnings, "block may not occur inside of a paragraph and was ignored"

    def passing_over(file: Path, **options: Any) -> tuple[Any, list[Any]]:
        pdf, warnings = compiled(file, **options)
        lost = "on discussion" in file.with_name("data.json").read_text(encoding="utf-8")
        return pdf, [*warnings, SimpleNamespace(message="unknown font family"), *[SimpleNamespace(message=said)] * lost]

    monkeypatch.setattr(typst, "compile_with_warnings", passing_over)
    with pytest.raises(UserError, match=rf"discussion\.md: cannot be typeset: {said}"):
        paper(_student(artifacts, words))
    (words / "discussion.md").write_text("others", encoding="utf-8")
    assert paper(_student(artifacts, words)).is_file()


def test_without_a_temporary_folder_it_ends_in_one_line(
    artifacts: Path, words: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(words / "gone"))
    with pytest.raises(
        UserError, match=r"report\.pdf: cannot be typeset in a temporary folder \(TMPDIR\): No such file"
    ):
        paper(_student(artifacts, words))


@pytest.mark.parametrize("there", [False, True])
def test_fonts_that_are_no_folder_are_refused(artifacts: Path, words: Path, tmp_path: Path, there: bool) -> None:
    fonts = tmp_path / "fonts.otf"
    if there:
        fonts.write_bytes(b"a font")
    with pytest.raises(UserError, match=r"fonts\.otf: no folder of fonts"):
        paper(Paper("0123456", "Ada Lovelace", words, artifacts, fonts))


def _drawn(path: Path) -> list[tuple[float, float]]:
    """Width and height of every picture in points, as the pages place it."""
    found: list[tuple[float, float]] = []

    def note(operator: bytes, _: object, matrix: list[float], __: object) -> None:
        if operator == b"Do":
            found.append((matrix[0], abs(matrix[3])))

    for page in PdfReader(path).pages:
        page.extract_text(visitor_operand_before=note)
    return found


def test_a_picture_is_drawn_whole_however_tall_and_in_a_link_too(artifacts: Path, words: Path) -> None:
    before = len(_drawn(paper(_student(artifacts, words))))
    for name, sides in (("wide", (30, 60)), ("tall", (240, 100))):
        assert cv2.imwrite(str(words / f"{name}.png"), np.full((*sides, 3), 90, np.uint8))
    (words / "introduction.md").write_text("![wide](wide.png)\n\n**[![tall](tall.png)](https://example.org)**\n")
    drawn = _drawn(paper(_student(artifacts, words)))
    assert len(drawn) == before + 2
    (wide, tall) = ([s for s in drawn if s[1] / s[0] == pytest.approx(ratio, rel=0.01)] for ratio in (0.5, 2.4))
    room = 595.3 - 2 * 68  # points between the margins
    assert wide == [pytest.approx((0.8 * room, 0.4 * room), rel=0.01)]
    assert tall == [pytest.approx((567 / 2.4, 567), rel=0.01)]  # 20 cm


def test_code_without_a_blank_is_broken_within_the_paper(artifacts: Path, words: Path) -> None:
    setting = ",".join(f"setting_{n}={n}.5" for n in range(20))
    said = {"a_b.c(d, e)": "", setting: "\u200b"}  # what is short enough is as it was, copied too
    for code, between in said.items():
        (words / "introduction.md").write_text(f"`{code}`\n\n    {code}\n", encoding="utf-8")
        pages = PdfReader(paper(_student(artifacts, words))).pages
        text = "\n".join(page.extract_text() for page in pages)
        assert ("\u200b" in text) == bool(between)
        plain = text.replace("\u200b", "")
        assert plain.replace("\n", "").count(code) == 2
        assert max(len(line) for line in plain.splitlines() if "setting_" in line or "a_b" in line) < 90


def _table(names: list[str]) -> str:
    row = f"| {' | '.join(names)} |\n"
    return row + "|---" * len(names) + "|\n" + row


def test_no_word_of_a_wide_table_is_printed_over_its_neighbour(artifacts: Path, words: Path) -> None:
    names = ["preprocessing", "normalisation", "sensitivity", "specificity", "accuracy", "balanced", "augmentation"]
    names += ["temperature", "interval", "configuration"]
    (words / "discussion.md").write_text(_table(names), encoding="utf-8")
    placed: list[tuple[str, float, float]] = []

    def look(text: str, page: list[float], matrix: list[float], _: Any, size: float) -> None:
        placed.append((text.strip(), page[4] + matrix[4], size))

    PdfReader(paper(_student(artifacts, words))).pages[-1].extract_text(visitor_text=look)
    row = [place for place in placed if place[0] in names][-len(names) :]
    assert [word for word, *_ in row] == names
    for (word, left, size), (_, right, _) in itertools.pairwise(row):
        assert right - left > 0.4 * size * len(word)  # letters are half as wide as high
    assert row[-1][1] < 500  # of 595 pt


def test_a_table_that_no_paper_is_wide_enough_for_is_refused(artifacts: Path, words: Path) -> None:
    (words / "discussion.md").write_text(_table(["normalisation"] * 40), encoding="utf-8")
    with pytest.raises(UserError, match=r"discussion\.md: cannot be typeset: .*40 columns is too wide for the paper"):
        paper(_student(artifacts, words))
