"""The course's report as a PDF: the student's words from Markdown, every number and figure from the evaluation.

Typeset by typst, whose Python package carries its compiler and fonts. The file follows PDF/UA-1: headings, tables and
figures can be read aloud, and a character that no font here can draw is an error, never an empty box.
"""

import json
import re
import tempfile
import unicodedata
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import typst

from contract.errors import UserError
from contract.files import read_bytes
from contract.fonts import CJK, INSTALL
from contract.publish import publish_bytes
from evaluate.paper_tables import headline, part_pictures, part_tables
from evaluate.record_check import check_record
from evaluate.report_record import AGAIN, METRICS, ReportRecord, load_record
from evaluate.stale import check_history, check_networks
from evaluate.words import SECTIONS, Words, read_words

TITLE = "Lab 3: Leukemia Classification"
TEMPLATE = Path(__file__).with_name("paper.typ")
STUDENT_ID = re.compile(r"[A-Za-z0-9]{4,20}")
JOINTS = re.compile(r"\. |[ .'’·-]")  # between the parts of a name
REFUSED = (typst.TypstError, ValueError)  # what ``_compile`` raises
LATIN = "Libertinus Serif"  # comes with the compiler


@dataclass(frozen=True)
class Paper:
    """Typeset the course's report, ARTIFACTS/report/report.pdf: the student's words, the evaluation's numbers."""

    student_id: str  # letters and digits
    name: str  # the student's, in any script
    words: Path = Path("docs/report")  # folder of the student's Markdown files: a copy of docs/report-template
    artifacts: Path = Path("artifacts")  # folder whose report/ holds metrics.json and the figures
    fonts: Path | None = None  # folder of further fonts, for characters that no installed font has


def paper(command: Paper) -> Path:
    """Write the PDF and return its path, with a line for each file of words that is still empty."""
    handin_stem(command.student_id, command.name)
    if command.fonts is not None and not command.fonts.is_dir():  # the compiler passes over it without a word
        raise UserError(f"{command.fonts}: no folder of fonts (--fonts)")
    folder = command.artifacts / "report"
    record, words = load_record(folder), read_words(command.words)
    check_record(record, folder / METRICS)
    check_history(record, command.artifacts)
    check_networks(record, command.artifacts, may_lack=True)
    if record.dataset.split == "train":
        raise UserError(f"{folder}: a report on train, which the networks learned: {AGAIN}")
    fonts = typst.Fonts(font_paths=[str(command.fonts)] if command.fonts else [])
    pdf = _typeset(command, _content(command, record, words, fonts), record, words, fonts)
    publish_bytes(folder / "report.pdf", pdf)
    for name in words.empty:
        print(f"note: {command.words / name}: no words yet")
    print(folder / "report.pdf")
    return folder / "report.pdf"


def handin_stem(student_id: str, name: str) -> str:
    """The hand-in's file name, less its ending; raises ``UserError`` for an id or a name that cannot stand in it."""
    if not STUDENT_ID.fullmatch(student_id):
        raise UserError(f"STUDENT_ID {student_id!r}: must be 4 to 20 letters and digits")
    if not all(map(_is_word, JOINTS.split(name.removesuffix(".")))) or len(name) > 60:
        raise UserError(f"NAME {name!r}: must be letters, in any script, with single spaces, hyphens or dots between")
    return f"DLP_LAB3_{student_id}_{name.replace(' ', '-')}"


def _is_word(part: str) -> bool:
    """Letters of any script, and the marks that many scripts write on them."""
    kinds = [unicodedata.category(character)[0] for character in part]
    return bool(kinds) and kinds[0] == "L" and set(kinds) <= {"L", "M"}


