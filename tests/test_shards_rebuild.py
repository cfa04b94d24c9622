"""What becomes of a folder that is built into again, or whose build fails."""

import contextlib
import errno
import os
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from build_shards.dataset import read_dataset
from build_shards.plan import plan_shards
from build_shards.shards import INFO, build
from contract.errors import UserError
from contract.manifest import NAME, Manifest, load_manifest
from contract.recipe import Recipe

SMALL = Recipe(size=33, window=40)


def contents(folder: Path) -> dict[str, bytes]:
    """Every file below the folder, hidden ones too."""
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def build_small(data: Path, folder: Path, recipe: Recipe = SMALL, force: bool = False) -> tuple[Manifest, bool]:
    return build(read_dataset(data), recipe, folder, workers=1, force=force)


def die(_: object) -> None:
    """In place of writing a shard: what the kernel does to a worker when memory runs out."""
    os._exit(9)


def test_a_finished_build_is_recognised_and_left_as_it_is(write_course, tmp_path: Path):
    data, folder = write_course(), tmp_path / "shards"
    first, built = build_small(data, folder)
    times = {path: path.stat().st_mtime_ns for path in folder.iterdir()}
    again, built_again = build_small(data, folder)
    assert (built, built_again) == (True, False)
    assert again == first
    assert {path: path.stat().st_mtime_ns for path in folder.iterdir()} == times


def test_another_recipe_is_refused_and_what_is_there_stays(write_course, tmp_path: Path):
    data, folder = write_course(), tmp_path / "shards"
    build_small(data, folder)
    before = contents(folder)
    with pytest.raises(UserError, match=r"shards: holds shards of another recipe \(size 33, not 34\): --force"):
        build_small(data, folder, Recipe(size=34, window=40))
    assert contents(folder) == before


def test_other_sources_are_refused_and_what_is_there_stays(write_course, tmp_path: Path):
    build_small(write_course(), tmp_path / "shards")
    before = contents(tmp_path / "shards")
    changed = write_course(train="Path,label\n./cells/0.bmp,1\n./cells/1.bmp,1\n./cells/2.bmp,1\n")
    with pytest.raises(UserError, match=r"shards: holds shards of other sources .*--force"):
        build_small(changed, tmp_path / "shards")
    assert contents(tmp_path / "shards") == before


def test_a_build_that_lost_a_shard_is_not_taken_for_finished(write_course, tmp_path: Path):
    data, folder = write_course(), tmp_path / "shards"
    build_small(data, folder)
    (folder / "valid-000000.tar").unlink()
    with pytest.raises(UserError, match=r"valid-000000\.tar: the manifest lists this shard and it is gone: --force"):
        build_small(data, folder)
    assert build_small(data, folder, force=True)[1]


