import json
import resource
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from build_shards.dataset import read_dataset
from build_shards.preprocess import read_image
from build_shards.synthetic import draw_cell, write_synthetic
from contract.errors import UserError


def contents(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_the_same_seed_gives_the_same_bytes_and_another_seed_others(tmp_path: Path):
    first, again, other = tmp_path / "first", tmp_path / "again", tmp_path / "other"
    for folder, seed in ((first, 1), (again, 1), (other, 2)):
        write_synthetic(folder, 20, seed)
    assert contents(first) == contents(again)
    assert contents(first)["synthetic/train/0.bmp"] != contents(other)["synthetic/train/0.bmp"]


def test_everything_made_of_it_says_synthetic(synthetic_data: Path):
    dataset = read_dataset(synthetic_data)
    assert "synthetic" in dataset.name
    assert all("synthetic" in cell.source for cell in dataset.cells)
    assert "synthetic" in json.loads((synthetic_data / "dataset.json").read_text())["name"]


def test_labels_and_subjects_of_the_test_split_are_hidden(synthetic_data: Path):
    for network in ("resnet_18", "resnet_50", "resnet_152"):
        assert list(pd.read_csv(synthetic_data / f"{network}_test.csv").columns) == ["Path"]
    for csv in ("train.csv", "valid.csv", "subjects.csv"):
        assert "/test/" not in (synthetic_data / csv).read_text()


def test_each_board_asks_for_the_same_cells_in_an_order_of_its_own(synthetic_data: Path):
    ids = [submission.ids for submission in read_dataset(synthetic_data).submissions]
    assert len(ids) == len(set(ids)) == 3
    assert len({frozenset(i) for i in ids}) == 1


def test_both_classes_are_in_train_and_valid(synthetic_data: Path):
    cells = read_dataset(synthetic_data).cells
    for split in ("train", "valid"):
        assert {cell.label for cell in cells if cell.split == split} == {0, 1}


def test_images_are_as_the_archives(synthetic_data: Path):
    sizes = [path.stat().st_size for path in (synthetic_data / "synthetic" / "valid").iterdir()]
    assert sizes == [450 * 1352 + 54] * 12  # 24 bits a pixel, rows padded from 1350 to 1352 bytes


@pytest.mark.parametrize("label", [0, 1])
def test_a_drawn_cell_is_whole_and_lies_on_exact_black(label: int):
    rng = np.random.default_rng(0)
    for _ in range(5):
        image = draw_cell(label, 0.0, rng, side=90)
        mask = image.any(axis=2)
        assert (image[mask] > 0).all()
        assert 0.05 < mask.mean() < 0.5
        assert not mask[[0, -1]].any()
        assert not mask[:, [0, -1]].any()


def test_blasts_are_larger_than_normal_cells_on_average():
    rng = np.random.default_rng(0)
    normal, blast = (np.mean([draw_cell(k, 0.0, rng, side=90).any(axis=2).sum() for _ in range(30)]) for k in (0, 1))
    assert 1.2 < blast / normal < 1.8


@pytest.mark.parametrize("cells", [21, 22])
def test_as_many_cells_are_drawn_as_were_asked_for(tmp_path: Path, cells: int, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("build_shards.synthetic.draw_cell", lambda *_: np.full((9, 9, 3), 7, np.uint8))
    write_synthetic(tmp_path / "data", cells, 0)
    assert len(list((tmp_path / "data").rglob("*.bmp"))) == cells


def test_an_empty_folder_is_filled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("build_shards.synthetic.draw_cell", lambda *_: np.full((9, 9, 3), 7, np.uint8))
    write_synthetic(tmp_path, 20, 0)
    assert (tmp_path / "train.csv").is_file()


def test_too_few_cells_are_refused(tmp_path: Path):
    with pytest.raises(UserError, match="cells 19: at least 20 are needed"):
        write_synthetic(tmp_path / "data", 19, 0)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_in_use_is_refused_and_stays_as_it_is(tmp_path: Path):
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(UserError, match="not empty"):
        write_synthetic(tmp_path, 20, 0)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


@pytest.mark.parametrize("target", ["file", "file/below"])
def test_a_file_in_the_way_is_refused(tmp_path: Path, target: str):
    (tmp_path / "file").write_text("mine")
    with pytest.raises(UserError, match="file"):
        write_synthetic(tmp_path / target, 20, 0)
    assert (tmp_path / "file").read_text() == "mine"


def test_nothing_is_left_when_drawing_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def fail(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("build_shards.synthetic.draw_cell", fail)
    with pytest.raises(KeyboardInterrupt):
        write_synthetic(tmp_path / "data", 20, 0)
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_ends_in_one_line_and_leaves_nothing(tmp_path: Path):
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, before[1]))  # an image of 450 px has 600 times as many bytes
    try:
        with pytest.raises(UserError, match="data: cannot be written: File too large"):
            write_synthetic(tmp_path / "data", 20, 0)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert list(tmp_path.iterdir()) == []


def test_six_tenths_of_the_cells_train(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("build_shards.synthetic.draw_cell", lambda *_: np.full((9, 9, 3), 7, np.uint8))
    write_synthetic(tmp_path / "data", 40, 0)
    counts = [len(list((tmp_path / "data" / "synthetic" / split).iterdir())) for split in ("train", "valid", "test")]
    assert counts == [24, 8, 8]


def test_a_drawn_nucleus_is_purple_in_its_file(synthetic_data: Path):
    image, _ = read_image(synthetic_data / "synthetic" / "train" / "0.bmp")
    red, green, blue = image[image.any(axis=2)].mean(axis=0)
    assert green < red < blue
