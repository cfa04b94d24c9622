"""Work spread over processes, with the results in the order of the jobs whatever the number of workers."""

import multiprocessing
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import TypeVar

from contract.errors import UserError

Job = TypeVar("Job")
Result = TypeVar("Result")


def map_in_order(work: Callable[[Job], Result], jobs: Sequence[Job], workers: int, chunk: int = 1) -> Iterator[Result]:
    """Results of ``work`` in the order of ``jobs``, from at most ``workers`` processes (for 1 or one chunk: here).

    Raises ``UserError`` when a worker process is killed, and whatever ``work`` raises.
    """
    if workers <= 1 or len(jobs) <= chunk:
        yield from map(work, jobs)
        return
    context = multiprocessing.get_context("spawn")  # forking a process that runs threads can lock up
    with ProcessPoolExecutor(max(1, min(workers, len(jobs))), context, initializer=_end_with_parent) as pool:
        try:
            yield from pool.map(work, jobs, chunksize=chunk)
        except BrokenProcessPool:
            raise UserError("a worker process was killed (out of memory?): nothing is kept") from None
        finally:
            pool.shutdown(cancel_futures=True)


def _end_with_parent() -> None:
    """Runs in a new worker: when the process that it works for is killed, it ends too, at once.

    Otherwise it would write on beside the next build, and then wait for ever.
    """
    threading.Thread(target=_wait_for_end, daemon=True).start()


def _wait_for_end() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