def test_force_replaces_a_build_and_removes_its_shards(write_course, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    data, folder = write_course(), tmp_path / "shards"
    with monkeypatch.context() as patch:
        patch.setattr("build_shards.plan.SAMPLES_PER_SHARD", 1)
        build_small(data, folder)
    (folder / "notes.txt").write_text("mine")
    manifest, built = build_small(data, folder, force=True)
    assert built
    assert manifest == load_manifest(folder)
    assert set(contents(folder)) == {"notes.txt", NAME, INFO, *(shard.name for shard in manifest.shards)}


def test_a_file_system_without_hard_links_holds_a_build_too(write_course, tmp_path: Path, monkeypatch):
    def refuse(*_: object) -> None:
        raise PermissionError(errno.EPERM, "Operation not permitted")

    data = write_course()
    build_small(data, tmp_path / "linked")
    monkeypatch.setattr(os, "link", refuse)
    for force in (False, True):
        assert build_small(data, tmp_path / "copied", force=force)[1]
        assert contents(tmp_path / "copied") == contents(tmp_path / "linked")


def test_force_loses_nothing_where_the_new_shards_find_no_room(write_course, tmp_path: Path, monkeypatch):
    def refuse(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    data, folder = write_course(), tmp_path / "shards"
    build_small(data, folder)
    before = contents(folder)
    monkeypatch.setattr(os, "link", refuse)
    monkeypatch.setattr(shutil, "copyfile", refuse)
    with pytest.raises(UserError, match="No space left on device"):
        build_small(data, folder, replace(SMALL, size=34), force=True)
    assert {name: contents(folder).get(name) for name in before} == before


@pytest.mark.parametrize("text", ["{", '{"format": 0}', ""])
def test_force_replaces_a_build_whose_manifest_cannot_be_read(write_course, tmp_path: Path, text: str):
    # The errors about an old or broken manifest tell the user to build anew: --force has to be able to.
    (tmp_path / "shards").mkdir()
    (tmp_path / "shards" / NAME).write_text(text)
    manifest, _ = build_small(write_course(), tmp_path / "shards", force=True)
    assert load_manifest(tmp_path / "shards") == manifest


@pytest.mark.parametrize("name", ["valid-000000.tar", "ward-000000.tar", INFO, "skipped.csv"])
def test_force_loses_nothing_where_a_folder_lies_in_a_file_s_place(write_course, tmp_path: Path, name: str):
    folder = tmp_path / "shards"
    build_small(write_course(), folder)
    (folder / name).unlink(missing_ok=True)
    (folder / name).mkdir()
    before = contents(folder)
    with pytest.raises(UserError, match=rf"{name}: cannot be written: a folder lies in its place"):
        build_small(write_course(ward_test="Path\n./cells/6.bmp\n"), folder, force=True)
    assert contents(folder) == before


def test_force_deletes_nothing_outside_its_folder(write_course, tmp_path: Path):
    data, folder = write_course(), tmp_path / "shards"
    build_small(data, folder)
    (tmp_path / "precious").write_text("mine")
    text = (folder / NAME).read_text()
    (folder / NAME).write_text(text.replace('"train-000000.tar"', '"../precious"'))
    with contextlib.suppress(UserError):  # refusing such a manifest is as good as looking away from it
        build_small(data, folder, force=True)
    assert (tmp_path / "precious").exists()


def test_a_bad_image_in_the_middle_leaves_nothing_behind(write_course, tmp_path: Path):
    data = write_course()
    (data / "cells" / "4.bmp").write_bytes(b"BM, then nothing")
    with pytest.raises(UserError, match=r"4\.bmp: cut short"):
        build_small(data, tmp_path / "shards")
    assert not (tmp_path / "shards").exists()


@pytest.mark.parametrize("force", [False, True])
def test_a_bad_image_leaves_an_earlier_build_intact(write_course, tmp_path: Path, force: bool):
    data, folder = write_course(), tmp_path / "shards"
    build_small(data, folder)
    before = contents(folder)
    (data / "cells" / "4.bmp").write_bytes(b"BM, then nothing")
    with pytest.raises(UserError):
        build_small(data, folder, force=force)
    assert contents(folder) == before


def test_an_interrupted_build_leaves_only_what_the_next_one_takes_up(
    write_course, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("build_shards.shards.make_manifest", interrupt)
        with pytest.raises(KeyboardInterrupt):
            build_small(write_course(), tmp_path / "shards")
    assert [path.name[:10] for path in (tmp_path / "shards").iterdir()] == [".building-"]
    build_small(write_course(), tmp_path / "shards")
    assert not [path for path in (tmp_path / "shards").iterdir() if path.name.startswith(".")]


def test_a_file_in_place_of_the_folder_is_refused(write_course, tmp_path: Path):
    (tmp_path / "shards").write_text("mine")
    with pytest.raises(UserError, match=r"shards: cannot be written"):
        build_small(write_course(), tmp_path / "shards")
    assert (tmp_path / "shards").read_text() == "mine"


def test_another_name_of_the_dataset_is_refused(write_course, tmp_path: Path):
    dataset = read_dataset(write_course())
    build(dataset, SMALL, tmp_path / "shards", workers=1, force=False)
    with pytest.raises(UserError, match=r"shards: holds shards of another name \('data', not 'other'\): --force"):
        build(replace(dataset, name="other"), SMALL, tmp_path / "shards", workers=1, force=False)


@pytest.mark.parametrize("force", [False, True])
def test_tars_of_others_are_never_deleted(write_course, tmp_path: Path, force: bool):
    # The folder may be one where a user keeps WebDataset tars of other data.
    (tmp_path / "shards").mkdir()
    (tmp_path / "shards" / "imagenet-000000.tar").write_text("mine")
    with contextlib.suppress(UserError):  # refusing such a folder is as good as leaving the tar alone
        build_small(write_course(), tmp_path / "shards", force=force)
    assert (tmp_path / "shards" / "imagenet-000000.tar").exists()


def test_a_killed_worker_is_an_error_and_not_a_wait_for_ever(write_course, tmp_path: Path, monkeypatch):
    monkeypatch.setattr("build_shards.shards.write_shard", die)
    with pytest.raises(UserError, match="a worker process was killed"):
        build(read_dataset(write_course()), SMALL, tmp_path / "shards", workers=2, force=False)
    assert not (tmp_path / "shards").exists()


def test_a_full_disk_is_a_users_error_and_leaves_nothing_behind(write_course, tmp_path: Path, monkeypatch):
    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("build_shards.shard_writer.os.fsync", full)
    with pytest.raises(UserError, match="shards: cannot be written: No space left on device"):
        build_small(write_course(), tmp_path / "shards")
    assert not (tmp_path / "shards").exists()


def test_a_finished_build_of_more_shards_is_not_taken_for_one_of_fewer(write_course, tmp_path: Path):
    dataset = read_dataset(write_course(resnet_18_test="Path\n./cells/5.bmp\n./cells/6.bmp\n"))
    build(dataset, SMALL, tmp_path / "shards", workers=1, force=False, multiple_of=2)
    with pytest.raises(UserError, match="another plan"):
        build(dataset, SMALL, tmp_path / "shards", workers=1, force=False)


def test_nor_one_of_as_many_shards_for_one_that_deals_them_otherwise(
    synthetic_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("build_shards.plan.SAMPLES_PER_SHARD", 12)
    whole, folder = read_dataset(synthetic_data), tmp_path / "shards"
    dataset = replace(whole, cells=tuple(c for c in whole.cells if c.label is not None), submissions=())
    first, _ = build(dataset, SMALL, folder, workers=1, force=False, multiple_of=2)
    assert len(first.shards) == len(plan_shards(dataset, 3)) == 6
    with pytest.raises(UserError, match=r"plan \(4 shards of train, not 3; 2 shards of valid, not 3\): --force"):
        build(dataset, SMALL, folder, workers=1, force=False, multiple_of=3)
    assert build(dataset, SMALL, folder, workers=1, force=False, multiple_of=2) == (first, False)


def test_what_a_build_left_that_was_killed_after_it_had_published_is_cleared(write_course, tmp_path: Path):
    data, folder = write_course(), tmp_path / "shards"
    build_small(data, folder)
    before = contents(folder)
    (folder / ".building-0123456789abcdef").mkdir()
    (folder / ".building-0123456789abcdef" / "train-000000.tar").write_bytes(b"half")
    assert build_small(data, folder)[1] is False
    assert contents(folder) == before
