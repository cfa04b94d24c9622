"""A disk that is full at any moment of a build: one error, nothing half-written, and an earlier build as it was."""

import errno
import os
import resource
import shutil
import signal
import subprocess
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from build_shards.dataset import Dataset, read_dataset
from build_shards.shards import build
from contract.errors import UserError
from contract.publish import publish_text
from contract.recipe import Recipe

SMALL = Recipe(size=33, window=40)
REFUSED, BUILT, OTHER = 10, 11, 12  # exit statuses of a child


def contents(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def in_child(work: Callable[[], None], limit: int) -> int:
    """Run ``work`` in a forked process whose files cannot grow beyond ``limit`` bytes; what became of it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # forking beside torch's idle threads is harmless here
        child = os.fork()
    if child == 0:
        status = OTHER
        try:
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # then writing raises an OSError, as on a full disk
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
            work()
            status = BUILT
        except UserError as error:
            status = REFUSED if "cannot be written: File too large" in str(error) else OTHER
        finally:
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def start(dataset: Dataset, folder: Path, **options: bool) -> Callable[[], None]:
    def work() -> None:
        build(dataset, SMALL, folder, workers=1, **{"force": False, **options})

    return work


LIMITS = [0, 1, 100, 511, 512, 513, 2000, 4096, 8192, 10240, 12000]


@pytest.mark.parametrize("limit", LIMITS)
def test_a_write_that_fails_leaves_nothing_behind(write_course, tmp_path: Path, limit: int):
    dataset, folder = read_dataset(write_course()), tmp_path / "shards"
    status = in_child(start(dataset, folder), limit)
    if limit < 10240:  # a tar is filled up to 10,240 bytes
        assert status == REFUSED
        assert not folder.exists()
    else:
        assert status in (REFUSED, BUILT)
        assert folder.exists() == (status == BUILT)


def test_with_room_enough_the_same_child_builds(write_course, tmp_path: Path):
    # Without this, every refusal above could come from the way a child is made here.
    dataset = read_dataset(write_course())
    assert in_child(start(dataset, tmp_path / "shards"), 10**7) == BUILT
    build(dataset, SMALL, tmp_path / "here", workers=1, force=False)
    assert contents(tmp_path / "shards") == contents(tmp_path / "here")


@pytest.mark.parametrize("limit", [0, 600, 9000])
def test_a_forced_build_that_fails_leaves_the_earlier_one_as_it_was(write_course, tmp_path: Path, limit: int):
    data, folder = write_course(), tmp_path / "shards"
    build(read_dataset(data), Recipe(size=34, window=40), folder, workers=1, force=False)
    before = contents(folder)
    assert in_child(start(read_dataset(data), folder, force=True), limit) == REFUSED
    assert contents(folder) == before


@pytest.mark.parametrize("name", ["manifest.json", "_info.json"])
def test_a_disk_that_is_full_at_the_last_file_leaves_the_earlier_build_as_it_was(
    write_course, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
):
    data, folder = write_course(), tmp_path / "shards"
    build(read_dataset(data), Recipe(size=34, window=40), folder, workers=1, force=False)
    before = contents(folder)

    def full(path: Path, text: str) -> None:
        if path.name == name:
            raise OSError(errno.ENOSPC, "No space left on device")
        publish_text(path, text)

    monkeypatch.setattr("build_shards.shards.publish_text", full)
    with pytest.raises(UserError, match="cannot be written: No space left on device"):
        build(read_dataset(data), SMALL, folder, workers=1, force=True)
    assert contents(folder) == before


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Callable[[int], Path]]:
    """``small_disk(kilobytes)`` is a folder on a file system of its own of that size; skips where none can be made."""
    mounted: list[Path] = []

    def mount(kilobytes: int) -> Path:
        path = tmp_path / f"disk{len(mounted)}"
        path.mkdir()
        if os.geteuid() != 0 or shutil.which("mount") is None:
            pytest.skip("only root mounts a small file system")
        command = ["mount", "-t", "tmpfs", "-o", f"size={kilobytes}k", "tmpfs", str(path)]
        if subprocess.run(command, capture_output=True, check=False).returncode:
            pytest.skip("a small file system cannot be mounted here")
        mounted.append(path)
        return path

    yield mount
    for path in mounted:
        subprocess.run(["umount", str(path)], check=True)


@pytest.mark.parametrize("kilobytes", [4, 8, 12, 20, 36, 44])
def test_a_full_disk_is_one_error_and_room_for_it_is_given_back(write_course, small_disk, kilobytes: int):
    dataset, disk = read_dataset(write_course()), small_disk(kilobytes)
    with pytest.raises(UserError, match=r"/shards\S*: cannot be written: No space left on device"):
        build(dataset, SMALL, disk / "shards", workers=1, force=False)
    assert list(disk.iterdir()) == []


def test_the_same_build_fits_where_there_is_room(write_course, small_disk, tmp_path: Path):
    dataset, disk = read_dataset(write_course()), small_disk(400)
    build(dataset, SMALL, disk / "shards", workers=1, force=False)
    build(dataset, SMALL, tmp_path / "here", workers=1, force=False)
    assert contents(disk / "shards") == contents(tmp_path / "here")
