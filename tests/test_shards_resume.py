"""Killed at any moment, the same build goes on and ends with the same bytes."""

import errno
import gc
import hashlib
import json
import os
import random
import signal
import time
import warnings
from pathlib import Path

import pytest
import webdataset

from build_shards.dataset import Dataset, read_dataset
from build_shards.shards import INFO, SKIPPED, build
from build_shards.verify import verify
from contract.errors import UserError
from contract.manifest import Manifest
from contract.recipe import Recipe

SMALL = Recipe(size=33, window=288)
KILLS = 20


def contents(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


@pytest.fixture
def many_shards(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("build_shards.plan.SAMPLES_PER_SHARD", 4)


def build_and_be_killed(dataset: Dataset, folder: Path, seconds: float) -> bool:
    """Build in a forked process and kill it after ``seconds``; true when it was killed at work."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # forking beside torch's idle threads is harmless here
        child = os.fork()
    if child == 0:
        build(dataset, SMALL, folder, workers=1, force=False)
        os._exit(0)
    time.sleep(seconds)
    os.kill(child, signal.SIGKILL)
    return os.WIFSIGNALED(os.waitpid(child, 0)[1])


@pytest.mark.usefixtures("many_shards")
def test_a_build_killed_twenty_times_ends_in_the_same_bytes(synthetic_data: Path, tmp_path: Path) -> None:
    dataset = read_dataset(synthetic_data)
    began = time.perf_counter()
    build(dataset, SMALL, tmp_path / "whole", workers=1, force=False)
    duration = time.perf_counter() - began
    rng, killed = random.Random(0), 0
    for attempt in range(KILLS):
        # Half the kills hit a fresh build, half one that others have already interrupted.
        folder = tmp_path / (str(attempt) if attempt % 2 else "again")
        killed += build_and_be_killed(dataset, folder, rng.uniform(0, 0.9) * duration)
        if attempt % 2:
            build(dataset, SMALL, folder, workers=1, force=False)
            assert contents(folder) == contents(tmp_path / "whole")
    build(dataset, SMALL, tmp_path / "again", workers=1, force=False)
    assert contents(tmp_path / "again") == contents(tmp_path / "whole")
    assert killed >= KILLS / 4, "the builds were over before the kills: nothing was tested"


@pytest.mark.usefixtures("many_shards")
@pytest.mark.parametrize("name", [INFO, "manifest.json"])
def test_a_kill_while_an_index_is_published_leaves_nothing_that_the_next_build_keeps(
    synthetic_data: Path, tmp_path: Path, name: str
) -> None:
    dataset, folder = read_dataset(synthetic_data), tmp_path / "shards"
    build(dataset, SMALL, tmp_path / "whole", workers=1, force=False)
    original = os.replace
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        child = os.fork()
    if child == 0:

        def die(source: str, target: Path) -> None:
            if Path(target).name == name:  # the temporary file is written, its rename never comes
                os.kill(os.getpid(), signal.SIGKILL)
            original(source, target)

        os.replace = die  # type: ignore[assignment]
        build(dataset, SMALL, folder, workers=1, force=False)
        os._exit(0)
    assert os.WIFSIGNALED(os.waitpid(child, 0)[1])
    build(dataset, SMALL, folder, workers=1, force=False)
    assert contents(folder) == contents(tmp_path / "whole")


def test_a_lock_left_by_a_kill_is_cleared(synthetic_data: Path, tmp_path: Path) -> None:
    dataset, folder = read_dataset(synthetic_data), tmp_path / "shards"
    build(dataset, SMALL, folder, workers=1, force=False)
    (folder / ".lock").touch()
    build(dataset, SMALL, folder, workers=1, force=False)
    assert not (folder / ".lock").exists()


def test_a_lock_that_cannot_be_written_is_named(synthetic_data: Path, tmp_path: Path) -> None:
    dataset, folder = read_dataset(synthetic_data), tmp_path / "shards"
    build(dataset, SMALL, folder, workers=1, force=False)
    (folder / ".lock").mkdir()  # beside a finished build: what was left is to be cleared
    with pytest.raises(UserError, match=r"/shards: cannot be written: Is a directory$"):
        build(dataset, SMALL, folder, workers=1, force=False)


@pytest.mark.usefixtures("many_shards")
def test_a_resumed_build_takes_up_whole_shards_and_no_damaged_ones(
    synthetic_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset, folder = read_dataset(synthetic_data), tmp_path / "shards"

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("build_shards.shards.make_manifest", interrupt)
        with pytest.raises(KeyboardInterrupt):
            build(dataset, SMALL, folder, workers=1, force=False)
    staging = next(folder.glob(".building-*"))
    damaged = staging / "train-000001.tar"
    damaged.write_bytes(damaged.read_bytes()[:-512])
    written: list[Path] = []
    original = Path.open

    def watch(path: Path, mode: str = "r", *arguments: object, **options: object):  # type: ignore[no-untyped-def]
        if path.suffix == ".tmp" and mode == "wb":
            written.append(path)
        return original(path, mode, *arguments, **options)  # type: ignore[call-overload]

    monkeypatch.setattr(Path, "open", watch)
    build(dataset, SMALL, folder, workers=1, force=False)
    assert [path.name.split(".")[0] for path in written] == ["train-000001"]
    verify(folder)


def test_two_builds_in_one_folder_are_refused(synthetic_data: Path, tmp_path: Path) -> None:
    import fcntl

    dataset, folder = read_dataset(synthetic_data), tmp_path / "shards"
    folder.mkdir()
    with (folder / ".lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        with pytest.raises(UserError, match="another build is at work there"):
            build(dataset, SMALL, folder, workers=1, force=False)


def test_a_file_system_that_locks_nothing_is_told_of(
    synthetic_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import fcntl

    def fail(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", fail)
    with pytest.raises(UserError, match=r"/shards: cannot be locked: No locks available$"):
        build_with(synthetic_data, tmp_path / "shards")


def test_a_lock_that_an_ending_build_removes_meanwhile_is_taken_anew(
    synthetic_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import fcntl

    dataset, folder, lock = read_dataset(synthetic_data), tmp_path / "shards", fcntl.flock
    removed = []

    def remove_first(file: object, operation: int) -> None:
        if not removed:
            removed.append((folder / ".lock").unlink())
        lock(file, operation)  # type: ignore[arg-type]

    def look(*_: object, **__: object) -> None:
        """While the build is at work, another must find the lock and find it held."""
        with (folder / ".lock").open("r") as file, pytest.raises(BlockingIOError):
            lock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        raise UserError("looked")

    monkeypatch.setattr(fcntl, "flock", remove_first)
    monkeypatch.setattr("build_shards.shards._build", look)
    with pytest.raises(UserError, match="looked"):
        build(dataset, SMALL, folder, workers=1, force=False)
    assert removed


def build_with(data: Path, folder: Path, **options: object) -> Manifest:
    return build(read_dataset(data), SMALL, folder, workers=1, force=False, **options)[0]  # type: ignore[arg-type]


@pytest.mark.parametrize("multiple", [1, 3, 4])
def test_the_number_of_shards_divides_as_asked_and_classes_stay_even(
    synthetic_data: Path, tmp_path: Path, multiple: int
) -> None:
    manifest = build_with(synthetic_data, tmp_path / "shards", multiple_of=multiple)
    for split in manifest.splits:
        shards = [shard for shard in manifest.shards if shard.split == split.name]
        assert len(shards) % multiple == 0
        for label in (0, 1):
            counts = [shard.class_counts[label] for shard in shards]
            assert max(counts) - min(counts) <= 1


def test_more_shards_than_cells_are_refused(synthetic_data: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"--shards-multiple-of 13: the split 'valid' has only 12 cells"):
        build_with(synthetic_data, tmp_path / "shards", multiple_of=13)
    assert not (tmp_path / "shards").exists()


def test_skipped_cells_are_listed_counted_and_left_out(synthetic_data: Path, tmp_path: Path) -> None:
    import shutil

    data, folder = tmp_path / "data", tmp_path / "shards"
    shutil.copytree(synthetic_data, data)
    (data / "synthetic" / "train" / "3.bmp").write_bytes(b"BM")
    with pytest.raises(UserError, match=r"3\.bmp: cut short"):
        build_with(data, folder)
    manifest = build_with(data, folder, skip_bad=True)
    assert manifest.skipped == 1
    assert manifest.split("train").samples == 35
    lines = (folder / SKIPPED).read_text().splitlines()
    assert lines[0] == "Path,split,reason,sha256"
    assert lines[1].startswith("./synthetic/train/3.bmp,train,cut short: 2 bytes")
    assert lines[1].endswith(hashlib.sha256(b"BM").hexdigest())
    verify(folder)


@pytest.mark.filterwarnings("ignore:unclosed file:ResourceWarning")  # webdataset leaves closing to the collector
def test_timm_finds_files_and_lengths_and_webdataset_as_many_samples(shards: Path, manifest: Manifest) -> None:
    splits = json.loads((shards / INFO).read_text())["splits"]
    for split in manifest.splits:
        info = splits[split.name]
        assert info["name"] == split.name
        assert info["num_samples"] == split.samples == sum(info["shard_lengths"])
        for name, length in zip(info["filenames"], info["shard_lengths"], strict=True):
            samples = list(webdataset.WebDataset(str(shards / name), shardshuffle=False))
            gc.collect()
            assert len(samples) == length
