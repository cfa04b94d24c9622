"""Errors are provoked in this process, because starting Python takes seconds; what only a process shows runs in one."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from contract.command import run_command
from contract.manifest import load_manifest

ROOT = Path(__file__).resolve().parent.parent
Refused = Callable[..., str]


def start(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "build_shards", *map(str, arguments)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)


def assert_one_line(stderr: str) -> None:
    assert stderr.count("\n") == 1
    assert stderr.startswith("error: ")


@pytest.fixture
def refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Refused:
    """``refused(data, *flags)`` builds, checks status 2, one line and that nothing is left; returns the line."""

    def refuse(data: Path, *flags: str) -> str:
        out = tmp_path / "out" / "shards"
        arguments = ["build", "--data", str(data), "--shards", str(out), "--workers", "1", "--size", "33", *flags]
        monkeypatch.setattr(sys, "argv", ["build_shards", *arguments])
        with pytest.raises(SystemExit) as caught:
            run_command("build_shards.cli")
        assert caught.value.code == 2
        assert list(tmp_path.glob("out/shards/*")) == []  # glob sees hidden files too
        line = capfd.readouterr().err
        assert_one_line(line)
        return line

    return refuse


def test_a_missing_folder_ends_in_one_line(refused: Refused, tmp_path: Path):
    assert f"{tmp_path / 'gone'}: no such folder" in refused(tmp_path / "gone")


def test_a_folder_of_neither_layout_ends_in_one_line(refused: Refused, tmp_path: Path):
    line = refused(tmp_path)
    assert "looked for train.csv and valid.csv (course)" in line
    assert "fold_*/{all,hem}/UID_*.bmp" in line


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("", "not a readable CSV"),
        ("Path,label\n", "empty"),
        ("Path\n./cells/6.bmp\n", "the column 'label' is missing"),
        ("Path,label\n./cells/6.bmp,0\n./cells/7.bmp,1,2\n", "not a readable CSV"),
        ("Path,label\n./cells/6.bmp,ALL\n", "the label 'ALL' is not 0 or 1"),
        ("Path,label\n./cells/6.bmp,0\n./cells/6.bmp,0\n", "stands there twice"),
        ("Path,label\n../data/cells/6.bmp,0\n", "leaves the folder"),
        ("Path,label\n/etc/hostname,0\n", "leaves the folder"),
        ("Path,label\n./cells/gone.bmp,0\n", "no such file"),
        (f"Path,label\n./{'x' * 300}.bmp,0\n", "no such file"),
    ],
)
def test_a_bad_csv_ends_in_one_line_with_file_and_rule(refused: Refused, write_course, text: str, rule: str):
    line = refused(write_course(valid=text))
    assert "valid.csv" in line
    assert rule in line


def test_a_path_in_two_splits_ends_in_one_line(refused: Refused, write_course):
    line = refused(write_course(valid="Path,label\n./cells/0.bmp,0\n"))
    assert "'./cells/0.bmp' is in two splits: train and valid" in line


def test_a_link_out_of_the_folder_ends_in_one_line(refused: Refused, write_course, tmp_path: Path):
    data = write_course()
    (data / "cells" / "4.bmp").rename(tmp_path / "moved.bmp")
    (data / "cells" / "4.bmp").symlink_to(tmp_path / "moved.bmp")
    assert "'./cells/4.bmp' leaves the folder through a link" in refused(data)


def bad_image(kind: str) -> bytes:
    colour = np.random.default_rng(0).integers(1, 256, (40, 40, 3), dtype=np.uint8)
    png = cv2.imencode(".png", colour)[1].tobytes()
    return {
        "empty": b"",
        "text": b"not an image",
        "cut": cv2.imencode(".bmp", colour)[1].tobytes()[:-1],
        "grey": cv2.imencode(".bmp", colour[:, :, 0])[1].tobytes(),
        "alpha": cv2.imencode(".bmp", np.dstack([colour, colour[:, :, 0]]))[1].tobytes(),
        "16 bit": cv2.imencode(".png", colour.astype(np.uint16) * 256)[1].tobytes(),
        "holed png": png[:2000] + png[-12:],
        "black": cv2.imencode(".bmp", np.zeros_like(colour))[1].tobytes(),
    }[kind]


@pytest.mark.parametrize(
    ("kind", "rule"),
    [
        ("empty", "not a BMP or PNG image (0 bytes)"),
        ("text", "not a BMP or PNG image"),
        ("cut", "cut short"),
        ("grey", "not an uncompressed 8-bit 3-channel BMP"),
        ("alpha", "not an uncompressed 8-bit 3-channel BMP"),
        ("16 bit", "not an 8-bit 3-channel PNG"),
        ("holed png", "cut short or damaged"),
        ("black", "all background"),
    ],
)
def test_a_bad_image_ends_in_one_line_with_file_and_rule(refused: Refused, write_course, kind: str, rule: str):
    data = write_course()
    (data / "cells" / "4.bmp").write_bytes(bad_image(kind))
    line = refused(data)
    assert "cells/4.bmp: " in line
    assert rule in line


@pytest.mark.parametrize("flags", [("--size", "5"), ("--window", "1")])
def test_a_flag_out_of_bounds_ends_in_one_line(refused: Refused, write_course, flags: tuple[str, str]):
    assert f"{flags[0].removeprefix('--')} {flags[1]}: must be between 33 and" in refused(write_course(), *flags)


@pytest.mark.parametrize(
    ("flags", "rule"),
    [
        (("--format", "jpg"), "quality None: the format jpg needs one from 1 to 100 (--quality 90)"),
        (("--format", "jpg", "--quality", "0"), "quality 0: the format jpg needs one from 1 to 100"),
        (("--quality", "90"), "quality 90: the format png has none, only jpg does"),
    ],
)
def test_a_quality_that_does_not_fit_the_format_ends_in_one_line(
    refused: Refused, write_course, flags: tuple[str, ...], rule: str
):
    assert rule in refused(write_course(), *flags)


@pytest.mark.parametrize("seed", ["-1", "4294967296", "1" + "0" * 30])
def test_a_seed_out_of_range_ends_in_one_line(refused: Refused, tmp_path: Path, seed: str):
    fold = tmp_path / "archive" / "fold_0" / "hem"
    fold.mkdir(parents=True)
    (fold / "UID_H1_1_1_hem.bmp").touch()
    assert "must be between 0 and 4294967295" in refused(tmp_path / "archive", "--seed", seed)


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


def run_here(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> int:
    monkeypatch.setattr(sys, "argv", ["build_shards", *map(str, arguments)])
    try:
        run_command("build_shards.cli")
    except SystemExit as end:
        return int(end.code or 0)
    return 0


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
