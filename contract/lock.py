"""One process at a time at work in a folder."""

import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from contract.errors import UserError

_held: set[int] = set()  # descriptors of the locks of this process


@contextmanager
def locked_folder(folder: Path, busy: str, unlockable: Callable[[OSError], None], name: str = "") -> Iterator[None]:
    """Make ``folder`` and hold its lock: that of the folder itself, or of the file ``name`` in it, removed at the end.

    The lock is the system's own, so nothing is held any more when the process is killed: those that it forked have
    given up what they inherited. Raises ``UserError``, which says that it is ``busy``, where another process holds it,
    and where it cannot be written. ``unlockable`` is called where the file system locks nothing, as some network ones
    do: what it does not raise for goes on without a lock.
    """
    opened = _open_locked(folder, busy, unlockable, name)
    _held.add(opened)
    try:
        yield
    finally:
        if opened in _held:  # not so in a forked process
            _release(opened, folder, name)


def _release(opened: int, folder: Path, name: str) -> None:
    try:
        if name:  # while it is locked: never the file of a process that came after
            (folder / name).unlink(missing_ok=True)
    finally:
        _held.remove(opened)
        os.close(opened)


def _open_locked(folder: Path, busy: str, unlockable: Callable[[OSError], None], name: str) -> int:
    """The open lock; opened anew where a process that ended meanwhile removed what was opened."""
    while True:
        opened = _open(folder, name)
        try:
            _lock(opened, folder, busy, unlockable)
            if os.path.samestat(os.fstat(opened), (folder / name).stat()):
                return opened
        except FileNotFoundError:
            pass
        except BaseException:
            os.close(opened)
            raise
        os.close(opened)


def _open(folder: Path, name: str) -> int:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        return os.open(folder / name, os.O_WRONLY | os.O_CREAT if name else os.O_RDONLY, 0o666)
    except OSError as error:
        raise UserError(f"{folder}: cannot be written: {error.strerror}") from None


def _lock(opened: int, folder: Path, busy: str, unlockable: Callable[[OSError], None]) -> None:
    try:
        fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise UserError(f"{folder}: {busy}") from None
    except OSError as error:
        unlockable(error)


def _give_up_inherited() -> None:
    """In a forked process: else it would hold the lock for as long as it outlives the one that took it."""
    while _held:
        os.close(_held.pop())


os.register_at_fork(after_in_child=_give_up_inherited)
