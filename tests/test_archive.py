import os
import random
from collections import defaultdict
from pathlib import Path

import pytest
from archive_folder import add_prelim, write_archive

from build_shards.archive import read_archive
from build_shards.dataset import Dataset
from contract.errors import UserError


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    return write_archive(tmp_path / "archive")


def splits_of_subjects(dataset: Dataset) -> dict[str | None, set[str]]:
    splits = defaultdict(set)
    for cell in dataset.cells:
        splits[cell.subject].add(cell.split)
    return splits


def placement(dataset: Dataset) -> list[tuple[str, str]]:
    return [(cell.split, cell.source) for cell in dataset.cells]


def test_every_image_becomes_one_cell_with_class_and_subject_of_its_name(archive: Path):
    dataset = read_archive(archive, "subject", 0)
    assert len(dataset.cells) == len({cell.source for cell in dataset.cells}) == len(list(archive.rglob("*.bmp")))
    for cell in dataset.cells:
        assert cell.label == int(cell.source.endswith("_all.bmp"))
        assert cell.file.name.split("_")[1] == cell.subject
        assert (archive / cell.source).samefile(cell.file)


def test_a_split_by_subject_keeps_every_subject_in_one_split(archive: Path):
    dataset = read_archive(archive, "subject", 0)
    assert all(len(splits) == 1 for splits in splits_of_subjects(dataset).values())
    assert dataset.split_by == "subject"


def test_a_split_by_image_spreads_subjects_over_splits(archive: Path):
    dataset = read_archive(archive, "image", 0)
    assert any(len(splits) > 1 for splits in splits_of_subjects(dataset).values())
    assert dataset.split_by == "image"


def test_11_and_h11_are_different_people(tmp_path: Path):
    # With 12 people of each class some number has its two bearers in different splits, unless they were taken for one.
    splits = splits_of_subjects(read_archive(write_archive(tmp_path, subjects=12), "subject", 0))
    assert len(splits) == 24
    assert any(splits[str(n)] != splits[f"H{n}"] for n in range(1, 13))


@pytest.mark.parametrize(("split_by", "tolerance"), [("subject", 0.03), ("image", 0.005)])
@pytest.mark.parametrize("label", [0, 1])
def test_each_class_is_shared_out_about_75_15_10(archive: Path, split_by: str, tolerance: float, label: int):
    cells = [c for c in read_archive(archive, split_by, 0).cells if c.label == label]  # type: ignore[arg-type]
    for split, share in {"train": 0.75, "valid": 0.15, "test": 0.10}.items():
        assert sum(c.split == split for c in cells) / len(cells) == pytest.approx(share, abs=tolerance)


def test_the_split_is_drawn_from_the_seed(archive: Path):
    first, again, other = (placement(read_archive(archive, "subject", seed)) for seed in (0, 0, 1))
    assert first == again
    assert first != other


def test_the_split_does_not_depend_on_the_order_of_the_file_system(archive: Path, monkeypatch: pytest.MonkeyPatch):
    expected = placement(read_archive(add_prelim(archive), "subject", 0))
    iterdir, glob = Path.iterdir, Path.glob

    def shuffled(paths):
        paths = sorted(paths)
        random.Random(1).shuffle(paths)
        return iter(paths)

    monkeypatch.setattr(Path, "iterdir", lambda self: shuffled(iterdir(self)))
    monkeypatch.setattr(Path, "glob", lambda self, pattern, **how: shuffled(glob(self, pattern, **how)))
    assert placement(read_archive(archive, "subject", 0)) == expected


def test_cells_come_split_by_split(archive: Path):
    order = [cell.split for cell in read_archive(archive, "subject", 0).cells]
    assert list(dict.fromkeys(order)) == ["train", "valid", "test"]
    assert order == sorted(order, key=["train", "valid", "test"].index)


@pytest.mark.parametrize(
    "name",
    ["UID_1_1_1_all.bmp", "photo.bmp", "UID_H1_1_hem.bmp", "UID_H1_1_1_hem.png", "UID_X1_1_1_hem.bmp", "notes.txt"],
)
def test_a_file_whose_name_does_not_fit_its_class_folder_is_refused(archive: Path, name: str):
    (archive / "C-NMC" / "fold_0" / "hem" / name).touch()
    with pytest.raises(UserError, match=rf"{name}: its name is not UID_SUBJECT_FIELD_CELL_hem\.bmp"):
        read_archive(archive, "subject", 0)


def test_empty_class_folders_are_refused(tmp_path: Path):
    (tmp_path / "fold_0" / "all").mkdir(parents=True)
    with pytest.raises(UserError, match="hold no images"):
        read_archive(tmp_path, "subject", 0)


def test_a_small_h_names_the_same_subject(archive: Path):
    (archive / "C-NMC" / "fold_0" / "hem" / "UID_h3_99_1_hem.bmp").touch()
    found = [cell for cell in read_archive(archive, "subject", 0).cells if "_99_" in cell.source]
    assert [cell.subject for cell in found] == ["H3"]


def test_class_folders_inside_a_class_folder_are_read(archive: Path):
    inner = archive / "C-NMC" / "fold_0" / "all" / "copies" / "fold_2" / "all"
    inner.mkdir(parents=True)
    (inner / "UID_77_1_1_all.bmp").touch()
    assert "77" in {cell.subject for cell in read_archive(archive, "subject", 0).cells}


def test_a_file_in_a_folder_of_its_own_is_refused_and_not_dropped(archive: Path):
    inner = archive / "C-NMC" / "fold_0" / "all" / "more"
    inner.mkdir()
    (inner / "UID_77_1_1_all.bmp").touch()
    with pytest.raises(UserError, match=r"more/UID_77_1_1_all\.bmp: lies below all/"):
        read_archive(archive, "subject", 0)


def test_a_folder_whose_name_is_not_utf_8_is_refused(archive: Path):
    inner = os.fsencode(archive) + b"/\xb0\xd7/fold_0/all"  # as archives unpacked under another encoding have
    try:
        os.makedirs(inner)
    except OSError:
        pytest.skip("this file system has UTF-8 names only")
    Path(os.fsdecode(inner), "UID_77_1_1_all.bmp").touch()
    with pytest.raises(UserError, match=r"the path '\\udcb0\\udcd7/fold_0/all/UID_77_1_1_all\.bmp' is not UTF-8"):
        read_archive(archive, "subject", 0)
