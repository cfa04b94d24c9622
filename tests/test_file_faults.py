"""What lies where a source should and is no readable file: links, folders, pipes, and files without permission."""

import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from as_nobody import as_nobody

from build_shards.dataset import read_dataset
from build_shards.shards import build
from build_shards.sources import SKIPPED
from contract.errors import UserError
from contract.manifest import Manifest
from contract.recipe import Recipe

SMALL = Recipe(size=33, window=40)


def build_small(data: Path, folder: Path, **options: bool) -> Manifest:
    return build(read_dataset(data), SMALL, folder, workers=1, force=False, **options)[0]


def cell() -> np.ndarray:
    return np.random.default_rng(0).integers(1, 256, (40, 40, 3), dtype=np.uint8)


def lay_open(data: Path, folder: Path) -> Path:
    copy = shutil.copytree(data, folder / "data")
    for path in [copy, *copy.rglob("*")]:
        path.chmod(0o755)
    return copy


def test_a_file_without_read_permission_is_a_fault_like_others(write_course, open_folder: Path):
    data = lay_open(write_course(), open_folder)
    (data / "cells" / "1.bmp").chmod(0)
    with as_nobody():
        with pytest.raises(UserError, match=r"cells/1\.bmp: cannot be read: Permission denied"):
            build_small(data, open_folder / "shards")
        assert not (open_folder / "shards").exists()
        manifest = build_small(data, open_folder / "shards", skip_bad=True)
        assert manifest.skipped == 1
        assert build(read_dataset(data), SMALL, open_folder / "shards", 1, force=False, skip_bad=True)[1] is False
    assert (open_folder / "shards" / SKIPPED).read_text().endswith("cannot be read: Permission denied,\n")


@pytest.mark.parametrize("name", ["cells", "train.csv", "subjects.csv", "dataset.json", "."])
def test_nothing_else_without_read_permission_ends_in_a_traceback(write_course, open_folder: Path, name: str):
    data = write_course(subjects="Path,subject\n./cells/0.bmp,1\n")
    (data / "dataset.json").write_text('{"name": "x"}')
    data = lay_open(data, open_folder)
    (data / name).chmod(0)
    with as_nobody(), pytest.raises(UserError):
        build_small(data, open_folder / "shards")
    assert not (open_folder / "shards").exists()


def test_a_folder_that_cannot_be_written_is_refused_by_name(write_course, open_folder: Path):
    data = lay_open(write_course(), open_folder)
    (open_folder / "closed").mkdir(mode=0o555)
    for folder in (open_folder / "closed", open_folder / "closed" / "shards"):
        with as_nobody(), pytest.raises(UserError, match=r"closed.*: cannot be written: Permission denied"):
            build_small(data, folder)


@pytest.fixture
def archive(tmp_path: Path, write_image) -> Path:
    """Ten people of each class with one cell each."""
    for number in range(1, 11):
        for cls, subject in (("all", f"{number}"), ("hem", f"H{number}")):
            write_image(tmp_path / "archive" / "fold_0" / cls / f"UID_{subject}_1_1_{cls}.bmp", cell())
    return tmp_path / "archive"


def test_in_the_archive_a_link_out_of_the_folder_is_refused(archive: Path, tmp_path: Path):
    file = archive / "fold_0" / "all" / "UID_3_1_1_all.bmp"
    file.rename(tmp_path / "out.bmp")
    file.symlink_to(tmp_path / "out.bmp")
    with pytest.raises(UserError, match=r"UID_3_1_1_all\.bmp' leaves the folder through a link"):
        read_dataset(archive)


def test_in_the_archive_a_class_folder_that_is_a_link_out_is_refused(archive: Path, tmp_path: Path):
    (archive / "fold_0" / "all").rename(tmp_path / "out")
    (archive / "fold_0" / "all").symlink_to(tmp_path / "out")
    with pytest.raises(UserError, match=r"all\.bmp' leaves the folder through a link"):
        read_dataset(archive)


@pytest.mark.parametrize("kind", ["folder", "pipe", "link to nothing"])
def test_in_the_archive_what_is_no_file_is_refused(archive: Path, kind: str):
    file = archive / "fold_0" / "all" / "UID_3_1_1_all.bmp"
    file.unlink()
    {
        "folder": file.mkdir,
        "pipe": lambda: os.mkfifo(file),  # reading it would wait for ever
        "link to nothing": lambda: file.symlink_to("gone"),
    }[kind]()
    with pytest.raises(UserError, match=r"UID_3_1_1_all\.bmp': no such file"):
        read_dataset(archive)


def test_in_the_archive_a_folder_that_cannot_be_listed_is_refused_and_not_dropped(archive: Path, open_folder: Path):
    data = lay_open(archive, open_folder)
    (data / "fold_0" / "hem").chmod(0)
    with as_nobody(), pytest.raises(UserError, match="fold_0/hem: cannot be read: Permission denied"):
        read_dataset(data)


@pytest.mark.parametrize("kind", ["folder", "pipe"])
def test_in_the_course_layout_what_is_no_file_is_refused(write_course, kind: str):
    data = write_course()
    (data / "cells" / "1.bmp").unlink()
    {"folder": (data / "cells" / "1.bmp").mkdir, "pipe": lambda: os.mkfifo(data / "cells" / "1.bmp")}[kind]()
    with pytest.raises(UserError, match=r"train\.csv, line 3: '\./cells/1\.bmp': no such file"):
        read_dataset(data)


def test_a_source_that_becomes_a_folder_after_it_was_listed_is_a_fault_like_others(write_course, tmp_path: Path):
    data = write_course()
    dataset = read_dataset(data)
    (data / "cells" / "1.bmp").unlink()
    (data / "cells" / "1.bmp").mkdir()
    with pytest.raises(UserError, match=r"cells/1\.bmp: cannot be read: Is a directory"):
        build(dataset, SMALL, tmp_path / "shards", workers=1, force=False)
    assert not (tmp_path / "shards").exists()


@pytest.mark.parametrize("name", ["valid-000000.tar", "manifest.json", "."])
def test_an_earlier_build_that_may_not_be_read_ends_in_one_line(write_course, open_folder: Path, name: str):
    data, folder = lay_open(write_course(), open_folder), open_folder / "shards"
    build_small(data, folder)
    (folder / name).chmod(0)
    with as_nobody(), pytest.raises(UserError, match="cannot be read: Permission denied"):
        build_small(data, folder)
