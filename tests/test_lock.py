"""The lock of a folder: what is left of it, and when."""

import fcntl
import os
from collections.abc import Callable
from pathlib import Path

import pytest

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
