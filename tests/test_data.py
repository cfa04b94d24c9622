"""Batches: every sample once an epoch, in an order that the seed and the epoch decide and the workers do not."""

from pathlib import Path

import numpy as np
import pytest
import torch

from contract.errors import UserError
from contract.manifest import Manifest
from contract.shard_reader import SplitReader
from train.data import Batch, open_labelled, train_batches, valid_batches


@pytest.fixture
def reader(shards: Path, manifest: Manifest) -> SplitReader:
    return open_labelled(shards, manifest, "train")


def keys_of(batches: list[Batch]) -> list[str]:
    return [key for _, _, keys in batches for key in keys]


def epoch_of(reader: SplitReader, seed: int = 0, epoch: int = 1, workers: int = 0, batch_size: int = 7) -> list[Batch]:
    return list(train_batches(reader, batch_size, seed, epoch, workers, pin=False))


@pytest.mark.parametrize("workers", [1, 2])
def test_batches_do_not_depend_on_the_number_of_workers(reader: SplitReader, workers: int) -> None:
    # 36 samples in batches of 7: six batches, so two workers have an even and an uneven share of the last.
    wanted, found = epoch_of(reader), epoch_of(reader, workers=workers)
    assert len(wanted) == len(found) == 6
    for (images, labels, keys), (images_found, labels_found, keys_found) in zip(wanted, found, strict=True):
        assert keys == keys_found
        assert torch.equal(images, images_found)
        assert torch.equal(labels, labels_found)


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
