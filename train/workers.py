"""Loader processes under supervision: one that dies ends the run with the name of the sample it was at."""

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing import active_children, get_context, parent_process
from multiprocessing.context import BaseContext
from multiprocessing.process import BaseProcess
from multiprocessing.sharedctypes import RawValue

from contract.errors import UserError
from contract.shard_reader import SplitReader
from train.batch_plan import PAD
from train.shard_batches import Failure
from train.shared_array import SharedArray


class Flag:
    """An event that is set once, without a lock: one that a killed worker held would never be released.

    multiprocessing's takes a lock even to be asked, as every worker does between two batches; ``DataLoader`` would then
    wait for it forever when it ends its workers.
    """

    def __init__(self) -> None:
        self._value = RawValue("b", 0)

    def set(self) -> None:
        self._value.value = 1

    def is_set(self) -> bool:
        return bool(self._value.value)


class _WithFlags:
    def Event(self) -> Flag:  # noqa: N802  # its name in multiprocessing
        return Flag()


def loader_context() -> BaseContext:
    """For ``DataLoader``: processes as this platform starts them, and events without locks."""
    return type("LoaderContext", (_WithFlags, type(get_context())), {})()


def supervised(start: Callable[[], Iterator[int | Failure]], reader: SplitReader, status: SharedArray) -> Iterator[int]:
    """Yield the numbers of decoded batches from the ``DataLoader`` iterator that ``start`` makes.

    Raises ``UserError`` that names shard and sample where a worker met bad bytes or died: at the next batch, or
    where one is awaited within the 5 s after which ``DataLoader`` looks at its workers.
    """
    others = set(active_children())
    with _handler_of_sigchld_kept():
        batches = start()
    workers = {process.pid: process for process in set(active_children()) - others}

    def refuse_dead() -> None:
        _refuse_dead(workers, reader, status)

    try:
        while True:
            k = _next(batches, refuse_dead)
            if k is None:
                return
            if isinstance(k, Failure):
                raise UserError(k.message)
            yield k
    finally:
        del batches  # ends the workers now, also where the caller leaves an epoch early


def _next(batches: Iterator[int | Failure], refuse_dead: Callable[[], None]) -> int | Failure | None:
    """The next number, or None at the end; a worker's death ends the wait."""
    try:
        refuse_dead()
        return next(batches, None)
    except (RuntimeError, OSError, EOFError):
        refuse_dead()
        raise


def begin_worker(_: int) -> None:
    """In a worker: Ctrl-C reaches every process of a terminal, and the training process alone decides what it means.

    A worker ends with the training process. torch's own watch compares the parent's number with the one at the worker's
    start: a training process that was killed before that is never missed.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


@contextmanager
def _handler_of_sigchld_kept() -> Iterator[None]:
    """Leave no handler of SIGCHLD behind: torch's would raise in the middle of whatever training step is at work.

    What a handler raises while Python collects garbage or ends an object is printed and lost, so that none of ours
    raises instead. Outside the main thread neither torch nor Python sets handlers.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    previous = signal.getsignal(signal.SIGCHLD) or signal.SIG_DFL
    try:
        yield
    finally:
        signal.signal(signal.SIGCHLD, previous)


def _refuse_dead(workers: dict[int | None, BaseProcess], reader: SplitReader, status: SharedArray) -> None:
    for pid, process in workers.items():
        if process.exitcode:
            said = status.array
            positions = [int(position) for number, position in said.tolist() if number == pid and position != PAD]
            where = f"{reader.name(positions[0])}: a worker" if positions else f"split {reader.what!r}: a worker"
            raise UserError(
                f"{where} of the loader {_cause(process.exitcode)} here; where memory ran out, use fewer --workers"
            )


def _cause(exitcode: int) -> str:
    return f"was killed ({signal.Signals(-exitcode).name})" if exitcode < 0 else f"ended with status {exitcode}"
