"""The lock of a folder: what is left of it, and when."""

import fcntl
import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from contract import lock
from contract.errors import UserError
from contract.lock import locked_folder


def refuse(error: OSError) -> None:
    raise error


def test_the_file_of_a_lock_is_removed_while_it_is_still_locked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Removed later, it could be that of the next process, and a third one would find none.
    unlink, removed = Path.unlink, []

    def look(path: Path, missing_ok: bool = False) -> None:
        with path.open("rb") as file, pytest.raises(BlockingIOError):
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        removed.append(path)
        unlink(path, missing_ok)

    with locked_folder(tmp_path, "busy", refuse, ".lock"):
        monkeypatch.setattr(Path, "unlink", look)
    assert removed == [tmp_path / ".lock"]
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["", ".lock"])
def test_work_that_fails_and_a_refusal_leave_nothing_open(name: str, tmp_path: Path) -> None:
    def work(and_then: Callable[[], None]) -> None:
        with locked_folder(tmp_path, "busy", refuse, name):
            and_then()

    def fail() -> None:
        with pytest.raises(UserError, match=rf"^{tmp_path}: busy$"):
            work(lambda: None)
        raise RuntimeError("work")

    before = len(os.listdir("/proc/self/fd"))
    with pytest.raises(RuntimeError, match="work"):
        work(fail)
    work(lambda: None)
    assert len(os.listdir("/proc/self/fd")) == before


@pytest.mark.parametrize("anew", [True, False])
def test_a_lock_that_is_removed_while_it_is_opened_is_opened_anew(
    anew: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Its holder ended just then. Another process may have made one of its own since: two would be at work.
    flock, locked = fcntl.flock, []

    def late(opened: int, how: int) -> None:
        if not locked:
            (tmp_path / ".lock").unlink()
            if anew:
                (tmp_path / ".lock").touch()
        locked.append(opened)
        flock(opened, how)

    before = len(os.listdir("/proc/self/fd"))
    monkeypatch.setattr(lock.fcntl, "flock", late)
    with locked_folder(tmp_path, "busy", refuse, ".lock"):
        assert len(locked) == 2
        with (tmp_path / ".lock").open("rb") as file, pytest.raises(BlockingIOError):
            flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    assert not list(tmp_path.iterdir())
    assert len(os.listdir("/proc/self/fd")) == before


def test_a_forked_process_that_leaves_the_work_leaves_the_lock(tmp_path: Path) -> None:
    process, there = os.getpid(), False
    try:
        with locked_folder(tmp_path, "busy", refuse, ".lock"):
            child = os.fork()
            if child == 0:
                return
            os.waitpid(child, 0)
            there = (tmp_path / ".lock").exists()
    finally:
        if os.getpid() != process:
            os._exit(0)
    assert there


def test_a_forked_process_that_outlives_the_work_holds_no_lock(tmp_path: Path) -> None:
    ready, tell = os.pipe()
    with locked_folder(tmp_path, "busy", refuse):
        child = os.fork()
        if child == 0:
            os.write(tell, b".")
            signal.pause()
        os.read(ready, 1)
    try:
        with locked_folder(tmp_path, "busy", refuse):
            taken = True
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        os.close(ready)
        os.close(tell)
    assert taken
