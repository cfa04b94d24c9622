"""A build that leaves out bad cells: its list lies beside its shards, and no other build takes it for its own."""

import os
from pathlib import Path

import pytest

from build_shards.dataset import read_dataset
from build_shards.shards import INFO, build
from build_shards.sources import SKIPPED
from contract.errors import UserError
from contract.manifest import NAME, load_manifest
from contract.recipe import Recipe

SMALL = Recipe(size=33, window=40)


def build_small(data: Path, folder: Path, **options: bool) -> None:
    build(read_dataset(data), SMALL, folder, workers=1, **{"force": False, **options})


@pytest.fixture
def data(write_course) -> Path:
    """The small course with a bad cell 1."""
    folder = write_course()
    (folder / "cells" / "1.bmp").write_bytes(b"BM")
    return folder


def test_a_build_that_may_leave_out_no_cell_takes_up_none_of_one_that_may(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("build_shards.shards._publish", interrupt)
        with pytest.raises(KeyboardInterrupt):
            build_small(data, tmp_path / "shards", skip_bad=True)
    with pytest.raises(UserError, match=r"1\.bmp"):
        build_small(data, tmp_path / "shards")


def test_the_list_of_skipped_cells_goes_with_the_build_it_belongs_to(data: Path, tmp_path: Path) -> None:
    build_small(data, tmp_path / "shards", skip_bad=True)
    assert (tmp_path / "shards" / SKIPPED).is_file()
    (data / "cells" / "1.bmp").write_bytes((data / "cells" / "0.bmp").read_bytes())
    build_small(data, tmp_path / "shards", force=True)
    assert not (tmp_path / "shards" / SKIPPED).exists()


def test_the_manifest_is_published_last(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Killed before it, the folder must not look like a finished build.
    published: list[str] = []
    replace_file = os.replace

    def noted(source: Path, target: Path) -> None:
        replace_file(source, target)
        if Path(target).parent == tmp_path / "shards":
            published.append(Path(target).name)

    monkeypatch.setattr(os, "replace", noted)
    build_small(data, tmp_path / "shards", skip_bad=True)
    assert published[-3:] == [SKIPPED, INFO, NAME]


def test_a_person_of_whom_no_cell_is_left_is_not_counted(data: Path, tmp_path: Path) -> None:
    (data / "subjects.csv").write_text(
        "Path,subject\n./cells/0.bmp,A\n./cells/1.bmp,B\n./cells/2.bmp,A\n./cells/3.bmp,B\n"
    )
    build_small(data, tmp_path / "shards", skip_bad=True)
    train, valid = (load_manifest(tmp_path / "shards").split(name) for name in ("train", "valid"))
    assert (train.subjects, valid.subjects, valid.shared_subjects) == (1, 1, 0)


def test_a_cell_that_was_left_out_of_another_split_is_named(data: Path, tmp_path: Path) -> None:
    build_small(data, tmp_path / "shards", skip_bad=True)
    (data / "train.csv").write_text("Path,label\n./cells/0.bmp,0\n./cells/2.bmp,1\n")
    (data / "valid.csv").write_text("Path,label\n./cells/1.bmp,1\n./cells/3.bmp,0\n./cells/4.bmp,1\n")
    with pytest.raises(UserError, match=r"\./cells/1\.bmp has split valid, not train"):
        build_small(data, tmp_path / "shards", skip_bad=True)


def test_an_empty_folder_that_was_there_before_outlives_a_build_that_fails(data: Path, tmp_path: Path) -> None:
    for folder, there in ((tmp_path / "mine", True), (tmp_path / "new", False)):
        if there:
            folder.mkdir()
        with pytest.raises(UserError, match=r"1\.bmp"):
            build_small(data, folder)
        assert folder.exists() == there
