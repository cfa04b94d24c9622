from dataclasses import replace
from pathlib import Path

import pytest
from archive_folder import write_archive

from build_shards.dataset import Dataset, cell_file, natural, read_dataset
from contract.errors import UserError


def test_a_folder_that_does_not_exist_is_refused(tmp_path: Path):
    with pytest.raises(UserError, match=r"gone: no such folder"):
        read_dataset(tmp_path / "gone")


def test_a_file_in_place_of_the_folder_is_refused(tmp_path: Path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(UserError, match=r"file: no such folder"):
        read_dataset(tmp_path / "file")


def test_a_folder_of_neither_layout_is_refused_with_what_was_looked_for(tmp_path: Path):
    (tmp_path / "photo.bmp").write_bytes(b"BM")
    with pytest.raises(UserError, match="neither layout recognised") as caught:
        read_dataset(tmp_path)
    for sought in (str(tmp_path), "train.csv", "valid.csv", "fold_*/{all,hem}/UID_*.bmp"):
        assert sought in str(caught.value)


def test_each_layout_is_recognised_by_what_is_in_it(write_course, tmp_path: Path):
    fold = tmp_path / "archive" / "C-NMC" / "fold_0" / "hem"
    fold.mkdir(parents=True)
    (fold / "UID_H1_1_1_hem.bmp").write_bytes(b"x")
    assert read_dataset(write_course()).layout == "course"
    assert read_dataset(tmp_path / "archive").layout == "archive"


def test_a_good_path_is_found_below_the_folder(tmp_path: Path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "0.bmp").write_bytes(b"x")
    assert cell_file(tmp_path, "./a/0.bmp", "t.csv, line 2").samefile(tmp_path / "a" / "0.bmp")


@pytest.mark.parametrize("written", ["../out.bmp", "a/../../out.bmp", "a/../0.bmp", "/etc/hostname", "./../data/0.bmp"])
def test_a_path_that_leaves_the_folder_is_refused_even_where_the_file_exists(tmp_path: Path, written: str):
    folder = tmp_path / "data"
    (folder / "a").mkdir(parents=True)
    for file in (tmp_path / "out.bmp", folder / "0.bmp"):
        file.write_bytes(b"x")
    with pytest.raises(UserError, match=r"t\.csv, line 2: the path .* leaves the folder: it must be relative"):
        cell_file(folder, written, "t.csv, line 2")


def test_a_link_to_a_file_outside_is_refused_and_one_inside_is_welcome(tmp_path: Path):
    folder = tmp_path / "data"
    folder.mkdir()
    for file in (tmp_path / "out.bmp", folder / "0.bmp"):
        file.write_bytes(b"x")
    (folder / "outward.bmp").symlink_to(tmp_path / "out.bmp")
    (folder / "inward.bmp").symlink_to(folder / "0.bmp")
    assert cell_file(folder, "inward.bmp", "t.csv").name == "inward.bmp"
    with pytest.raises(UserError, match=r"t\.csv, line 2: the path 'outward\.bmp' leaves the folder through a link"):
        cell_file(folder, "outward.bmp", "t.csv, line 2")


def test_a_linked_folder_that_leads_outside_is_refused(tmp_path: Path):
    (tmp_path / "data").mkdir()
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "0.bmp").write_bytes(b"x")
    (tmp_path / "data" / "link").symlink_to(tmp_path / "out")
    with pytest.raises(UserError, match="leaves the folder through a link"):
        cell_file(tmp_path / "data", "link/0.bmp", "t.csv")


@pytest.mark.parametrize("written", ["gone.bmp", "", ".", "a\0b.bmp", "x" * 300 + ".bmp"])
def test_a_path_without_a_file_is_refused(tmp_path: Path, written: str):
    with pytest.raises(UserError, match=r"t\.csv, line 2: .*no such file"):
        cell_file(tmp_path, written, "t.csv, line 2")


def test_names_of_one_number_have_an_order_that_does_not_depend_on_chance():
    names = ["H10", "H2", "01", "1", "001", "10", "2", "2a3", "2a"]
    wanted = ["001", "01", "1", "2", "2a", "2a3", "10", "H2", "H10"]
    for shift in range(len(names)):
        assert sorted(names[shift:] + names[:shift], key=natural) == wanted


def test_the_digest_sees_every_part_of_the_source_list(write_course):
    dataset = read_dataset(write_course(subjects="Path,subject\n./cells/0.bmp,S1\n"))
    first, *others = dataset.cells
    for other in (
        replace(first, split="valid"),
        replace(first, source="cells/0.bmp"),
        replace(first, label=1),
        replace(first, subject="S2"),
    ):
        assert replace(dataset, cells=(other, *others)).digest != dataset.digest
    assert replace(dataset, submissions=()).digest != dataset.digest
    assert replace(dataset, cells=tuple(others)).digest != dataset.digest


def test_the_digest_sees_a_files_size_and_not_where_the_folder_lies(write_course, tmp_path: Path):
    before: Dataset = read_dataset(write_course())
    digest = before.digest
    (tmp_path / "data").rename(tmp_path / "moved")
    assert read_dataset(tmp_path / "moved").digest == digest
    with (tmp_path / "moved" / "cells" / "3.bmp").open("ab") as file:
        file.write(b"x")
    assert read_dataset(tmp_path / "moved").digest != digest


@pytest.mark.parametrize(
    "change", [{"split_by": "image"}, {"folds": 3}, {"fold": 2}, {"identities": {"S1": "S1+S2"}}], ids=str
)
def test_the_digest_sees_how_the_cells_were_split_and_who_is_one_person(write_course, change: dict):
    dataset = read_dataset(write_course())
    assert replace(dataset, **change).digest != dataset.digest


def test_the_digest_sees_what_a_submission_is_called_and_in_which_order_it_asks(write_course):
    dataset = read_dataset(write_course(resnet_18_test="Path\n./cells/5.bmp\n./cells/6.bmp\n"))
    (asked,) = dataset.submissions
    for other in (replace(asked, name="resnet50"), replace(asked, ids=asked.ids[::-1])):
        assert replace(dataset, submissions=(other,)).digest != dataset.digest


@pytest.mark.parametrize("layout", ["course", "archive"])
def test_a_dataset_is_called_after_its_folder_also_from_within(
    write_course, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, layout: str
):
    folder = write_course() if layout == "course" else write_archive(tmp_path / "data", subjects=4)
    monkeypatch.chdir(folder)
    assert read_dataset(Path()).name == read_dataset(folder).name == "data"
