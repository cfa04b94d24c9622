"""Batches: every sample once an epoch, in an order that the seed and the epoch decide and the workers do not."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional

from contract.errors import UserError
from contract.manifest import Manifest
from contract.shard_reader import SplitReader
from train.cache import CacheKind, RamCache
from train.data import Batch, open_cache, open_labelled, train_batches, valid_batches


def keys_of(batches: list[Batch]) -> list[str]:
    return [key for _, _, keys in batches for key in keys]


def epoch_of(
    reader: SplitReader, seed: int = 0, epoch: int = 1, workers: int = 0, batch_size: int = 7, **options: Any
) -> list[Batch]:
    return list(train_batches(reader, batch_size, seed, epoch, workers, pin=False, **options))


def assert_same(wanted: list[Batch], found: list[Batch]) -> None:
    assert [batch.keys for batch in wanted] == [batch.keys for batch in found]
    for one, other in zip(wanted, found, strict=True):
        assert torch.equal(one.images, other.images)
        assert torch.equal(one.labels, other.labels)


def joined(parts: tuple[Batch, ...]) -> Batch:
    """The ranks' parts of one global batch as one process would have it: without padding."""
    mask = torch.cat([part.mask for part in parts])
    images, labels = (torch.cat([part[column] for part in parts])[mask] for column in (0, 1))
    return Batch(images, labels, [key for part in parts for key in part.keys if key])


@pytest.mark.parametrize("workers", [1, 2, 4])
def test_batches_do_not_depend_on_the_number_of_workers(reader: SplitReader, workers: int) -> None:
    # 36 samples in batches of 7: six batches, so two workers have an even and four an uneven share.
    wanted, found = epoch_of(reader), epoch_of(reader, workers=workers)
    assert len(wanted) == 6
    assert_same(wanted, found)


@pytest.mark.parametrize("batch_size", [1, 7, 12, 36, 100])
def test_each_sample_comes_exactly_once(reader: SplitReader, batch_size: int) -> None:
    batches = epoch_of(reader, batch_size=batch_size)
    assert sorted(keys_of(batches)) == sorted(sample.key for sample in reader.samples)
    assert len(batches) == len(train_batches(reader, batch_size, 0, 1, 0, pin=False).dataset)
    assert all(len(keys) == batch_size for _, _, keys in batches[:-1])


def test_order_changes_with_the_epoch_and_with_the_seed(reader: SplitReader) -> None:
    orders = [keys_of(epoch_of(reader, seed, epoch)) for seed, epoch in ((0, 1), (0, 2), (1, 1), (1, 0))]
    assert len({tuple(order) for order in orders}) == 4
    assert orders[0] != [sample.key for sample in reader.samples]


def test_same_seed_and_epoch_give_the_same_order(shards: Path, manifest: Manifest) -> None:
    first, second = (keys_of(epoch_of(open_labelled(shards, manifest, "train"), 5, 3)) for _ in range(2))
    assert first == second


def test_batch_holds_the_pixels_labels_and_keys_of_the_reader(reader: SplitReader) -> None:
    positions = {sample.key: i for i, sample in enumerate(reader.samples)}
    for images, labels, keys in epoch_of(reader):
        assert (images.dtype, labels.dtype) == (torch.uint8, torch.int64)
        assert images.shape == (len(keys), 40, 40, 3)
        assert labels.shape == (len(keys),)
        for image, label, key in zip(images, labels, keys, strict=True):
            assert np.array_equal(image.numpy(), reader.image(positions[key]))
            assert label == reader.samples[positions[key]].label


def test_validation_keeps_the_order_of_the_shards(shards: Path, manifest: Manifest) -> None:
    reader = open_labelled(shards, manifest, "valid")
    found = keys_of(list(valid_batches(reader, 5, workers=0, pin=False)))
    assert found == [sample.key for sample in reader.samples]
    assert len(found) == 12


def test_unlabelled_split_is_refused_by_name(shards: Path, manifest: Manifest) -> None:
    with pytest.raises(UserError, match="'test' has no labels"):
        open_labelled(shards, manifest, "test")


def test_a_split_without_a_sample_is_refused_by_name(shards: Path, manifest: Manifest) -> None:
    splits = tuple(replace(split, samples=0) if split.name == "valid" else split for split in manifest.splits)
    with pytest.raises(UserError, match="'valid' is empty"):
        open_labelled(shards, replace(manifest, splits=splits), "valid")


