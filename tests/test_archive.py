import random
from collections import defaultdict
from pathlib import Path

import pytest

from build_shards.archive import read_archive
from build_shards.dataset import Dataset
from contract.errors import UserError

PRELIM = "Patient_ID,new_names,labels\nUID_57_22_2_all.bmp,1.bmp,1\nUID_H49_1_1_hem.bmp,2.bmp,0\n"


def write_archive(folder: Path, subjects: int = 30, seed: int = 0) -> Path:
    """Empty files with the archive's names: subjects 1.. and H1.. with 1 to 12 cells each, over three folds."""
    rng = random.Random(seed)
    for cls, prefix in (("all", ""), ("hem", "H")):
        for subject in range(1, subjects + 1):
            for cell in range(rng.randint(1, 12)):
                fold = folder / "C-NMC" / f"fold_{subject % 3}" / cls
                fold.mkdir(parents=True, exist_ok=True)
                (fold / f"UID_{prefix}{subject}_{cell}_1_{cls}.bmp").touch()
    return folder


def add_prelim(folder: Path, text: str = PRELIM) -> Path:
    images = folder / "validation" / "C-NMC_test_prelim_phase_data"
    images.mkdir(parents=True)
    for number in (1, 2):
        (images / f"{number}.bmp").touch()
    (folder / "validation" / "C-NMC_test_prelim_phase_data_labels.csv").write_text(text)
    return folder


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
    monkeypatch.setattr(Path, "glob", lambda self, pattern: shuffled(glob(self, pattern)))
    assert placement(read_archive(archive, "subject", 0)) == expected


def test_cells_come_split_by_split(archive: Path):
    order = [cell.split for cell in read_archive(archive, "subject", 0).cells]
    assert list(dict.fromkeys(order)) == ["train", "valid", "test"]
    assert order == sorted(order, key=["train", "valid", "test"].index)


def test_the_preliminary_test_set_becomes_a_labelled_split(archive: Path):
    dataset = read_archive(add_prelim(archive), "subject", 0)
    prelim = [(c.file.name, c.label, c.subject) for c in dataset.cells if c.split == "prelim"]
    assert prelim == [("1.bmp", 1, "57"), ("2.bmp", 0, "H49")]


def test_an_image_of_the_preliminary_set_without_a_row_is_refused_and_not_dropped(archive: Path):
    add_prelim(archive)
    (archive / "validation" / "C-NMC_test_prelim_phase_data" / "3.bmp").touch()
    with pytest.raises(UserError, match=r"phase_data/3\.bmp: no row of .*prelim_phase_data_labels\.csv names it"):
        read_archive(archive, "subject", 0)


def test_a_second_preliminary_csv_is_refused(archive: Path):
    add_prelim(archive)
    (archive / "validation" / "prelim_labels_2.csv").write_text(PRELIM)
    with pytest.raises(UserError, match=r"prelim_labels_2\.csv: a second labels CSV"):
        read_archive(archive, "subject", 0)


def test_a_second_preliminary_image_of_one_name_is_refused(archive: Path):
    add_prelim(archive)
    (archive / "validation" / "prelim_copy").mkdir()
    (archive / "validation" / "prelim_copy" / "1.bmp").touch()
    with pytest.raises(UserError, match=r"prelim_copy/1\.bmp: a second image of this name"):
        read_archive(archive, "subject", 0)


def test_the_final_test_set_beside_the_preliminary_one_is_none_of_it(archive: Path):
    before = placement(read_archive(add_prelim(archive), "subject", 0))
    final = archive / "validation" / "C-NMC_test_final_phase_data"
    final.mkdir()
    for number in (1, 2, 3):
        (final / f"{number}.bmp").touch()
    assert placement(read_archive(archive, "subject", 0)) == before


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "not a CSV with the columns Patient_ID, new_names and labels"),
        ("Patient_ID,labels\nUID_57_22_2_all.bmp,1\n", "not a CSV with the columns"),
        (PRELIM.replace("2.bmp,0", "2.bmp,2"), "line 3: .* is not a name, an image of its own, and the label"),
        (PRELIM.replace("2.bmp,0", "9.bmp,0"), "line 3: .* is not a name, an image of its own, and the label"),
        (PRELIM.replace("UID_H49_1_1_hem.bmp", "H49"), "line 3: .* is not a name, an image of its own, and the label"),
        (PRELIM.replace("2.bmp,0", "1.bmp,0"), "line 3"),  # an image twice
        (PRELIM.replace("1.bmp,1", "1.bmp,0"), "line 2"),  # the name says blast, the label normal
    ],
)
def test_a_bad_preliminary_csv_is_refused_by_file_and_line(archive: Path, text: str, message: str):
    with pytest.raises(UserError, match=rf"prelim_phase_data_labels\.csv(: |, )({message})"):
        read_archive(add_prelim(archive, text), "subject", 0)


@pytest.mark.parametrize(
    "name",
    ["UID_1_1_1_all.bmp", "photo.bmp", "UID_H1_1_hem.bmp", "UID_H1_1_1_hem.png", "UID_X1_1_1_hem.bmp", "Thumbs.db"],
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
