"""Batches from shards: one permutation of all samples an epoch, no shuffle buffer."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset, get_worker_info

from contract.errors import UserError
from contract.manifest import Manifest
from contract.shard_reader import SplitReader

Batch = tuple[Tensor, Tensor, list[str]]  # uint8 [B, H, W, 3] RGB, int64 [B], keys


class ShardBatches(IterableDataset[Batch]):
    """The batches of one epoch, in an order that does not depend on the number of workers.

    Worker ``w`` of ``W`` makes batches ``w``, ``w + W``, ...; ``DataLoader`` takes them in turn, so batch ``k`` is
    the same for any ``W``. The last batch holds what is left: each sample comes exactly once.
    """

    def __init__(self, reader: SplitReader, order: NDArray[np.int64], batch_size: int) -> None:
        super().__init__()
        self.reader = reader
        self.order = order
        self.batch_size = batch_size

    def __len__(self) -> int:
        return -(-len(self.order) // self.batch_size)

    def __iter__(self) -> Iterator[Batch]:
        worker = get_worker_info()
        first, step = (worker.id, worker.num_workers) if worker else (0, 1)
        for k in range(first, len(self), step):
            yield self._batch(self.order[k * self.batch_size : (k + 1) * self.batch_size])

    def _batch(self, positions: NDArray[np.int64]) -> Batch:
        images = np.stack([self.reader.image(int(i)) for i in positions])
        samples = [self.reader.samples[int(i)] for i in positions]
        labels = torch.tensor([sample.label for sample in samples], dtype=torch.int64)
        return torch.from_numpy(images), labels, [sample.key for sample in samples]


def open_labelled(folder: Path, manifest: Manifest, split: str) -> SplitReader:
    """Open a split for training or validation; raises ``UserError`` where it has no labels."""
    if not manifest.split(split).labelled:
        raise UserError(f"{folder}: the split {split!r} has no labels: a network cannot be trained on it")
    return SplitReader(folder, manifest, split)


def train_batches(reader: SplitReader, batch_size: int, seed: int, epoch: int, workers: int, pin: bool) -> DataLoader:
    """The epoch's batches in the permutation drawn from ``(seed, epoch)``."""
    order = np.random.default_rng([seed, epoch]).permutation(len(reader))
    return _loader(ShardBatches(reader, order, batch_size), workers, pin)


def valid_batches(reader: SplitReader, batch_size: int, workers: int, pin: bool) -> DataLoader:
    """All samples in the shards' order."""
    return _loader(ShardBatches(reader, np.arange(len(reader)), batch_size), workers, pin)


def _loader(batches: ShardBatches, workers: int, pin: bool) -> DataLoader:
    return DataLoader(batches, batch_size=None, num_workers=workers, pin_memory=pin)
