"""Work spread over processes, with the results in the order of the jobs whatever the number of workers."""

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, process
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing import resource_tracker
from types import TracebackType
from typing import Any, TypeVar

from contract.command import Terminated
from contract.errors import UserError

Job = TypeVar("Job")
Result = TypeVar("Result")
MOST_WORKERS = 1024  # a system's semaphores do not count as far as Python's integers do
# Pools that nobody waited for and their queues, kept to the end: a queue that goes with its own thread, which the end
# of Python stops, may have removed a semaphore and not yet said so, and Python would warn of it.
_LEFT: list[Any] = []


class WorkerPool:
    """Processes that are started at the first work and kept for the next; with 1 worker or 0, this very process."""

    def __init__(self, workers: int) -> None:
        # Forking a process that runs threads can lock up.
        context = multiprocessing.get_context("spawn")
        with _told(workers):
            if workers > 1:
                resource_tracker.ensure_running()  # before there are semaphores, which it removes whatever happens
            self._pool = ProcessPoolExecutor(workers, context, _start) if workers > 1 else None
        self._workers = workers

    def __enter__(self) -> "WorkerPool":
        return self

    def __exit__(self, kind: type[BaseException] | None, _: object, __: TracebackType | None) -> None:
        if self._pool is None:
            return
        if kind is Terminated:  # who sends it kills soon after
            _end_at_once(self._pool)
            return
        try:
            self._pool.shutdown(cancel_futures=True)
        except BaseException:  # another Ctrl-C: it may not wait for what they are at
            _end_at_once(self._pool)
            raise

    def map_in_order(self, work: Callable[[Job], Result], jobs: Sequence[Job], chunk: int = 1) -> Iterator[Result]:
        """Results of ``work`` in the order of ``jobs``; what is one process's share anyway is done in this one.

        Raises ``UserError`` when a worker process cannot be started or is killed, and whatever ``work`` raises.
        """
        if self._pool is None or len(jobs) <= chunk:
            yield from map(work, jobs)
            return
        try:
            with _told(self._workers), _ctrl_c_held_back():
                # Starts the processes. The pool's own map cancels what it no longer waits for, and a pool that breaks
                # meanwhile fails at that, in a traceback: here all is cancelled at its end, by its own thread.
                parts = [self._pool.submit(_each, work, jobs[i : i + chunk]) for i in range(0, len(jobs), chunk)]
            parts.reverse()
            while parts:  # popped: a result that was taken needs no memory
                yield from parts.pop().result()
        except BrokenProcessPool:
            raise UserError("a worker process was killed (out of memory?): nothing is kept") from None


def map_in_order(work: Callable[[Job], Result], jobs: Sequence[Job], workers: int, chunk: int = 1) -> Iterator[Result]:
    """One round of work in a ``WorkerPool`` of its own, of at most ``workers`` processes (in this one for 1 or 0)."""
    with WorkerPool(max(1, min(workers, len(jobs)))) as pool:
        yield from pool.map_in_order(work, jobs, chunk)


def _each(work: Callable[[Job], Result], jobs: Sequence[Job]) -> list[Result]:
    return [work(job) for job in jobs]


def refuse_workers(workers: int) -> None:
    """Raise ``UserError`` for a number of ``--workers`` that is none; call it before any work is done."""
    if not 0 <= workers <= MOST_WORKERS:
        raise UserError(f"--workers {workers}: must be between 0 and {MOST_WORKERS}")


def _end_at_once(pool: Any) -> None:
    """End a pool without waiting for what its workers are at."""
    results, thread = pool._result_queue, pool._executor_manager_thread
    _LEFT.append((pool, pool._call_queue, results))
    if thread is not None:  # Python's end would wake it up by what it may be closing just then: it ends by itself
        process._threads_wakeups.pop(thread, None)
    pool.shutdown(wait=False, cancel_futures=True)
    _kill_workers()
    if results is not None:  # not shut down yet
        results._writer.close()  # the pool's thread, which may have read half of one, else waits for the rest


def _kill_workers() -> None:
    """End this process's workers now: they would write on beside the next build, and never be told that all is over."""
    workers = multiprocessing.active_children()
    for worker in workers:
        worker.kill()
    for worker in workers:
        worker.join()


@contextmanager
def _told(workers: int) -> Iterator[None]:
    """A limit of processes, memory or open files that is reached inside is one line."""
    try:
        yield
    except OSError as error:
        raise UserError(f"--workers {workers}: cannot be started: {error.strerror}: choose fewer") from None


@contextmanager
def _ctrl_c_held_back() -> Iterator[None]:
    """Processes that are started inside never see Ctrl-C; this one sees it at the end.

    A terminal sends it to every process: each worker, also one that is still importing, would end in a traceback.
    """
    resource_tracker.ensure_running()  # it would let signals through again once it has started
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _start() -> None:
    """Runs in a new worker: one worker, one core.

    Several processes whose BLAS has several threads each only wait for one another.
    """
    os.environ.update(OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1")
    threading.Thread(target=_wait_for_end, daemon=True).start()


def _wait_for_end() -> None:
    """When the process that a worker works for is killed, the worker ends too, at once.

    Otherwise it would write on beside the next build, and then wait for ever.
    """
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
