"""A build of several processes whose first process is killed: its workers end too, and the next build ends as ever."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent

pytestmark = pytest.mark.skipif(not Path("/proc").is_dir(), reason="processes are looked up in /proc")


def contents(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def start(data: Path, folder: Path, workers: int) -> subprocess.Popen[bytes]:
    flags = ["--size", "33", "--workers", str(workers), "--shards-multiple-of", "6"]
    command = [sys.executable, "-m", "build_shards", "build", "--data", str(data), "--shards", str(folder), *flags]
    with folder.with_suffix(".log").open("wb") as log:  # no pipe: who outlives the build would hold it open
        return subprocess.Popen(command, cwd=ROOT, stdout=log, stderr=log, start_new_session=True)


def session_of(leader: int) -> list[int]:
    """Processes that the leader of a session has started, and itself, but for those that are dead already."""
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        try:
            fields = (path / "stat").read_text().rpartition(")")[2].split()
        except OSError:  # it has ended meanwhile
            continue
        if int(fields[3]) == leader and fields[0] != "Z":
            found.append(int(path.name))
    return found


def wait_for(condition, seconds: float) -> bool:
    end = time.monotonic() + seconds
    while not condition() and time.monotonic() < end:
        time.sleep(0.02)
    return bool(condition())


def test_workers_end_with_a_killed_build_and_the_next_one_ends_in_the_same_bytes(
    synthetic_data: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "shards"
    first = start(synthetic_data, folder, workers=2)
    assert wait_for(lambda: list(folder.glob(".building-*/*.tmp")), 120), "no worker ever wrote"
    assert len(session_of(first.pid)) >= 3
    first.kill()
    first.wait()
    ended = wait_for(lambda: not session_of(first.pid), 20)
    for outlived in session_of(first.pid):
        os.kill(outlived, signal.SIGKILL)
    assert ended, "workers outlive their build"
    assert not (folder / "manifest.json").exists()
    for target, workers in ((folder, 2), (tmp_path / "whole", 1)):
        assert start(synthetic_data, target, workers).wait(timeout=120) == 0, target.with_suffix(".log").read_text()
    assert contents(folder) == contents(tmp_path / "whole")
