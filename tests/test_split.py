"""Nobody who trains is tested: two ids whose cells are twins never fall on two sides."""

import dataclasses
import shutil
import sys
from collections import defaultdict
from pathlib import Path

import pandas as pd
import pytest
from twin_people import IDS, TWINS, split, write_archive, write_course

from build_shards import twin_search
from build_shards.dataset import Dataset, read_dataset
from build_shards.split import SplitChoice, describe, split_dataset
from contract.command import run_command
from contract.manifest import Manifest, load_manifest


@pytest.fixture(scope="module")
def course(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A course folder that cuts by image. Read only."""
    return write_course(tmp_path_factory.mktemp("course") / "data")


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same cells in the archive layout. Read only."""
    return write_archive(tmp_path_factory.mktemp("archive") / "data")


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
    dataset = split(course, seed=seed)
    assert (dataset.split_by, set(dataset.identities.values()) >= TWINS) == ("identity", True)
    assert all(len(sides) == 1 for sides in _sides(dataset, dataset.identities).values())
    assert len(dataset.identities) == len(IDS)
    labels = {(cell.split, cell.label) for cell in dataset.cells if cell.label is not None}
    assert labels == {("train", 0), ("train", 1), ("valid", 0), ("valid", 1)}


@pytest.mark.parametrize("seed", range(3))
def test_archive_cells_are_split_by_identity(archive: Path, seed: int) -> None:
    dataset = split(archive, seed=seed)
    assert dataset.split_by == "identity"
    assert {name for name in dataset.identities.values() if "+" in name} == {"1+2", "H3+H4"}
    assert all(len(sides) == 1 for sides in _sides(dataset, dataset.identities).values())
    assert {cell.split for cell in dataset.cells} == {"train", "valid", "test"}


def test_ids_alone_would_part_twins(archive: Path) -> None:
    # What the split by identity is for: by id, twins do fall on two sides for some seed.
    splits = [split(archive, by="subject", seed=seed) for seed in range(6)]
    people = {"1": "1+2", "2": "1+2", "H3": "H3+H4", "H4": "H3+H4"}
    assert any(len(sides) > 1 for dataset in splits for sides in _sides(dataset, people).values())
    assert all(len(sides) == 1 for dataset in splits for sides in _sides(dataset, {}).values())


@pytest.mark.parametrize("layout", ["course", "archive"])
def test_folds_hold_every_identity_out_once(layout: str, request: pytest.FixtureRequest) -> None:
    folder = request.getfixturevalue(layout)
    held = []
    for fold in (1, 2, 3):
        dataset = split(folder, folds=3, fold=fold)
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
    assert split(turned, folds=3, fold=2).cells[0].source == split(course, folds=3, fold=2).cells[0].source
    assert split(turned, folds=3, fold=2).digest == split(course, folds=3, fold=2).digest


def test_test_sets_stay_as_they_are(course: Path) -> None:
    before, after = read_dataset(course), split(course, by="image")
    assert [cell for cell in after.cells if cell.label is None] == [c for c in before.cells if c.label is None]
    assert after.submissions == before.submissions


def test_the_note_counts_what_moved(course: Path) -> None:
    before, after = read_dataset(course), split(course)
    was = _placed(before)
    moved = sum(was[source] != split for source, split in _placed(after).items())
    note = describe(before, after)
    assert 0 < moved < 28
    assert f"{moved} of 28 cells moved between train and valid: --split given keeps train.csv and valid.csv" in note
    people = {after.identities[str(c.subject)] for c in after.cells if c.split == "valid"}
    assert f"of {len(people)} identities" in note.partition("valid ")[2]
    assert "\n" not in note


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
        assert "--force (make: FORCE=1) builds them anew" in capsys.readouterr().err
    assert load_manifest(tmp_path / "shards") == manifest
