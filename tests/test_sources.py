"""A source that changed, came or went is noticed: in a finished build, in one that goes on after a kill, by verify."""

import os
import shutil
import sys
from pathlib import Path

import pytest

from build_shards.cli import main
from build_shards.dataset import read_dataset
from build_shards.shards import build
from build_shards.sources import SKIPPED
from contract.errors import UserError
from contract.manifest import NAME, Manifest
from contract.recipe import Recipe

SMALL = Recipe(size=33, window=40)


def contents(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def build_small(data: Path, folder: Path, recipe: Recipe = SMALL, **options: bool) -> tuple[Manifest, bool]:
    return build(read_dataset(data), recipe, folder, workers=1, **{"force": False, **options})


def change_in_place(file: Path) -> None:
    """Another pixel, the same size, the same times: nothing but the content tells."""
    before, data = file.stat(), bytearray(file.read_bytes())
    data[-600] ^= 0x55
    file.write_bytes(data)
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert (file.stat().st_size, file.stat().st_mtime_ns) == (before.st_size, before.st_mtime_ns)


@pytest.fixture
def data(write_course) -> Path:
    """Cells 0 to 2 for training, 3 and 4 for validation, 5 to be submitted."""
    return write_course(subjects="Path,subject\n./cells/0.bmp,1\n./cells/1.bmp,2\n")


@pytest.fixture
def folder(data: Path, tmp_path: Path) -> Path:
    build_small(data, tmp_path / "shards")
    return tmp_path / "shards"


@pytest.mark.parametrize("number", range(6))
def test_a_file_changed_in_place_is_refused_by_name_and_force_builds_anew(data: Path, folder: Path, number: int):
    before = contents(folder)
    change_in_place(data / "cells" / f"{number}.bmp")
    with pytest.raises(UserError, match=rf"other sources \(of data: \./cells/{number}\.bmp has changed\): --force"):
        build_small(data, folder)
    assert contents(folder) == before
    assert build_small(data, folder, force=True)[1]
    assert build_small(data, folder)[1] is False


def test_several_changed_files_are_counted(data: Path, folder: Path):
    for number in (1, 3, 5):
        change_in_place(data / "cells" / f"{number}.bmp")
    with pytest.raises(UserError, match=r"\./cells/1\.bmp has changed \(and 2 more\)\)"):
        build_small(data, folder)


def test_other_times_alone_change_nothing(data: Path, folder: Path):
    for file in (data / "cells").iterdir():
        os.utime(file, (0, 0))
    assert build_small(data, folder)[1] is False


def test_a_file_of_another_size_is_named(data: Path, folder: Path):
    with (data / "cells" / "4.bmp").open("ab") as file:
        file.write(b"\0")
    with pytest.raises(UserError, match=r"\./cells/4\.bmp has changed"):
        build_small(data, folder)


@pytest.mark.parametrize(
    ("csv", "text", "said"),
    [
        ("train", "Path,label\n./cells/0.bmp,1\n./cells/1.bmp,1\n./cells/2.bmp,1\n", "0.bmp has label 1, not 0"),
        ("train", "Path,label\n./cells/0.bmp,0\n./cells/1.bmp,1\n", "2.bmp is gone"),
        ("valid", "Path,label\n./cells/3.bmp,0\n./cells/4.bmp,1\n./cells/6.bmp,1\n", "6.bmp is new"),
        ("subjects", "Path,subject\n./cells/0.bmp,1\n./cells/1.bmp,3\n", "1.bmp has subject 3, not 2"),
        (
            "resnet_50_test",
            "Path\n./cells/5.bmp\n",
            "the order of the cells, who is one person, or the IDs of a submission",
        ),
        ("train", "Path,label\n./cells/1.bmp,1\n./cells/0.bmp,0\n./cells/2.bmp,1\n", "the order of the cells"),
    ],
)
def test_another_listing_is_refused_with_what_differs(data: Path, folder: Path, csv: str, text: str, said: str):
    (data / f"{csv}.csv").write_text(text)
    with pytest.raises(UserError, match=rf"shards: holds shards of other sources \(of data: .*{said}.*--force"):
        build_small(data, folder)


def test_a_cell_that_moved_to_another_split_is_named(data: Path, folder: Path):
    (data / "train.csv").write_text("Path,label\n./cells/0.bmp,0\n./cells/1.bmp,1\n")
    (data / "valid.csv").write_text("Path,label\n./cells/2.bmp,1\n./cells/3.bmp,0\n./cells/4.bmp,1\n")
    with pytest.raises(UserError, match=r"\./cells/2\.bmp has split valid, not train"):
        build_small(data, folder)


def test_a_finished_build_with_a_damaged_shard_is_not_taken_for_finished(data: Path, folder: Path):
    shard = folder / "valid-000000.tar"
    damaged = bytearray(shard.read_bytes())
    damaged[1000] ^= 1
    shard.write_bytes(damaged)
    with pytest.raises(UserError, match=r"valid-000000\.tar: its bytes are not those that the manifest lists"):
        build_small(data, folder)
    assert build_small(data, folder, force=True)[1]


def interrupt(*_: object) -> None:
    raise KeyboardInterrupt


def interrupted(data: Path, folder: Path, monkeypatch: pytest.MonkeyPatch, recipe: Recipe = SMALL) -> None:
    """All shards are in the staging folder; the next build of the same listing takes them up."""
    with monkeypatch.context() as patch:
        patch.setattr("build_shards.shards.make_manifest", interrupt)
        with pytest.raises(KeyboardInterrupt):
            build_small(data, folder, recipe)
    assert len(list(folder.glob(".building-*/*.tar"))) >= 3


@pytest.mark.parametrize("number", range(6))
def test_a_build_that_goes_on_takes_up_no_shard_of_a_file_that_changed(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
):
    interrupted(data, tmp_path / "shards", monkeypatch)
    change_in_place(data / "cells" / f"{number}.bmp")
    build_small(data, tmp_path / "shards")
    build_small(data, tmp_path / "fresh")
    assert contents(tmp_path / "shards") == contents(tmp_path / "fresh")


def test_a_build_that_goes_on_takes_up_no_shard_of_another_stain_target(
    synthetic_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    # The target is fitted on the training split: a cell that changed there changes the pixels of all shards.
    data, recipe = tmp_path / "data", Recipe(size=33, stain="reinhard")
    shutil.copytree(synthetic_data, data)
    interrupted(data, tmp_path / "shards", monkeypatch, recipe)
    for number in range(36):
        file = data / "synthetic" / "train" / f"{number}.bmp"
        header, pixels = file.read_bytes()[:54], file.read_bytes()[54:]
        file.write_bytes(header + bytes(value // 2 + value % 2 for value in pixels))
    build_small(data, tmp_path / "shards", recipe)
    build_small(data, tmp_path / "fresh", recipe)
    assert contents(tmp_path / "shards") == contents(tmp_path / "fresh")


@pytest.fixture
def skipping(data: Path, tmp_path: Path) -> Path:
    """A build that left out cell 4."""
    (data / "cells" / "4.bmp").write_bytes(b"BM, then nothing")
    build_small(data, tmp_path / "shards", skip_bad=True)
    return tmp_path / "shards"


def test_a_build_that_left_out_cells_is_finished_only_for_who_asks_for_that(data: Path, skipping: Path):
    assert build_small(data, skipping, skip_bad=True)[1] is False
    with pytest.raises(UserError, match="holds shards of all but 1 cells, which --skip-bad left out: --force"):
        build_small(data, skipping)


def test_a_bad_cell_that_was_mended_is_noticed(data: Path, skipping: Path):
    shutil.copy(data / "cells" / "3.bmp", data / "cells" / "4.bmp")
    with pytest.raises(UserError, match=r"\./cells/4\.bmp has changed"):
        build_small(data, skipping, skip_bad=True)


@pytest.mark.parametrize("text", ["", "Path,split,reason,sha256\n", "Path\nx\n", "\0"])
def test_a_list_of_skipped_cells_that_does_not_fit_is_refused(data: Path, skipping: Path, text: str):
    (skipping / SKIPPED).write_text(text)
    with pytest.raises(UserError, match=r"skipped\.csv: does not list the 1 cells that the manifest counts"):
        build_small(data, skipping, skip_bad=True)


def test_a_list_of_one_skipped_cell_too_many_is_refused(data: Path, skipping: Path):
    with (skipping / SKIPPED).open("a") as file:
        file.write("./cells/0.bmp,train,x,y\n")
    with pytest.raises(UserError, match="does not list"):
        build_small(data, skipping, skip_bad=True)


def test_the_list_of_skipped_cells_does_not_say_where_the_dataset_lies(data: Path, skipping: Path, tmp_path: Path):
    shutil.copytree(data, tmp_path / "elsewhere" / "data")
    build_small(tmp_path / "elsewhere" / "data", tmp_path / "again", skip_bad=True)
    assert contents(tmp_path / "again") == contents(skipping)
    assert str(tmp_path) not in (skipping / SKIPPED).read_text()


def run_verify(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    monkeypatch.setattr(sys, "argv", ["build_shards", "verify", *map(str, arguments)])
    status = 0
    try:
        main()
    except SystemExit as stopped:
        status = int(stopped.code or 0)
    said = capsys.readouterr()
    assert (status, bool(said.out)) in {(0, True), (1, False)}
    return said.err if status else said.out


def test_verify_compares_with_the_dataset(data: Path, folder: Path, monkeypatch, capsys):
    said = run_verify(monkeypatch, capsys, folder, "--data", data)
    assert "3 shards, 6 samples, all as listed, made of the files in" in said
    change_in_place(data / "cells" / "3.bmp")
    assert "all as listed" in run_verify(monkeypatch, capsys, folder)  # the shards themselves are whole
    said = run_verify(monkeypatch, capsys, folder, "--data", data)
    assert said.splitlines()[-1] == f"bad: {folder}: was made of other sources: ./cells/3.bmp has changed"


def test_verify_does_not_mind_how_the_dataset_is_split(data: Path, folder: Path, monkeypatch, capsys):
    (data / "train.csv").write_text("Path,label\n./cells/0.bmp,0\n./cells/1.bmp,1\n")
    (data / "valid.csv").write_text("Path,label\n./cells/2.bmp,1\n./cells/3.bmp,0\n./cells/4.bmp,1\n")
    assert "made of the files in" in run_verify(monkeypatch, capsys, folder, "--data", data)
    (data / "valid.csv").write_text("Path,label\n./cells/3.bmp,0\n./cells/4.bmp,1\n")
    assert "./cells/2.bmp is gone" in run_verify(monkeypatch, capsys, folder, "--data", data)


def test_nothing_of_times_reaches_the_output(data: Path, folder: Path, tmp_path: Path):
    for file in (data / "cells").iterdir():
        os.utime(file, (1, 1))
    build_small(data, tmp_path / "again")
    assert contents(tmp_path / "again") == contents(folder)
    assert (folder / NAME).read_bytes() == (tmp_path / "again" / NAME).read_bytes()
