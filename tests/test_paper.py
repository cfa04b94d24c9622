"""The course's report as a PDF: sections, numbers, names in any script, and faults told by name."""

import io
import os
import resource
import signal
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import typst
from finished_report import artifacts, network, record, words
from pypdf import PdfReader

from contract.errors import UserError
from contract.fonts import CJK
from contract.record import to_json
from evaluate.paper import Paper, handin_stem, paper
from evaluate.paper_tables import headline, part_tables
from evaluate.words import FILES

__all__ = ["artifacts", "words"]  # fixtures

HAS_CJK = bool(set(CJK) & set(typst.Fonts().families()))


def _pdf_text(path: Path) -> str:
    return " ".join(" ".join(page.extract_text() for page in PdfReader(path).pages).split())


def test_the_five_sections_stand_in_order_with_words_and_numbers(artifacts: Path, words: Path) -> None:
    text = _pdf_text(paper(Paper("0123456", "Ada Lovelace", words, artifacts)))
    sections = ["1 Introduction", "2 Implementation", "3 Preprocessing", "4 Results", "5 Discussion"]
    parts = ["2.1 The model", "2.2 The data loader", "2.3 The confusion matrix", "3.1 How", "3.2 What is special"]
    order = [text.index(title) for title in [*sections[:2], *parts[:3], sections[2], *parts[3:], *sections[3:]]]
    assert order == sorted(order)
    for name in FILES:
        assert f"My words on {Path(name).stem}: #panic() $1$." in text.replace("ﬁ", "fi")
    assert "0123456" in text
    assert "Ada Lovelace" in text
    # 72.00 %: the best single network's; the ensemble's 73.00 % is none. 67.89 %: the best epoch's.
    assert "Highest test accuracy of a single network: 72.00 % (resnet152, valid, n = 10, threshold 0.500)" in text
    for number in (
        "67.89 %",
        "50.0 to 75.0",
        "macenko",
        "44.7 MB",
        "4 normal, 6 blast",
        "2 of the 3 people are in train",
        "3 (2 of them in train too)",
        "2 (1 of them in train too)",
    ):
        assert number in text, number


def test_the_baseline_is_a_row_of_the_scores_and_no_single_network() -> None:
    networks = record().networks
    made = record(networks={**networks, "baseline": replace(network("ensemble", 0.99), baseline=None)})
    (scores,) = [t for t in part_tables(made)["results-accuracy"] if t["caption"].startswith("The exported networks")]
    assert [row[0] for row in scores["rows"]] == [*networks, "baseline"]
    assert scores["rows"][-1][1] == "99.00 %"
    assert scores["head"][-2] == "F1 of blasts"  # other places have the weighted F1
    assert "resnet152" in headline(made)


def test_the_pdf_is_tagged_titled_and_the_same_twice(artifacts: Path, words: Path) -> None:
    first = paper(Paper("0123456", "Ada Lovelace", words, artifacts)).read_bytes()
    assert paper(Paper("0123456", "Ada Lovelace", words, artifacts)).read_bytes() == first
    reader = PdfReader(io.BytesIO(first))
    assert reader.metadata is not None
    assert reader.metadata.title == "Lab 3: Leukemia Classification"
    assert reader.metadata.author == "Ada Lovelace"
    assert "/StructTreeRoot" in reader.trailer["/Root"]
    assert b"pdfuaid:part" in reader.trailer["/Root"]["/Metadata"].get_data()
    other = (artifacts / "report" / "metrics.json").read_text().replace("2026-03-04", "2026-03-05")
    (artifacts / "report" / "metrics.json").write_text(other)
    assert paper(Paper("0123456", "Ada Lovelace", words, artifacts)).read_bytes() != first


@pytest.mark.skipif(
    not HAS_CJK and not os.environ.get("CI"),
    reason="no font with Chinese characters (Debian: apt-get install fonts-noto-cjk)",
)
def test_a_chinese_name_is_drawn_by_an_embedded_font(artifacts: Path, words: Path) -> None:
    (words / "discussion.md").write_text("**誰**寫了這個 日本語 한국어\n", encoding="utf-8")
    path = paper(Paper("0123456", "王小明", words, artifacts))
    text = _pdf_text(path)
    assert "王小明" in text
    assert "誰" in text
    fonts = [font.get_object() for font in PdfReader(path).pages[0]["/Resources"]["/Font"].values()]
    inner = [font["/DescendantFonts"][0].get_object() for font in fonts]
    assert inner
    assert all({"/FontFile2", "/FontFile3"} & font["/FontDescriptor"].get_object().keys() for font in inner)


def test_a_character_that_no_font_has_is_an_error_and_nothing_is_published(artifacts: Path, words: Path) -> None:
    (words / "discussion.md").write_text("An eye: \U00013079\n", encoding="utf-8")
    with pytest.raises(UserError, match=r"no font here can draw '.'.*fonts-noto-cjk"):
        paper(Paper("0123456", "Ada Lovelace", words, artifacts))
    assert not (artifacts / "report" / "report.pdf").exists()


