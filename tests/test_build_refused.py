"""Bad input of a build: one line with file and rule, status 2, and nothing left."""

import sys
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from build_command import assert_one_line

from contract.command import run_command

Refused = Callable[..., str]


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
        "no black": cv2.imencode(".bmp", colour)[1].tobytes(),
        "no black png": png,
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
        ("no black", "no background: no pixel is (0, 0, 0)"),
        ("no black png", "no background: no pixel is (0, 0, 0)"),
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


@pytest.mark.parametrize("workers", ["-1", "1025", "9" * 12])
def test_a_number_of_workers_that_no_machine_has_ends_in_one_line(refused: Refused, write_course, workers: str):
    assert f"--workers {workers}: must be between 0 and 1024" in refused(write_course(), "--workers", workers)


def test_more_shards_than_floats_count_end_in_one_line(refused: Refused, write_course):
    assert "the split 'train' has only 3 cells" in refused(write_course(), "--shards-multiple-of", "1" + "0" * 400)


def test_a_name_that_is_not_utf_8_ends_in_one_line(refused: Refused, write_course):
    assert "name 'd\\udcff' is not UTF-8" in refused(write_course(), "--name", "d\udcff")


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