def _content(command: Paper, record: ReportRecord, words: Words, fonts: typst.Fonts) -> dict[str, Any]:
    tables, dataset = part_tables(record), record.dataset
    versions = ", ".join(f"{name} {version}" for name, version in record.versions.items())
    hashes = "; ".join(f"{n} {network.file.sha256[:16]}" for n, network in record.networks.items() if network.file)
    families = set(fonts.families())
    return {
        "title": TITLE,
        "student_id": command.student_id,
        "name": command.name,
        "date": [int(part) for part in record.date.split("-")],
        "subtitle": f"Numbers of {record.date}, data: {dataset.name}. {headline(record)}",
        "fonts": [LATIN, *[family for family in CJK if family in families][:1]],
        "words": words.nodes,
        "sections": [
            {
                "title": section,
                "parts": [
                    {"file": file, "title": title, "tables": tables.get(file, []), "pictures": []}
                    for file, title in parts.items()
                ],
            }
            for section, parts in SECTIONS.items()
        ],
        "notes": list(record.notes),
        "colophon": f"Research and teaching; not a medical device. Model files (SHA-256, first 16 digits): {hashes}. "
        f"Manifest {dataset.manifest_digest[:16]}. {versions}.",
    }


def _typeset(command: Paper, content: dict[str, Any], record: ReportRecord, words: Words, fonts: typst.Fonts) -> bytes:
    """Lay template, data and pictures into a folder of their own, and compile it there: nothing else can be read."""
    pictures = part_pictures(record, command.artifacts / "report")
    try:
        with tempfile.TemporaryDirectory(prefix="leukoshard-paper-") as name:
            room = Path(name)
            for part in (part for section in content["sections"] for part in section["parts"]):
                part["pictures"] = [_lay(picture, room) for picture in pictures.get(part["file"], [])]
            for target, file in words.pictures.items():
                (room / target).write_bytes(read_bytes(file))
            (room / "paper.typ").write_bytes(TEMPLATE.read_bytes())
            return _compile_or_name(command, content, words, room, fonts)
    except OSError as error:
        raise UserError(f"report.pdf: cannot be typeset in a temporary folder (TMPDIR): {error.strerror}") from None


def _compile_or_name(command: Paper, content: dict[str, Any], words: Words, room: Path, fonts: typst.Fonts) -> bytes:
    try:
        return _compile(content, room, fonts)
    except REFUSED as error:
        raise UserError(f"{_culprit(command, content, words, room, fonts)}: {_explain(str(error))}") from None


def _compile(content: dict[str, Any], room: Path, fonts: typst.Fonts) -> bytes:
    (room / "data.json").write_text(json.dumps(content, ensure_ascii=False), encoding="utf-8")
    pdf, warnings = typst.compile_with_warnings(room / "paper.typ", root=room, font_paths=fonts, pdf_standards=["ua-1"])
    lost = [warning.message for warning in warnings if "ignored" in warning.message]
    if lost:  # a page without a part of the words is no report
        raise ValueError(lost[0])
    return pdf


def _culprit(command: Paper, content: dict[str, Any], words: Words, room: Path, fonts: typst.Fonts) -> str:
    """The student's file that cannot be typeset, each tried alone: the compiler knows none. Else the report itself."""

    def fails(alone: dict[str, Any]) -> bool:
        try:
            _compile({**content, "words": {name: [] for name in words.nodes} | alone}, room, fonts)
        except REFUSED:
            return True
        return False

    if fails({}):
        return "report.pdf"
    tried = {file: {"discussion": [{"kind": "picture", "file": t, "text": "-"}]} for t, file in words.pictures.items()}
    tried |= {command.words / f"{name}.md": {name: nodes} for name, nodes in words.nodes.items()}
    return str(next((file for file, alone in tried.items() if fails(alone)), "report.pdf"))


def _lay(picture: dict[str, Any], room: Path) -> dict[str, Any]:
    for file in picture["files"]:
        (room / f"figure-{file.name}").write_bytes(read_bytes(file, AGAIN))
    return {**picture, "files": [f"figure-{file.name}" for file in picture["files"]]}


def _explain(message: str) -> str:
    found = re.search(r"the text `?\"(.+?)\"`? could not be displayed", message)
    if found:
        return f"no font here can draw {found[1]!r}: {INSTALL}, or name a folder of fonts (--fonts)"
    return f"cannot be typeset: {message}"