def test_every_kind_of_markdown_is_typeset(artifacts: Path, words: Path) -> None:
    assert cv2.imwrite(str(words / "mine.png"), np.full((20, 30, 3), 90, np.uint8))
    markdown = (
        "# Mine\n\ntext **bold** *soft* `code` [link](https://example.org)  \nbreak\n\n"
        "- dot\n- b\n  1. digit\n\n> said\n\n| head | i |\n| - | - |\n| x | *entry* |\n\n"
        "```\nraw #let\n```\n\n---\n\n![a figure of mine](mine.png)\n"
    )
    for name in ("introduction.md", "results-accuracy.md"):  # a section's own words, and a subsection's
        (words / name).write_text(markdown, encoding="utf-8")
    text = _pdf_text(paper(Paper("0123456", "Ada Lovelace", words, artifacts)))
    for part in ("Mine", "bold", "soft", "code", "link break", "said", "raw #let"):
        assert part in text
    for part in ("dot", "1. digit", "head i x entry", "a figure of mine"):
        assert text.count(part) == 2


def test_undefined_scores_and_a_single_network_are_typeset(artifacts: Path, words: Path) -> None:
    single = record(networks={"resnet50": network("resnet50", None)}, pairs=(), history={}, notes=(), files=())
    (artifacts / "report" / "metrics.json").write_text(to_json(single), encoding="utf-8")
    assert "undefined" in _pdf_text(paper(Paper("0123456", "Ada Lovelace", words, artifacts)))


def test_faults_are_named(artifacts: Path, words: Path) -> None:
    student = Paper("0123456", "Ada Lovelace", words, artifacts)
    (artifacts / "report" / "confusion_resnet50.png").rename(artifacts / "away.png")
    with pytest.raises(UserError, match=r"confusion_resnet50\.png: no such figure: make the report anew"):
        paper(student)
    (artifacts / "away.png").rename(artifacts / "report" / "confusion_resnet50.png")
    history = artifacts / "resnet18" / "history.csv"
    written = history.read_text()
    for other in (written + "3,0.8,0.6543\n", written.replace("0.61", "0.62")):  # an epoch more; another value
        history.write_text(other)
        with pytest.raises(UserError, match=r"resnet18/history\.csv: not what metrics\.json tells"):
            paper(student)
    history.write_text(written.replace("0.6543", "much"))
    with pytest.raises(UserError, match=r"resnet18/history\.csv: not a history of training"):
        paper(student)
    history.unlink()
    paper(student)
    model = artifacts / "resnet152" / "model.onnx"
    model.write_bytes(b"exported anew, with another threshold")
    with pytest.raises(UserError, match=r"resnet152/model\.onnx: not the file that the report is of"):
        paper(student)
    model.unlink()
    paper(student)
    learned = replace(record(), dataset=replace(record().dataset, split="train"))
    (artifacts / "report" / "metrics.json").write_text(to_json(learned))
    with pytest.raises(UserError, match="a report on train, which the networks learned"):
        paper(student)
    (artifacts / "report" / "metrics.json").unlink()
    with pytest.raises(UserError, match=r"metrics\.json: no such file: make the report first"):
        paper(student)


@pytest.mark.parametrize(
    "name", ["Ada Lovelace", "王小明", "José O'Neil-Smith", "J. R. R. Tolkien", "Nguyễn Văn A", "आर्यन्"]
)
def test_names_of_any_script_are_names(name: str) -> None:
    assert handin_stem("0123456", name) == f"DLP_LAB3_0123456_{'-'.join(name.split())}"


@pytest.mark.parametrize(
    "name", ["", " ", "a/b", "../x", "a_b", "Ada  Lovelace ", "x" * 61, "Bobby; rm", "R2D2", "a\nb"]
)
def test_what_is_no_name_is_refused(name: str) -> None:
    with pytest.raises(UserError, match="NAME"):
        handin_stem("0123456", name)


@pytest.mark.parametrize("student_id", ["", "12", "0123 456", "../../x", "x" * 21, "01_23456", "０１２３４５６"])
def test_what_is_no_student_id_is_refused(student_id: str) -> None:
    with pytest.raises(UserError, match="STUDENT_ID"):
        handin_stem(student_id, "Ada Lovelace")


@pytest.mark.parametrize("bytes_each", [0, 60])  # 0: the folder is gone; 60: room for a part of a picture
def test_temporary_files_that_cannot_be_written_are_one_line(
    artifacts: Path, words: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bytes_each: int
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path if bytes_each else tmp_path / "gone"))
    before, (soft, hard) = signal.signal(signal.SIGXFSZ, signal.SIG_IGN), resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (bytes_each or soft, hard))
        with pytest.raises(
            UserError, match=r"^report\.pdf: cannot be typeset in a temporary folder \(TMPDIR\): (File|No) "
        ):
            paper(Paper("0123456", "Ada Lovelace", words, artifacts))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, before)
    assert not list(tmp_path.glob("leukoshard-paper-*"))
    assert not (artifacts / "report" / "report.pdf").exists()