@pytest.mark.parametrize("cache", ["none", "ram", "device"])
@pytest.mark.parametrize(("ranks", "batch_size"), [(2, 7), (4, 7), (4, 11), (4, 36)])
def test_ranks_together_make_the_batches_of_one_process(
    reader: SplitReader, ranks: int, batch_size: int, cache: CacheKind
) -> None:
    # Of 36 samples, batches of 7 leave one for the last: three of four ranks have none of it. Of 11, they leave three.
    caches = [open_cache(cache, reader, torch.device("cpu"), 0) for _ in range(ranks)]
    for epoch in (1, 2):
        by_rank = [
            epoch_of(reader, epoch=epoch, batch_size=batch_size, rank=rank, ranks=ranks, cache=caches[rank])
            for rank in range(ranks)
        ]
        assert_same(
            epoch_of(reader, epoch=epoch, batch_size=batch_size), [joined(p) for p in zip(*by_rank, strict=True)]
        )


@pytest.mark.parametrize("ranks", [1, 2, 4])
@pytest.mark.parametrize("workers", [0, 2])
def test_validation_over_ranks_counts_each_sample_once(
    shards: Path, manifest: Manifest, ranks: int, workers: int
) -> None:
    reader = open_labelled(shards, manifest, "valid")
    by_rank = [
        list(valid_batches(reader, 5, workers=workers, pin=False, rank=rank, ranks=ranks)) for rank in range(ranks)
    ]
    assert len({tuple(len(batch.keys) for batch in batches) for batches in by_rank}) == 1  # same steps, same shapes
    assert_same(list(valid_batches(reader, 5, 0, pin=False)), [joined(parts) for parts in zip(*by_rank, strict=True)])
    blasts = sum(int((batch.labels[batch.mask] == 1).sum()) for batches in by_rank for batch in batches)
    assert blasts == sum(sample.label == 1 for sample in reader.samples)


def test_padding_is_black_without_key_and_without_loss(shards: Path, manifest: Manifest) -> None:
    # 12 samples in batches of 5 over 4 ranks: the last batch has 2, so ranks 2 and 3 have padding alone.
    reader = open_labelled(shards, manifest, "valid")
    for cache in ("none", "ram", "device"):
        kept = open_cache(cache, reader, torch.device("cpu"), 0)
        for _ in range(2):
            last = list(valid_batches(reader, 5, 0, pin=False, rank=3, ranks=4, cache=kept))[-1]
            assert (last.keys, last.mask.tolist(), last.images.count_nonzero()) == ([""], [False], 0)
            assert functional.cross_entropy(torch.randn(1, 2), last.labels, reduction="sum") == 0


@pytest.mark.parametrize("cache", ["none", "ram", "device"])
@pytest.mark.parametrize("workers", [0, 2, 4])
@pytest.mark.parametrize("start", [0, 1, 4, 6])
def test_an_epoch_goes_on_at_any_batch_as_if_never_left(
    reader: SplitReader, start: int, workers: int, cache: CacheKind
) -> None:
    kept = open_cache(cache, reader, torch.device("cpu"), workers)
    assert_same(epoch_of(reader)[start:], epoch_of(reader, workers=workers, start=start, cache=kept))


def test_an_order_that_is_handed_over_is_followed(reader: SplitReader) -> None:
    order = np.array([3, 3, 5, 3, 0, 35, 5])
    assert keys_of(epoch_of(reader, order=order, batch_size=2)) == [reader.samples[i].key for i in order]


def test_the_global_generator_is_left_alone(reader: SplitReader) -> None:
    # A training that is resumed inside an epoch opens the loader once more than one that is not interrupted.
    torch.manual_seed(0)
    wanted = torch.rand(3)
    torch.manual_seed(0)
    for workers in (0, 2):
        epoch_of(reader, workers=workers)
    assert torch.equal(torch.rand(3), wanted)


def test_batches_are_the_caller_s_own(reader: SplitReader) -> None:
    # Workers use the memory of a batch again: what was yielded must not change with it.
    for cache in (None, RamCache(reader)):
        batches = list(train_batches(reader, 2, 0, 1, 2, pin=False, cache=cache))
        before = [batch.images.clone() for batch in batches]
        batches[0].images.zero_()
        assert_same(epoch_of(reader, batch_size=2, cache=cache)[1:], batches[1:])
        assert all(torch.equal(one, batch.images) for one, batch in zip(before[1:], batches[1:], strict=True))


def test_labels_and_subjects_of_a_split_are_at_hand(reader: SplitReader) -> None:
    assert reader.labels.tolist() == [sample.label for sample in reader.samples]
    assert reader.subjects == tuple(reader.info(i)["subject"] for i in range(36))
