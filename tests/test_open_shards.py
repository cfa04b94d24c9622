"""A split that is open: what is hashed when, shards replaced meanwhile, as many workers as there are batches."""

import copy
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from contract import shard_reader
from contract.errors import UserError
from contract.manifest import Manifest, Shard
from contract.shard_reader import SplitReader
from train.batch_plan import Positions
from train.cache import RamCache
from train.data import open_labelled, train_batches, valid_batches


def test_every_shard_is_hashed_once_when_it_is_opened_and_never_again(
    shards: Path, manifest: Manifest, monkeypatch: pytest.MonkeyPatch
) -> None:
    hashed = []
    verify = shard_reader.has_listed_bytes

    def count(shard_bytes: bytes, shard: Shard) -> bool:
        hashed.append(shard.name)
        return verify(shard_bytes, shard)

    monkeypatch.setattr(shard_reader, "has_listed_bytes", count)
    reader = open_labelled(shards, manifest, "train")
    assert sorted(hashed) == sorted(shard.name for shard in manifest.shards if shard.split == "train")
    for workers in (0, 2):
        list(train_batches(reader, 7, 0, 1, workers, pin=False))
    elsewhere = copy.copy(reader)  # as a worker gets it, whose own hashing would not be counted here
    for position in range(len(elsewhere)):
        elsewhere.image(position)
    assert len(hashed) == len(set(hashed))


def test_a_shard_that_is_replaced_after_it_was_opened_is_refused_by_name(
    shards: Path, manifest: Manifest, tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(shards, tmp_path / "shards"))
    reader = open_labelled(folder, manifest, "train")
    name = reader.samples[0].shard
    shutil.copy(folder / name, folder / "new").replace(folder / name)
    elsewhere = copy.copy(reader)  # as a worker gets it that does not inherit the training process's memory
    with pytest.raises(UserError, match=rf"{name}: was replaced after it was opened"):
        elsewhere.image(0)


@pytest.mark.parametrize("make", [train_batches, valid_batches])
def test_more_workers_than_batches_are_not_started(reader: SplitReader, make: Callable) -> None:
    arguments = (reader, 18, 0, 1, 4) if make is train_batches else (reader, 18, 4)
    batches = make(*arguments, pin=False)
    assert batches.num_workers == 2
    assert sum(len(keys) for _, _, keys in batches) == 36


def test_orders_may_repeat_samples(reader: SplitReader) -> None:
    order: Positions = np.array([3, 3, 5, 3, 0, 35, 5])
    for workers in (0, 2):
        cache = RamCache(reader)
        for _ in range(2):
            found = list(train_batches(reader, 3, 0, 1, workers, pin=False, order=order, cache=cache))
            assert [key for batch in found for key in batch.keys] == [reader.samples[i].key for i in order]
            images = torch.cat([batch.images for batch in found]).numpy()
            np.testing.assert_array_equal(images, np.stack([reader.image(int(i)) for i in order]))
