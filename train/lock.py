"""One run at a time writes a network's folder."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager

from contract.errors import UserError
from train.run import Run


@contextmanager
def locked_folder(run: Run) -> Iterator[None]:
    """Make the folder of ``run`` and hold it: the checkpoints of two runs at work in it would replace one another.

    Raises ``UserError`` where another run holds it, or where it cannot be made. The lock is the folder's own, so
    nothing is left of it when a process is killed. The first of several processes holds it for all.
    """
    if not run.processes.first:
        yield
        return
    try:
        run.folder.mkdir(parents=True, exist_ok=True)
        opened = os.open(run.folder, os.O_RDONLY)
    except OSError as error:
        raise UserError(f"{run.folder}: cannot be written: {error.strerror}") from None
    try:
        _lock(run, opened)
        yield
    finally:
        os.close(opened)


def _lock(run: Run, opened: int) -> None:
    try:
        fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise UserError(
            f"{run.folder}: another run is at work there: wait for it, or choose another --artifacts"
        ) from None
    except OSError as error:  # of some network file systems
        run.tell(f"note: {run.folder} cannot be locked ({error.strerror}): start no second run there")
