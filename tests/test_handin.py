"""The hand-in: what it holds, and what it says is missing before anything is written."""

import io
import os
import subprocess
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest
from finished_report import artifacts, words

import evaluate.handin
from contract.errors import UserError
from evaluate.handin import SOURCE, Handin, _zip, find_missing, handin, source_files
from evaluate.paper import Paper
from evaluate.report_record import ARCHS
from evaluate.words import FILES

ROOT = Path(__file__).resolve().parent.parent
__all__ = ["artifacts", "words"]  # fixtures


@pytest.fixture
def command(artifacts: Path, words: Path, tmp_path: Path) -> Handin:
    return Handin("0123456", "Ada Lovelace", words, artifacts, tmp_path / "out")


def test_the_zip_holds_report_and_source_and_nothing_else(command: Handin) -> None:
    path = handin(command)
    assert path.name == "DLP_LAB3_0123456_Ada-Lovelace.zip"
    with zipfile.ZipFile(path) as archive:
        assert archive.testzip() is None
        names = archive.namelist()
        assert archive.read("DLP_LAB3_0123456_Ada-Lovelace/report.pdf").startswith(b"%PDF")
        source = "DLP_LAB3_0123456_Ada-Lovelace/source/"
        assert archive.read(source + "train/resnet.py") == (ROOT / "train" / "resnet.py").read_bytes()
    assert {name.split("/")[0] for name in names} == {path.stem}
    for wanted in ("Makefile", "requirements.txt", "evaluate/paper.typ", "evaluate/page/index.html", ".ci/run"):
        assert source + wanted in names
    assert not [name for name in names if "__pycache__" in name or ".venv" in name or name.endswith((".pt", ".onnx"))]


def test_the_same_hand_in_has_the_same_bytes(command: Handin) -> None:
    first = handin(command).read_bytes()
    with zipfile.ZipFile(io.BytesIO(first)) as archive:
        assert {entry.date_time for entry in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}
    assert handin(command).read_bytes() == first


def test_everything_missing_is_listed_and_nothing_is_written(
    command: Handin, capsys: pytest.CaptureFixture[str]
) -> None:
    report = command.artifacts / "report"
    gone = [
        command.artifacts / "resnet152" / "best.pt",
        command.artifacts / "resnet18" / "history.csv",
        report / "submission_resnet50.csv",
        report / "confusion_resnet18.png",
        report / "metrics.json",
        command.words / "discussion.md",
    ]
    for path in gone:
        path.unlink()
    (command.artifacts / "resnet50" / "model.onnx").write_bytes(b"")
    (command.words / "introduction.md").write_text("<!-- only the hint -->\n")
    with pytest.raises(UserError, match=r"nothing was written: 8 things missing"):
        handin(command)
    listed = capsys.readouterr().out
    for path in [*gone, command.artifacts / "resnet50" / "model.onnx", command.words / "introduction.md"]:
        assert f"missing: {path} (" in listed
    assert not command.out.exists()


def test_an_incomplete_hand_in_is_written_when_asked_for(command: Handin, capsys: pytest.CaptureFixture[str]) -> None:
    (command.artifacts / "resnet152" / "best.pt").unlink()
    assert handin(replace(command, incomplete=True)).is_file()
    assert "missing: " in capsys.readouterr().out


def test_its_report_is_typeset_with_the_fonts_that_are_named(
    command: Handin, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Paper] = []
    monkeypatch.setattr(evaluate.handin, "ROOT", tmp_path / "nothing")
    monkeypatch.setattr(
        evaluate.handin, "paper", lambda given: asked.append(given) or command.artifacts / "resnet18" / "best.pt"
    )
    handin(replace(command, fonts=tmp_path / "fonts"))
    assert asked == [Paper("0123456", "Ada Lovelace", command.words, command.artifacts, tmp_path / "fonts")]


def test_nothing_at_all_is_everything_missing(tmp_path: Path) -> None:
    missing = find_missing(tmp_path / "words", tmp_path / "artifacts")
    assert len(missing) == 3 * len(ARCHS) + 1 + len(ARCHS) + 4 + 1
    assert "cp -r docs/report-template" in missing[-1]
    (tmp_path / "words").mkdir()
    assert len(find_missing(tmp_path / "words", tmp_path / "artifacts")) == len(missing) - 1 + len(FILES)


def test_a_name_that_is_none_and_a_read_only_folder_are_named(command: Handin, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="NAME"):
        handin(replace(command, name="a/b"))
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(UserError, match="cannot be written"):
        handin(replace(command, out=tmp_path / "file"))


def test_the_source_is_what_git_keeps() -> None:
    source = source_files(ROOT)
    assert "evaluate/handin.py" in source
    assert not any(name.startswith(("shards/", "artifacts/", ".venv", ".git/")) for name in source)
    if not (ROOT / ".git").exists():
        pytest.skip("no checkout: git says nothing of what it keeps")
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    kept = [name for name in listed.splitlines() if (ROOT / name).is_file()]
    assert {name for name in kept if not name.startswith(("shards/", "artifacts/"))} <= set(source)


def test_hidden_files_and_caches_are_no_source(tmp_path: Path) -> None:
    kept = ("docs/report.md", "evaluate/page/page.js", ".ci/run", ".gitignore", "README.md")
    left = ("docs/.DS_Store", "docs/report/.env", "tests/.mypy_cache/x.json", "evaluate/.report.py.swp", "a.md")
    caches = ("evaluate/__pycache__/web.py", "train/loop.pyc", "docs/.ipynb_checkpoints/a.md", "artifacts/x.csv")
    for name in (*kept, *left, *caches):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    for name in SOURCE:
        if not (tmp_path / name).exists():
            (tmp_path / name).mkdir()
    (tmp_path / "docs" / "elsewhere").symlink_to(tmp_path / "a.md")
    assert source_files(tmp_path) == sorted(kept)


@pytest.mark.parametrize("name", [b"Bild\xe4.png", b"two\nlines.md"])
def test_a_name_that_no_zip_can_hold_is_refused_before_anything_is_made(
    command: Handin, name: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "root" / "docs").mkdir(parents=True)
    (tmp_path / "root" / "docs" / os.fsdecode(name)).touch()
    monkeypatch.setattr(evaluate.handin, "ROOT", tmp_path / "root")
    with pytest.raises(UserError, match=r"^'docs/.*: a file of the source has a name that no ZIP can hold"):
        handin(command)
    assert not (command.artifacts / "report" / "report.pdf").exists()


def test_entries_are_sorted_and_the_script_of_ci_alone_can_be_run(tmp_path: Path) -> None:
    for name in ("run", "a.md"):
        (tmp_path / name).write_text(name)
    files = {
        "x/source/.ci/run": tmp_path / "run",
        "x/source/a.md": tmp_path / "a.md",
        "x/report.pdf": tmp_path / "a.md",
    }
    content = _zip(files)
    assert _zip(dict(reversed(files.items()))) == content
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        modes = {entry.filename: entry.external_attr >> 16 for entry in archive.infolist()}
        assert archive.read("x/source/.ci/run") == b"run"
    assert modes == {"x/report.pdf": 0o100644, "x/source/.ci/run": 0o100755, "x/source/a.md": 0o100644}
    assert list(modes) == sorted(modes)
