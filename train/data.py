"""Batches from shards: one permutation of all samples an epoch, no shuffle buffer."""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader

from contract.errors import UserError
from contract.manifest import Manifest
from contract.shard_reader import SplitReader
from train.batch_plan import PAD, Positions, epoch_order, train_parts, valid_parts
from train.cache import Cache, CacheKind, DeviceCache, RamCache, Ring, empty_on_device
from train.shard_batches import STATUS, ShardBatches, Store
from train.shared_array import SharedArray
from train.workers import begin_worker, loader_context, supervised

NO_LABEL = -100  # of a padding sample: the index that torch's cross_entropy leaves out by default
PREFETCH = 2  # batches that a worker may be ahead
FILLING = 64  # samples at a time on their way into a device's memory


class Batch(NamedTuple):
    """A rank's part of one global batch."""

    images: Tensor  # uint8 [B, H, W, 3] RGB
    labels: Tensor  # int64 [B]
    keys: list[str]

    @property
    def mask(self) -> Tensor:
        """Bool ``[B]``: false where a black padding sample (label ``NO_LABEL``, key "") makes the ranks even."""
        return self.labels != NO_LABEL


class Batches(DataLoader[Batch]):
    """A rank's batches of one epoch: planned, decoded by ``workers`` processes or taken from a cache, in one order."""

    def __init__(
        self, reader: SplitReader, parts: list[Positions], workers: int, pin: bool, cache: Cache | None
    ) -> None:
        filled = isinstance(cache, DeviceCache) or (isinstance(cache, RamCache) and cache.full)
        workers = 0 if filled else min(workers, len(parts))  # copying a batch costs less than handing it over
        store: Store = cache if isinstance(cache, RamCache) else _ring(reader, [] if filled else parts, workers)
        self.reader = reader
        self.parts = parts
        self.pin = pin
        self.cache = cache
        self.store = store
        self.status = SharedArray((max(1, workers), len(STATUS)), np.int64, "the loader", "free some")
        super().__init__(
            ShardBatches(reader, parts, store, self.status),  # type: ignore[arg-type]
            batch_size=None,
            num_workers=workers,
            prefetch_factor=PREFETCH if workers else None,
            multiprocessing_context=loader_context() if workers else None,
            worker_init_fn=begin_worker,
            # Of its own: else every epoch would draw a number from the global one that training uses.
            generator=torch.Generator(),
        )

    def __iter__(self) -> Iterator[Batch]:  # type: ignore[override]
        if isinstance(self.cache, DeviceCache):
            yield from self._on_device(self.cache)
        else:
            for k in supervised(super().__iter__, self.reader, self.status):
                yield self._batch(k)

    def _batch(self, k: int) -> Batch:
        part, size = self.parts[k], self.reader.size
        make = torch.zeros if PAD in part else torch.empty
        images = make((len(part), size, size, 3), dtype=torch.uint8, pin_memory=self.pin)
        self.store.take(k, part, images.numpy())
        labels = torch.from_numpy(np.where(part == PAD, NO_LABEL, self.reader.labels[part]))
        return Batch(images, labels.pin_memory() if self.pin else labels, self._keys(part))

    def _on_device(self, cache: DeviceCache) -> Iterator[Batch]:
        device, first = cache.images.device, 0
        order = torch.from_numpy(np.concatenate([*self.parts, np.array([], np.int64)])).to(device)
        for part in self.parts:
            rows = order[first : first + len(part)]
            first += len(part)
            real = rows.clamp(min=0)
            images, labels = cache.images.index_select(0, real), cache.labels[real]  # by whole images, not by elements
            if PAD in part:
                images[rows == PAD], labels[rows == PAD] = 0, NO_LABEL
            yield Batch(images, labels, self._keys(part))

    def _keys(self, part: Positions) -> list[str]:
        return ["" if position == PAD else self.reader.samples[position].key for position in part.tolist()]


def open_labelled(folder: Path, manifest: Manifest, *splits: str) -> SplitReader:
    """Open splits, together, to train on or to score; raises ``UserError`` where one has no labels or no samples."""
    for split in splits:
        if not manifest.split(split).labelled:
            raise UserError(f"{folder}: the split {split!r} has no labels: a network cannot be trained on it")
        if not manifest.split(split).samples:
            said = "all its cells were left out: build the shards anew"
            raise UserError(f"{folder}: the split {split!r} is empty: {said}")
    return SplitReader(folder, manifest, *splits)


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
    cache: Cache | None = None,
) -> Batches:
    """A rank's batches of an epoch, from batch ``start`` on, in the permutation drawn from ``(seed, epoch)``.

    ``batch_size`` is the global one, over all ranks; ``order`` takes another order than the permutation, in which
    positions may be missing or come again (balanced sampling). A rank's last batch may be a single padding sample
    (see ``Batch.mask``) where the epoch's last global batch holds fewer samples than there are ranks.
    """
    order = epoch_order(len(reader), seed, epoch) if order is None else order
    return Batches(reader, train_parts(order, batch_size, rank, ranks)[start:], workers, pin, cache)


def valid_batches(
    reader: SplitReader,
    batch_size: int,
    workers: int,
    pin: bool,
    *,
    rank: int = 0,
    ranks: int = 1,
    cache: Cache | None = None,
) -> Batches:
    """A rank's part of all samples in the shards' order; padding samples make the ranks' parts equally long."""
    return Batches(reader, valid_parts(np.arange(len(reader)), batch_size, rank, ranks), workers, pin, cache)


def open_cache(kind: CacheKind, reader: SplitReader, device: torch.device, workers: int) -> Cache | None:
    """What ``--cache`` asks for, to be handed to every epoch of this split.

    ``ram`` takes its memory now and is filled by the first epoch; ``device`` is filled here. Raises ``UserError``
    where the memory does not suffice.
    """
    if kind == "none":
        return None
    if kind == "ram":
        return RamCache(reader)
    images, first = empty_on_device(reader, device), 0
    for batch in valid_batches(reader, FILLING, workers, pin=False):
        images[first : first + len(batch.images)] = batch.images.to(device)
        first += len(batch.images)
    return DeviceCache(images, torch.from_numpy(reader.labels).to(device))


def _ring(reader: SplitReader, parts: list[Positions], workers: int) -> Ring:
    # DataLoader asks for at most PREFETCH batches a worker beyond the one that is being copied out.
    return Ring(PREFETCH * workers + 1, max(map(len, parts), default=0), reader.size)
