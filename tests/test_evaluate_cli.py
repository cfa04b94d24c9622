"""The commands of the evaluation, as a user starts them."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


def _run(*arguments: object, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, *map(str, arguments)]
    return subprocess.run(
        command, cwd=cwd, capture_output=True, text=True, check=False, env={**os.environ, "COLUMNS": "160"}
    )


def test_run_works_from_any_folder(exported: Path, shards: Path, tmp_path: Path) -> None:
    shutil.copytree(exported, tmp_path / "artifacts")
    done = _run(ROOT / "evaluate" / "run.py", "--shards", shards, "--artifacts", "artifacts", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "resnet18" in done.stdout
    assert (tmp_path / "artifacts" / "report" / "submission_resnet18.csv").is_file()


def test_demo_shows_every_image_and_writes_its_picture(
    three: Path, shards: Path, synthetic_data: Path, tmp_path: Path
) -> None:
    shutil.copytree(three, tmp_path / "artifacts")
    cells = [synthetic_data / "synthetic" / split / "1.bmp" for split in ("test", "valid")]
    done = _run("-m", "evaluate", "demo", *cells, "--artifacts", tmp_path / "artifacts", "--shards", shards)
    assert done.returncode == 0, done.stderr
    assert "not a medical device" in done.stdout
    assert "ensemble" in done.stdout
    assert len(re.findall(r"(?:blast|normal) 0\.\d{3}", done.stdout)) == 2 * 4
    assert len(re.findall(r"\d ms", done.stdout)) == 2 * 5
    # Two files of one name: both pictures are kept.
    assert len(list((tmp_path / "artifacts" / "demo").glob("*-1.png"))) == 2


def _mistakes(data: Path) -> list[tuple[list[object], str]]:
    text = data / "train.csv"
    return [
        (["-m", "evaluate", "demo", data / "gone.bmp"], "gone.bmp"),
        (["-m", "evaluate", "demo", data / "synthetic" / "valid" / "1.bmp", text], "not a BMP, PNG or JPEG"),
        ([ROOT / "evaluate" / "run.py", "--shards", data / "nowhere"], "build the shards first"),
    ]


@pytest.mark.parametrize("number", range(3))
def test_a_mistake_ends_in_one_line_and_status_2(
    number: int, exported: Path, synthetic_data: Path, tmp_path: Path
) -> None:
    shutil.copytree(exported, tmp_path / "artifacts")
    arguments, word = _mistakes(synthetic_data)[number]
    done = _run(*arguments, "--artifacts", tmp_path / "artifacts")
    assert done.returncode == 2
    assert word in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert not (tmp_path / "artifacts" / "demo").exists()


def test_a_missing_package_names_make_setup(tmp_path: Path) -> None:
    (tmp_path / "tyro.py").write_text("raise ModuleNotFoundError(\"No module named 'tyro'\", name='tyro')\n")
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    for room in ("build_shards", "train", "export", "evaluate"):
        command = [sys.executable, "-m", room, "--help"]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, env=environment)
        assert (done.returncode, done.stderr) == (2, "error: the package 'tyro' is not installed: run `make setup`\n")
