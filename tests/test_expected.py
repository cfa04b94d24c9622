"""What training promises: one table, shown by both helps and quoted by the results, as README's are."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from train.cli import expectation, main
from train.history import best_epoch, read_history
from train.resnet import ARCHITECTURES

ROOT = Path(__file__).resolve().parents[1]


def _rows() -> list[str]:
    return [line for line in expectation().splitlines() if line.startswith("| resnet")]


def test_every_network_has_accuracy_and_time() -> None:
    assert [row.split("|")[1].strip() for row in _rows()] == list(ARCHITECTURES)
    for row in _rows():
        *_, accuracy, time = (cell.strip() for cell in row.strip("|").split("|"))
        assert re.fullmatch(r"\d\d\.\d %", accuracy), row
        assert re.fullmatch(r"[\d.]+ (min|h)", time), row


def test_the_table_is_that_of_the_published_histories() -> None:
    folder, minutes = ROOT / "docs" / "results" / "course", {}
    for row in _rows():
        arch, recipe, accuracy, time = (cell.strip() for cell in row.strip("|").split("|"))
        history = read_history(folder / f"history_{arch}.csv")
        minutes[arch] = sum(epoch.seconds for epoch in history) / 60
        minutes[arch] += sum(minutes[name] for name in re.findall(r"from (\w+)'s weights", recipe))
        assert accuracy == f"{100 * best_epoch(history).valid_accuracy:.1f} %"
        assert time == f"{minutes[arch]:.0f} min"


def test_the_help_of_training_shows_the_table(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["train", "--help"])
    monkeypatch.setenv("COLUMNS", "200")
    with pytest.raises(SystemExit):
        main()
    shown = " ".join(capsys.readouterr().out.split())
    for row in _rows():
        assert " ".join(row.split()) in shown
    assert "python -m train baseline" in shown, "which the list of options cannot name"


def test_the_help_of_make_shows_the_table() -> None:
    shown = subprocess.run(["make", "-s", "help"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert shown.endswith(expectation())


def test_make_course_trains_what_the_table_promises() -> None:
    command = ["make", "-s", "-n", "-o", ".venv/.installed", "course", "DATA=x", "ARTIFACTS=a"]
    plan = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.replace("\\\n", "")
    for row in _rows():
        arch, recipe = (cell.strip() for cell in row.split("|")[1:3])
        lines = [line for line in plan.splitlines() if f"-m train --resume --arch {arch} " in line]
        (line,) = (line for line in lines if not re.search("/(refit|unseen)", line))
        promised, given = (re.findall(r"--[a-z-]+ [\w.]+(?![/\w])", text) for text in (recipe, line))
        given = [flag for flag in given if flag not in (f"--arch {arch}", "--threads 2")]
        assert given == promised, f"{arch}: Makefile's COURSE_FLAGS_{arch} and train/expected.md differ"
        (size,) = re.findall(r"(\d+) px", recipe)
        assert f"/{size}px" in line, f"{arch}: Makefile's COURSE_SIZE and train/expected.md differ"
        assert '--artifacts "a"' in line
        assert "--threads 2 " in line
        started = re.findall(r"from (\w+)'s weights", recipe)
        assert re.findall(r"--initial (\S+)", line) == [f"a/{name}/best.pt" for name in started]


def test_the_results_quote_the_table() -> None:
    results = (ROOT / "docs" / "results.md").read_text(encoding="utf-8")
    for row in _rows():
        assert row in results, f"docs/results.md does not quote train/expected.md: {row}"


def test_the_results_and_the_readme_say_the_same_of_people_never_seen() -> None:
    readme, results = ((ROOT / name).read_text(encoding="utf-8") for name in ("README.md", "docs/results.md"))
    table = readme[readme.index("| | learned from |") :].split("\n\n")[0]
    assert table.count("\n") > 6
    assert table in results
