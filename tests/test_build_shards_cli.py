"""The commands of the builder: what they print, and which flags they take."""

from pathlib import Path

import numpy as np
import pytest
from build_command import assert_one_line, run_here, start

from contract.manifest import load_manifest


def test_synthetic_and_build_work_as_commands_and_print_a_summary(tmp_path: Path):
    data, out = tmp_path / "data", tmp_path / "shards"
    drawn = start("synthetic", "--data", data, "--cells", 20)
    assert (drawn.returncode, drawn.stderr) == (0, "")
    assert drawn.stdout == f"20 synthetic cells in {data}\n"
    built = start("build", "--data", data, "--shards", out, "--size", 33, "--workers", 1, "--cache", tmp_path / "cache")
    assert (built.returncode, built.stderr) == (0, "")
    note, *summary = built.stdout.splitlines()
    assert note.startswith("NOTE: split by identity: train 12 cells of ")
    assert note.endswith(
        "--split given keeps train.csv and valid.csv as the course made them (needed to compare with its boards)"
    )
    assert summary[0] == f"synthetic cells (drawn, not real): built in {out}"
    assert summary[1].startswith("  train: 12 cells (")
    assert "subjects (" in summary[2]
    assert summary[3] == "  test: 4 cells (labels unknown)"
    assert sum(split.samples for split in load_manifest(out).splits) == 20


def test_a_bad_image_in_a_worker_process_ends_in_one_line(write_course, tmp_path: Path):
    data = write_course()
    (data / "cells" / "4.bmp").write_bytes(b"not an image")
    done = start("build", "--data", data, "--shards", tmp_path / "shards", "--workers", 2)
    assert done.returncode == 2
    assert_one_line(done.stderr)
    assert "4.bmp: not a BMP or PNG image (12 bytes)" in done.stderr
    assert list(tmp_path.glob("shards/*")) == []


def test_a_finished_build_says_so(write_course, tmp_path: Path, monkeypatch, capsys):
    arguments = ("build", "--data", write_course(), "--shards", tmp_path / "s", "--size", 33, "--workers", 1)
    assert run_here(monkeypatch, *arguments) == 0
    assert "built in" in capsys.readouterr().out
    assert run_here(monkeypatch, *arguments) == 0
    assert "already built in" in capsys.readouterr().out


def test_format_and_quality_reach_the_manifest(write_course, tmp_path: Path, monkeypatch):
    flags = ("--size", 33, "--window", 40, "--workers", 1, "--format", "jpg", "--quality", 85)
    assert run_here(monkeypatch, "build", "--data", write_course(), "--shards", tmp_path / "s", *flags) == 0
    recipe = load_manifest(tmp_path / "s").recipe
    assert (recipe.format, recipe.quality) == ("jpg", 85)


def test_shrunk_cells_are_in_the_summary(synthetic_data: Path, tmp_path: Path, monkeypatch, capsys):
    flags = ("--size", 33, "--window", 33, "--workers", 1, "--split", "given")
    assert run_here(monkeypatch, "build", "--data", synthetic_data, "--shards", tmp_path / "s", *flags) == 0
    assert "60 cells were larger than the 33 px window" in capsys.readouterr().out


def write_archive(folder: Path, write_image) -> Path:
    cell = np.zeros((40, 40, 3), np.uint8)
    cell[5:30, 5:30] = 90
    for number in range(1, 21):
        for cls, subject in (("all", f"{number}"), ("hem", f"H{number}")):
            write_image(folder / "fold_0" / cls / f"UID_{subject}_1_1_{cls}.bmp", cell)
    return folder


@pytest.mark.parametrize("split", ["image", "subject"])
def test_a_split_by_image_warns_of_leakage_and_one_by_subject_does_not(
    tmp_path: Path, write_image, monkeypatch, capsys, split: str
):
    data = write_archive(tmp_path / "archive", write_image)
    flags = ("--size", 33, "--split", split, "--workers", 1)
    assert run_here(monkeypatch, "build", "--data", data, "--shards", tmp_path / "s", *flags) == 0
    warned = "Warning: cells of one subject are on several sides" in capsys.readouterr().out
    assert warned == (split == "image")
    assert load_manifest(tmp_path / "s").split_by == split


def test_help_names_every_flag(monkeypatch, capsys):
    assert run_here(monkeypatch, "build", "--help") == 0
    text = capsys.readouterr().out
    flags = "data shards size crop window format quality split folds fold seed cache workers force"
    for flag in flags.split():
        assert f"--{flag}" in text


@pytest.mark.parametrize(
    "arguments",
    [
        ("build", "--data", "x", "--sise", "33"),
        ("build", "--data", "x", "--crop", "tight"),
        ("build",),
        ("draw",),
        (),
    ],
)
def test_an_unknown_flag_or_value_ends_with_status_2(monkeypatch, capsys, arguments: tuple[str, ...]):
    assert run_here(monkeypatch, *arguments) == 2
    assert "Traceback" not in capsys.readouterr().err


def test_an_unknown_flag_is_named_with_the_nearest_valid_one(monkeypatch, capsys):
    assert run_here(monkeypatch, "build", "--data", "x", "--sise", "33") == 2
    text = capsys.readouterr().err
    assert "--sise" in text
    assert "--size" in text


@pytest.mark.parametrize("flags", [("--cells", "5"), ("--seed", "-1"), ("--seed", "4294967296")])
def test_synthetic_refuses_in_one_line(tmp_path: Path, monkeypatch, capsys, flags: tuple[str, str]):
    assert run_here(monkeypatch, "synthetic", "--data", tmp_path / "data", *flags) == 2
    assert_one_line(capsys.readouterr().err)
    assert list(tmp_path.iterdir()) == []
