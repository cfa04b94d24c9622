"""Batches from shards: one permutation of all samples an epoch, no shuffle buffer."""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset, get_worker_info

from contract.errors import UserError
from contract.manifest import Manifest
from contract.shard_reader import SplitReader
from train.batch_plan import PAD, Positions, epoch_order, train_parts, valid_parts

NO_LABEL = -100  # of a padding sample: the index that torch's cross_entropy leaves out by default


class Batch(NamedTuple):
    """A rank's part of one global batch."""

    images: Tensor  # uint8 [B, H, W, 3] RGB
    labels: Tensor  # int64 [B]
    keys: list[str]

    @property
    def mask(self) -> Tensor:
        """Bool ``[B]``: false where a black padding sample (label ``NO_LABEL``, key "") makes the ranks even."""
        return self.labels != NO_LABEL


class ShardBatches(IterableDataset[Batch]):
    """The batches of one epoch, in an order that does not depend on the number of workers.

    Worker ``w`` of ``W`` makes batches ``w``, ``w + W``, ...; ``DataLoader`` takes them in turn, so batch ``k`` is
    the same for any ``W``.
    """

    def __init__(self, reader: SplitReader, parts: list[Positions]) -> None:
        super().__init__()
        self.reader = reader
        self.parts = parts

    def __len__(self) -> int:
        return len(self.parts)

    def __iter__(self) -> Iterator[Batch]:
        worker = get_worker_info()
        first, step = (worker.id, worker.num_workers) if worker else (0, 1)
        for part in self.parts[first::step]:
            yield self._batch(part)

    def _batch(self, part: Positions) -> Batch:
        images = np.zeros((len(part), self.reader.size, self.reader.size, 3), np.uint8)
        for image, position in zip(images, part, strict=True):
            if position != PAD:
                image[...] = self.reader.image(int(position))
        samples = [None if position == PAD else self.reader.samples[position] for position in part]
        labels = torch.tensor([sample.label if sample else NO_LABEL for sample in samples], dtype=torch.int64)
        return Batch(torch.from_numpy(images), labels, [sample.key if sample else "" for sample in samples])


def open_labelled(folder: Path, manifest: Manifest, split: str) -> SplitReader:
    """Open a split for training or validation; raises ``UserError`` where it has no labels."""
    if not manifest.split(split).labelled:
        raise UserError(f"{folder}: the split {split!r} has no labels: a network cannot be trained on it")
    return SplitReader(folder, manifest, split)


def train_batches(
    reader: SplitReader,
    batch_size: int,
    seed: int,
    epoch: int,
    workers: int,
    pin: bool,
    *,
    rank: int = 0,
    ranks: int = 1,
    start: int = 0,
    order: Positions | None = None,
) -> DataLoader:
    """A rank's batches of an epoch, from batch ``start`` on, in the permutation drawn from ``(seed, epoch)``.

    ``batch_size`` is the global one, over all ranks; ``order`` takes another order than the permutation, in which
    positions may be missing or come again (balanced sampling). A rank's last batch may be a single padding sample
    (see ``Batch.mask``) where the epoch's last global batch holds fewer samples than there are ranks.
    """
    order = epoch_order(len(reader), seed, epoch) if order is None else order
    return _loader(ShardBatches(reader, train_parts(order, batch_size, rank, ranks)[start:]), workers, pin)


def valid_batches(
    reader: SplitReader, batch_size: int, workers: int, pin: bool, *, rank: int = 0, ranks: int = 1
) -> DataLoader:
    """A rank's part of all samples in the shards' order; padding samples make the ranks' parts equally long."""
    parts = valid_parts(np.arange(len(reader)), batch_size, rank, ranks)
    return _loader(ShardBatches(reader, parts), workers, pin)


def _loader(batches: ShardBatches, workers: int, pin: bool) -> DataLoader:
    # A generator of its own: else every epoch would draw a number from the global one that training uses.
    return DataLoader(batches, batch_size=None, num_workers=workers, pin_memory=pin, generator=torch.Generator())
