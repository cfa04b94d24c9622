"""What a stopped build leaves in its staging folder: taken up where it is whole, mended or cleared where it is not."""

import os
from dataclasses import replace
from pathlib import Path

import pytest

from build_shards.dataset import read_dataset
from build_shards.plan import plan_shards
from build_shards.shard_writer import Job, write_shard
from build_shards.shards import build
from contract.recipe import Recipe

SMALL = Recipe(size=33, window=40)


def contents(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def build_small(data: Path, folder: Path, recipe: Recipe = SMALL) -> None:
    build(read_dataset(data), recipe, folder, workers=1, force=False)


def interrupt(*_: object) -> None:
    raise KeyboardInterrupt


@pytest.mark.parametrize("name", ["train-000000.tar", "train-000000.tar.json"])
@pytest.mark.parametrize("left", [None, b"", b'{"shard": '])
def test_a_shard_that_is_not_whole_or_whose_record_is_not_is_written_anew(
    name: str, left: bytes | None, write_course, tmp_path: Path
) -> None:
    job = Job(plan_shards(read_dataset(write_course()))[0], SMALL, tmp_path / "staging", skip_bad=False)
    job.staging.mkdir()
    result, whole = write_shard(job), contents(job.staging)
    assert name in whole
    (job.staging / name).unlink()
    if left is not None:
        (job.staging / name).write_bytes(left)
    assert write_shard(job) == result
    assert contents(job.staging) == whole


def test_a_build_that_was_stopped_while_it_published_goes_on(write_course, tmp_path: Path, monkeypatch) -> None:
    data, folder, original = write_course(), tmp_path / "shards", os.replace
    build_small(data, tmp_path / "whole")

    def stop_at_second(source: Path, target: Path) -> None:
        if Path(target) == folder / "valid-000000.tar":
            raise KeyboardInterrupt
        original(source, target)

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", stop_at_second)
        with pytest.raises(KeyboardInterrupt):
            build_small(data, folder)
    assert (folder / "train-000000.tar").is_file()
    assert len(list(folder.glob(".building-*/*.link"))) == 2
    build_small(data, folder)
    assert contents(folder) == contents(tmp_path / "whole")


def test_what_another_recipe_s_build_left_is_cleared(write_course, tmp_path: Path, monkeypatch) -> None:
    data, folder, other = write_course(), tmp_path / "shards", replace(SMALL, size=34)
    with monkeypatch.context() as patch:
        patch.setattr("build_shards.shards.make_manifest", interrupt)
        with pytest.raises(KeyboardInterrupt):
            build_small(data, folder)
    assert list(folder.glob(".building-*/*.tar"))
    build_small(data, folder, other)
    build_small(data, tmp_path / "whole", other)
    assert contents(folder) == contents(tmp_path / "whole")
