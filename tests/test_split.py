"""Nobody who trains is tested: two ids whose cells are twins never fall on two sides."""

import dataclasses
import shutil
import sys
from collections import defaultdict
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest

from build_shards import twin_search
from build_shards.dataset import Dataset, read_dataset
from build_shards.split import SplitChoice, describe, find_people, split_dataset
from build_shards.synthetic import draw_cell
from contract.command import run_command
from contract.errors import UserError
from contract.manifest import Manifest, load_manifest

IDS = [f"{cls}{i}" for cls in ("", "H") for i in range(1, 8)]  # blasts 1 to 7, normals H1 to H7
TWINS = {"1+2", "H3+H4+H5"}  # joined by twins: 1 = 2 and H3 = H4; by the table: H4 = H5


def _draw(folder: Path) -> dict[str, list[Path]]:
    """Two drawn cells of every id; the last of 2 and of H4 are cells of 1 and of H3, seen again."""
    rng, files = np.random.default_rng(0), defaultdict(list)
    folder.mkdir(parents=True)
    for subject in IDS:
        for cell in range(2):
            files[subject].append(folder / f"{subject}_{cell}.bmp")
            assert cv2.imwrite(str(files[subject][-1]), draw_cell(int(subject[0] != "H"), rng.normal(), rng, 160))
    brighter = cv2.convertScaleAbs(cv2.imread(str(files["1"][0])), alpha=1.15)
    cv2.imwrite(str(files["2"][1]), np.ascontiguousarray(np.rot90(brighter)))
    shutil.copy(files["H3"][0], files["H4"][1])
    return files


