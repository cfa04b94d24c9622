"""One run at a time writes a network's folder."""

from collections.abc import Iterator
from contextlib import contextmanager

from contract.lock import locked_folder
from train.run import Run


@contextmanager
def locked_run(run: Run) -> Iterator[None]:
    """Make the folder of ``run`` and hold it: the checkpoints of two runs at work in it would replace one another.

    Raises ``UserError`` where another run holds it, or where it cannot be made. The lock is the folder's own, so
    nothing is left of it when a process is killed. The first of several processes holds it for all.
    """

    def tell(error: OSError) -> None:
        run.tell(f"note: {run.folder} cannot be locked ({error.strerror}): start no second run there")

    if not run.processes.first:
        yield
        return
    busy = "another run is at work there: wait for it, or choose another --artifacts"
    with locked_folder(run.folder, busy, tell):
        yield
