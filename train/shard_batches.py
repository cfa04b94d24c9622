"""The loader's worker: decodes samples into memory that the training process reads, and says what it is at."""

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from torch.utils.data import IterableDataset, get_worker_info

from contract.errors import UserError
from contract.shard_reader import Image, SplitReader
from train.batch_plan import PAD, Positions
from train.shared_array import SharedArray

STATUS = ("pid", "position")  # columns of what every worker says of itself
MOST_THREADS = 8  # that decode in the training process, where there are no workers


class Store(Protocol):
    """Where decoded samples lie until the training process has taken their batch."""

    def wants(self, position: int) -> bool:
        """Whether this sample is still to be decoded."""

    def place(self, k: int, row: int, position: int) -> Image:
        """The uint8 ``[H, W, 3]`` pixels of row ``row`` of batch ``k``, to be written."""

    def take(self, k: int, part: Positions, images: Image) -> None:
        """Copy batch ``k``, decoded, into ``images`` uint8 ``[B, H, W, 3]``; rows of padding are not touched."""


@dataclass(frozen=True)
class Failure:
    """A user's mistake that a worker met: handed over as a value, an exception would bring its traceback along."""

    message: str


class ShardBatches(IterableDataset[int | Failure]):
    """Decodes a rank's batches into ``store`` and yields their numbers, in an order that workers do not change.

    Worker ``w`` of ``W`` makes batches ``w``, ``w + W``, ...; ``DataLoader`` takes them in turn, so batch ``k`` is
    the same for any ``W``. No pixel, label or key passes between processes, a number does.
    """

    def __init__(self, reader: SplitReader, parts: list[Positions], store: Store, status: SharedArray) -> None:
        super().__init__()
        self.reader = reader
        self.parts = parts
        self.store = store
        self.status = status

    def __len__(self) -> int:
        return len(self.parts)

    def __iter__(self) -> Iterator[int | Failure]:
        worker = get_worker_info()
        first, step = (worker.id, worker.num_workers) if worker else (0, 1)
        self.status.array[first] = os.getpid(), PAD
        threads = 1 if worker else min(MOST_THREADS, torch.get_num_threads())  # as many as training uses itself
        with ThreadPoolExecutor(threads, "decode") if threads > 1 else nullcontext() as pool:
            for k in range(first, len(self.parts), step):
                try:
                    self._decode(k, first, pool, threads)
                except UserError as error:
                    yield Failure(str(error))
                    return
                yield k

    def _decode(self, k: int, worker: int, pool: ThreadPoolExecutor | None, threads: int) -> None:
        """Decode batch ``k``; where samples fail, raise the error of the first one, however many threads there are."""
        wanted = [(row, p) for row, p in enumerate(self.parts[k].tolist()) if p != PAD and self.store.wants(p)]
        if pool is None or not wanted:
            failed = self._decode_samples(k, worker, wanted)
        else:  # OpenCV lets go of Python's lock while it decodes
            jobs = [pool.submit(self._decode_samples, k, worker, wanted[i::threads]) for i in range(threads)]
            failed = min((f for job in jobs if (f := job.result())), key=lambda f: f[0], default=None)
        if failed:
            raise failed[1]

    def _decode_samples(
        self, k: int, worker: int, samples: list[tuple[int, int]]
    ) -> tuple[int, UserError | RuntimeError] | None:
        """Row and error of the first sample that fails; the ones after it stay undecoded."""
        for row, position in samples:
            self.status.array[worker, 1] = position
            try:
                np.copyto(self.store.place(k, row, position), self.reader.image(position))
            except UserError as error:
                return row, error
            except Exception as error:
                named = RuntimeError(f"{self.reader.name(position)}: {type(error).__name__}: {error}")
                named.__cause__ = error
                return row, named
        return None
