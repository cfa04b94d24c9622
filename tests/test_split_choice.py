"""Which split is asked for: kept as it is given, made from ids alone, or refused where the data cannot be split so."""

import shutil
from pathlib import Path

import pandas as pd
import pytest
from twin_people import IDS, split, write_archive, write_course

from build_shards.dataset import read_dataset
from build_shards.split import SplitChoice, describe, split_dataset
from contract.errors import UserError


@pytest.fixture(scope="module")
def course(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A course folder that cuts by image. Read only."""
    return write_course(tmp_path_factory.mktemp("course") / "data")


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same cells in the archive layout. Read only."""
    return write_archive(tmp_path_factory.mktemp("archive") / "data")


def test_a_given_split_is_kept_and_no_image_is_read(course: Path) -> None:
    before = read_dataset(course)
    assert split_dataset(before, SplitChoice("given"), lambda _: pytest.fail("searched")) == before


@pytest.mark.parametrize("by", ["subject", "image"])
def test_other_splits_do_not_search(course: Path, by: str) -> None:
    choice = SplitChoice(by)  # type: ignore[arg-type]
    dataset = split_dataset(read_dataset(course), choice, lambda _: pytest.fail("searched"))
    assert (dataset.split_by, dataset.identities) == (by, {})


@pytest.mark.parametrize("by", ["subject", "image"])
def test_another_seed_is_another_split(course: Path, by: str) -> None:
    before, found = read_dataset(course), []
    for seed in (0, 0, 1, 2, 3):
        after = split_dataset(before, SplitChoice(by, seed=seed), lambda _: {})  # type: ignore[arg-type]
        found.append(frozenset((cell.source, cell.split) for cell in after.cells))
    assert found[0] == found[1]
    assert len(set(found)) > 1


def test_without_subjects_auto_is_as_given(course: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(course, tmp_path / "data")
    (folder / "subjects.csv").unlink()
    assert split(folder) == read_dataset(folder)
    for choice, rule in (
        ({"by": "identity"}, "--split identity: the subject of 28 cells of train and valid is unknown"),
        ({"by": "subject"}, "--split subject: the subject of 28 cells"),
        ({"folds": 3, "fold": 1}, r"--folds 3: a given split has no folds \(there is no subjects.csv"),
    ):
        with pytest.raises(UserError, match=rule):
            split(folder, **choice)


def test_subjects_of_some_cells_alone_are_no_ground_for_a_split(course: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(course, tmp_path / "data")
    pd.read_csv(folder / "subjects.csv")[1:].to_csv(folder / "subjects.csv", index=False)
    with pytest.raises(
        UserError, match=r"the subject of 1 cells of train and valid is unknown, first './cells/1_0.bmp'"
    ):
        split(folder)


@pytest.mark.parametrize(
    ("choice", "rule"),
    [
        ({"folds": 1, "fold": 1}, "--folds 1: must be 2 or more"),
        ({"folds": -1}, "--folds -1: must be 2 or more"),
        ({"folds": 3}, "--fold 0: must be 1 to 3"),
        ({"folds": 3, "fold": 4}, "--fold 4: must be 1 to 3"),
        ({"fold": 2}, "--fold 2: of how many"),
        ({"by": "given", "folds": 3, "fold": 1}, "--folds 3: a given split has no folds"),
        (
            {"folds": 6, "fold": 1},
            r"--folds 6: the normal cells of data come from 5 people \(H1, H2, H3\+H4\+H5, H6, H7\)",
        ),
    ],
)
def test_a_choice_that_cannot_be_honoured_is_refused(course: Path, choice: dict, rule: str) -> None:
    with pytest.raises(UserError, match=rule):
        split(course, **choice)


def test_the_archive_brings_no_split(archive: Path) -> None:
    with pytest.raises(UserError, match="--split given: the archive layout brings no split"):
        split(archive, by="given")


def test_people_who_are_all_one_cannot_be_split(course: Path) -> None:
    everybody = dict.fromkeys(IDS, "+".join(IDS))
    with pytest.raises(
        UserError, match=r"normal cells of data come from 1 people \(1\+2.*, and 2 parts need 2: choose"
    ):
        split_dataset(read_dataset(course), SplitChoice(), lambda _: everybody)


def test_as_many_folds_as_people_of_a_class_hold_out_one_each(course: Path) -> None:
    dataset = split(course, by="subject", folds=7, fold=1)  # 7 normal ids, and 7 of blasts
    held = sorted({str(cell.subject) for cell in dataset.cells if cell.split == "valid"})
    assert [subject[0] == "H" for subject in held] == [False, True]
    with pytest.raises(UserError, match=r"--folds 8: the normal cells of data come from 7 people"):
        split(course, by="subject", folds=8, fold=1)


def test_more_folds_than_images_of_a_class_are_refused(course: Path) -> None:
    held = [cell for cell in split(course, by="image", folds=14, fold=14).cells if cell.split == "valid"]
    assert sorted(str(cell.label) for cell in held) == ["0", "1"]  # of 14 normal cells, and of 14 blasts
    with pytest.raises(UserError, match=r"^--folds 15: data has 14 normal cells, and 15 parts need 15: choose fewer"):
        split(course, by="image", folds=15, fold=15)


def test_the_note_names_the_fold_and_counts_cells_and_ids(archive: Path) -> None:
    after = split(archive, by="subject", folds=3, fold=2)
    cells = {side: [cell for cell in after.cells if cell.split == side] for side in ("train", "valid")}
    sides = [f"{side} {len(found)} cells of {len({c.subject for c in found})} ids" for side, found in cells.items()]
    note = describe(read_dataset(archive), after)
    assert note == f"NOTE: split by subject: fold 2 of 3 is valid; {'; '.join(sides)}"


def test_a_split_that_there_is_not_is_refused_with_those_there_are() -> None:
    with pytest.raises(UserError, match="by: 'people' is not one of auto, identity, subject, image, given"):
        SplitChoice("people")  # type: ignore[arg-type]