@pytest.fixture(scope="module")
def course(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A course folder that cuts by image: first cells of every id train, second ones are valid. Read only."""
    folder = tmp_path_factory.mktemp("course") / "data"
    files = _draw(folder / "cells")
    rows = [(f"./cells/{f.name}", s, int(s[0] != "H"), i) for s in IDS for i, f in enumerate(files[s])]
    table = pd.DataFrame(rows, columns=["Path", "subject", "label", "second"])
    for name, second in (("train", 0), ("valid", 1)):
        table[table["second"] == second][["Path", "label"]].to_csv(folder / f"{name}.csv", index=False)
    named = "fold_1/hem/UID_{}_1_1_hem.bmp"
    table["original"] = [named.format(s) + ("|" + named.format("h5") if s == "H4" else "") for s in table["subject"]]
    table[["Path", "subject", "original"]].to_csv(folder / "subjects.csv", index=False)
    shutil.copy(files["1"][1], folder / "cells" / "test.bmp")
    (folder / "resnet_18_test.csv").write_text("Path\n./cells/test.bmp\n")
    return folder


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same cells in the archive layout, where no table joins H4 and H5. Read only."""
    folder = tmp_path_factory.mktemp("archive")
    for subject, files in _draw(folder / "drawn").items():
        cls = "hem" if subject[0] == "H" else "all"
        (folder / "fold_0" / cls).mkdir(parents=True, exist_ok=True)
        for cell, file in enumerate(files):
            file.rename(folder / "fold_0" / cls / f"UID_{subject}_{cell}_1_{cls}.bmp")
    (folder / "drawn").rmdir()
    return folder


def _people(dataset: Dataset) -> dict[str, str]:
    return find_people(dataset, 1, None, False)


def _split(folder: Path, **choice) -> Dataset:
    return split_dataset(read_dataset(folder), SplitChoice(**choice), _people)


def _sides(dataset: Dataset, of: dict[str, str]) -> dict[str, set[str]]:
    sides = defaultdict(set)
    for cell in dataset.cells:
        if cell.subject is not None:
            sides[of.get(cell.subject, cell.subject)].add(cell.split)
    return sides


def _placed(dataset: Dataset) -> dict[str, str]:
    return {cell.source: cell.split for cell in dataset.cells}


@pytest.mark.parametrize("seed", range(3))
def test_course_cells_are_regrouped_by_identity(course: Path, seed: int) -> None:
    dataset = _split(course, seed=seed)
    assert (dataset.split_by, set(dataset.identities.values()) >= TWINS) == ("identity", True)
    assert all(len(sides) == 1 for sides in _sides(dataset, dataset.identities).values())
    assert len(dataset.identities) == len(IDS)
    labels = {(cell.split, cell.label) for cell in dataset.cells if cell.label is not None}
    assert labels == {("train", 0), ("train", 1), ("valid", 0), ("valid", 1)}


@pytest.mark.parametrize("seed", range(3))
def test_archive_cells_are_split_by_identity(archive: Path, seed: int) -> None:
    dataset = _split(archive, seed=seed)
    assert dataset.split_by == "identity"
    assert {name for name in dataset.identities.values() if "+" in name} == {"1+2", "H3+H4"}
    assert all(len(sides) == 1 for sides in _sides(dataset, dataset.identities).values())
    assert {cell.split for cell in dataset.cells} == {"train", "valid", "test"}


def test_ids_alone_would_part_twins(archive: Path) -> None:
    # What the split by identity is for: by id, twins do fall on two sides for some seed.
    splits = [_split(archive, by="subject", seed=seed) for seed in range(6)]
    people = {"1": "1+2", "2": "1+2", "H3": "H3+H4", "H4": "H3+H4"}
    assert any(len(sides) > 1 for dataset in splits for sides in _sides(dataset, people).values())
    assert all(len(sides) == 1 for dataset in splits for sides in _sides(dataset, {}).values())


@pytest.mark.parametrize("layout", ["course", "archive"])
def test_folds_hold_every_identity_out_once(layout: str, request: pytest.FixtureRequest) -> None:
    folder = request.getfixturevalue(layout)
    held = []
    for fold in (1, 2, 3):
        dataset = _split(folder, folds=3, fold=fold)
        assert (dataset.folds, dataset.fold) == (3, fold)
        assert all(len(sides) == 1 for sides in _sides(dataset, dataset.identities).values())
        parts = {cell.split for cell in dataset.cells if cell.label is not None}
        assert parts == {"train", "valid"}
        held += sorted({dataset.identities[str(c.subject)] for c in dataset.cells if c.split == "valid"})
    assert sorted(held) == sorted(set(held)) == sorted(set(dataset.identities.values()))


def test_folds_do_not_depend_on_the_rows_order_or_on_how_the_course_cut(course: Path, tmp_path: Path) -> None:
    turned = shutil.copytree(course, tmp_path / "data")
    for name, other in (("train", "valid"), ("valid", "train"), ("subjects", "subjects")):
        pd.read_csv(course / f"{name}.csv")[::-1].to_csv(turned / f"{other}.csv", index=False)
    assert _split(turned, folds=3, fold=2).cells[0].source == _split(course, folds=3, fold=2).cells[0].source
    assert _split(turned, folds=3, fold=2).digest == _split(course, folds=3, fold=2).digest


def test_test_sets_stay_as_they_are(course: Path) -> None:
    before, after = read_dataset(course), _split(course, by="image")
    assert [cell for cell in after.cells if cell.label is None] == [c for c in before.cells if c.label is None]
    assert after.submissions == before.submissions


def test_a_given_split_is_kept_and_no_image_is_read(course: Path) -> None:
    before = read_dataset(course)
    assert split_dataset(before, SplitChoice("given"), lambda _: pytest.fail("searched")) == before


@pytest.mark.parametrize("by", ["subject", "image"])
def test_other_splits_do_not_search(course: Path, by: str) -> None:
    choice = SplitChoice(by)  # type: ignore[arg-type]
    dataset = split_dataset(read_dataset(course), choice, lambda _: pytest.fail("searched"))
    assert (dataset.split_by, dataset.identities) == (by, {})


def test_the_note_counts_what_moved(course: Path) -> None:
    before, after = read_dataset(course), _split(course)
    was = _placed(before)
    moved = sum(was[source] != split for source, split in _placed(after).items())
    note = describe(before, after)
    assert 0 < moved < 28
    assert f"{moved} of 28 cells moved between train and valid: --split given keeps train.csv and valid.csv" in note
    people = {after.identities[str(c.subject)] for c in after.cells if c.split == "valid"}
    assert f"of {len(people)} identities" in note.partition("valid ")[2]
    assert "\n" not in note


def test_without_subjects_auto_is_as_given(course: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(course, tmp_path / "data")
    (folder / "subjects.csv").unlink()
    assert _split(folder) == read_dataset(folder)
    for choice, rule in (
        ({"by": "identity"}, "--split identity: the subject of 28 cells of train and valid is unknown"),
        ({"by": "subject"}, "--split subject: the subject of 28 cells"),
        ({"folds": 3, "fold": 1}, r"--folds 3: a given split has no folds \(there is no subjects.csv"),
    ):
        with pytest.raises(UserError, match=rule):
            _split(folder, **choice)


def test_subjects_of_some_cells_alone_are_no_ground_for_a_split(course: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(course, tmp_path / "data")
    pd.read_csv(folder / "subjects.csv")[1:].to_csv(folder / "subjects.csv", index=False)
    with pytest.raises(
        UserError, match=r"the subject of 1 cells of train and valid is unknown, first './cells/1_0.bmp'"
    ):
        _split(folder)


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
        _split(course, **choice)


def test_the_archive_brings_no_split(archive: Path) -> None:
    with pytest.raises(UserError, match="--split given: the archive layout brings no split"):
        _split(archive, by="given")


def test_people_who_are_all_one_cannot_be_split(course: Path) -> None:
    everybody = dict.fromkeys(IDS, "+".join(IDS))
    with pytest.raises(
        UserError, match=r"normal cells of data come from 1 people \(1\+2.*, and 2 parts need 2: choose"
    ):
        split_dataset(read_dataset(course), SplitChoice(), lambda _: everybody)


def test_a_preliminary_set_keeps_its_cells_and_its_shared_people_are_named(archive: Path) -> None:
    read = read_dataset(archive)
    prelim = [dataclasses.replace(c, source=f"p/{c.source}", split="prelim") for c in read.cells if c.subject == "6"]
    joined = dataclasses.replace(read, cells=(*read.cells, *prelim))
    for seed in range(9):
        after = split_dataset(joined, SplitChoice("identity", seed=seed), lambda _: {})
        assert [cell for cell in after.cells if cell.split == "prelim"] == prelim
        told = "1 identities of prelim are in train too" in describe(joined, after)
        assert told == any(cell.subject == "6" and cell.split == "train" for cell in after.cells)


def _build(monkeypatch: pytest.MonkeyPatch, data: Path, out: Path, *flags: object) -> Manifest:
    base = ("build", "--data", data, "--shards", out, "--size", 33, "--cache", out.parent / "cache")
    monkeypatch.setattr(sys, "argv", ["build_shards", *map(str, (*base, *flags))])
    run_command("build_shards.cli")
    return load_manifest(out)


def test_shards_are_the_same_bytes_for_1_and_2_workers_and_with_or_without_a_kept_search(
    course: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    manifest = _build(monkeypatch, course, tmp_path / "a" / "one", "--workers", 1)
    assert capsys.readouterr().out.startswith("NOTE: split by identity: train ")
    assert (manifest.split_by, manifest.folds, manifest.fold) == ("identity", 0, 0)
    assert (manifest.identity("H4"), manifest.identity("7"), manifest.identity(None)) == ("H3+H4+H5", "7", None)
    assert manifest.split("valid").shared_subjects == 0
    _build(monkeypatch, course, tmp_path / "b" / "two", "--workers", 2)  # its folder keeps no search yet
    monkeypatch.setattr(twin_search, "find_twins", lambda *_: pytest.fail("searched again"))
    _build(monkeypatch, course, tmp_path / "a" / "kept", "--workers", 1)
    one = {path.name: path.read_bytes() for path in (tmp_path / "a" / "one").iterdir()}
    for other in (tmp_path / "b" / "two", tmp_path / "a" / "kept"):
        assert {path.name: path.read_bytes() for path in other.iterdir()} == one


def test_a_finished_build_of_another_split_is_refused(
    course: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    manifest = _build(monkeypatch, course, tmp_path / "shards", "--workers", 1, "--folds", 3, "--fold", 1)
    assert (manifest.folds, manifest.fold) == (3, 1)
    for flags in (("--folds", 3, "--fold", 2), ("--split", "given"), ("--split", "subject")):
        with pytest.raises(SystemExit):
            _build(monkeypatch, course, tmp_path / "shards", "--workers", 1, *flags)
        assert "--force builds them anew" in capsys.readouterr().err
    assert load_manifest(tmp_path / "shards") == manifest
