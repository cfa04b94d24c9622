"""Caches: the same batches as without one, filled by the first epoch, and never by what was left half done."""

from pathlib import Path

import numpy as np
import pytest
import torch

from contract.errors import UserError
from contract.manifest import Manifest
from contract.shard_reader import SplitReader
from train import cache as cache_module
from train.cache import CacheKind, DeviceCache, RamCache
from train.data import Batch, open_cache, open_labelled, train_batches, valid_batches

CPU = torch.device("cpu")


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The positions that this process decodes from here on."""
    positions: list[int] = []
    image = SplitReader.image

    def note(self: SplitReader, position: int) -> np.ndarray:
        positions.append(position)
        return image(self, position)

    monkeypatch.setattr(SplitReader, "image", note)
    return positions


def assert_same(wanted: list[Batch], found: list[Batch]) -> None:
    assert [batch.keys for batch in wanted] == [batch.keys for batch in found]
    for one, other in zip(wanted, found, strict=True):
        assert torch.equal(one.images, other.images)
        assert torch.equal(one.labels, other.labels)


@pytest.mark.parametrize("workers", [0, 1, 2, 4])
@pytest.mark.parametrize("kind", ["ram", "device"])
def test_a_cache_gives_the_batches_of_none_in_every_epoch(reader: SplitReader, kind: CacheKind, workers: int) -> None:
    kept = open_cache(kind, reader, CPU, workers)
    for epoch in (1, 2, 3):
        wanted = list(train_batches(reader, 7, 0, epoch, 0, pin=False))
        assert_same(wanted, list(train_batches(reader, 7, 0, epoch, workers, pin=False, cache=kept)))
    assert_same(list(valid_batches(reader, 7, 0, pin=False)), list(valid_batches(reader, 7, 0, pin=False, cache=kept)))


@pytest.mark.parametrize("workers", [0, 1, 2, 4])
def test_the_first_epoch_fills_the_shared_memory_and_later_ones_decode_nothing(
    reader: SplitReader, workers: int, decoded: list[int]
) -> None:
    kept = RamCache(reader)
    list(train_batches(reader, 7, 0, 1, workers, pin=False, cache=kept))
    assert kept.full
    assert len(decoded) == (0 if workers else 36)  # workers decode in their own processes
    later = train_batches(reader, 7, 0, 2, workers, pin=False, cache=kept)
    assert later.num_workers == 0
    decoded.clear()
    list(later)
    assert decoded == []
    np.testing.assert_array_equal(kept.images.array, np.stack([reader.image(i) for i in range(36)]))


def test_no_cache_decodes_every_sample_in_every_epoch(reader: SplitReader, decoded: list[int]) -> None:
    for epoch in (1, 2):
        list(train_batches(reader, 7, 0, epoch, 0, pin=False))
        assert sorted(decoded) == list(range(36))
        decoded.clear()


@pytest.mark.parametrize("workers", [0, 2])
def test_an_epoch_left_early_keeps_what_it_has_yielded_and_no_more(reader: SplitReader, workers: int) -> None:
    kept = RamCache(reader)
    batches = iter(train_batches(reader, 7, 0, 1, workers, pin=False, cache=kept))
    yielded = [next(batches), next(batches)]
    batches.close()  # type: ignore[attr-defined]
    keys = {key for batch in yielded for key in batch.keys}
    assert {sample.key for sample, here in zip(reader.samples, kept.kept, strict=True) if here} == keys
    # What workers had decoded ahead may be half written: spoil it, as a kill in the middle would.
    kept.images.array[~kept.kept] = 77
    wanted = list(train_batches(reader, 7, 0, 1, 0, pin=False))
    assert_same(wanted, list(train_batches(reader, 7, 0, 1, workers, pin=False, cache=kept)))
    assert kept.full


def test_each_split_has_a_cache_of_its_own(shards: Path, manifest: Manifest, reader: SplitReader) -> None:
    valid = open_labelled(shards, manifest, "valid")
    caches = RamCache(reader), RamCache(valid)
    for _ in range(2):
        for split, kept in zip((reader, valid), caches, strict=True):
            found = list(valid_batches(split, 5, 0, pin=False, cache=kept))
            assert_same(list(valid_batches(split, 5, 0, pin=False)), found)


def test_a_device_cache_holds_the_whole_split_on_the_device(reader: SplitReader, decoded: list[int]) -> None:
    kept = open_cache("device", reader, CPU, 0)
    assert isinstance(kept, DeviceCache)
    assert sorted(decoded) == list(range(36))
    assert (kept.images.shape, kept.images.dtype, kept.images.device) == ((36, 40, 40, 3), torch.uint8, CPU)
    decoded.clear()
    for batch in train_batches(reader, 7, 0, 1, 0, pin=False, cache=kept):  # workers would decode out of sight
        assert (batch.images.device, batch.labels.device) == (CPU, CPU)
    assert decoded == []


def test_a_device_that_is_too_small_is_one_line_before_anything_is_read(
    reader: SplitReader, monkeypatch: pytest.MonkeyPatch, decoded: list[int]
) -> None:
    monkeypatch.setattr(cache_module.torch.cuda, "mem_get_info", lambda _: (100_000, 200_000))
    wanted = r"--cache device for the split 'train' \(36 samples\) needs 0\.2 MiB, the GPU has 0\.1 MiB free: --cache"
    with pytest.raises(UserError, match=wanted):
        open_cache("device", reader, torch.device("cuda"), 0)
    assert decoded == []


def test_no_cache_is_none(reader: SplitReader) -> None:
    assert open_cache("none", reader, CPU, 0) is None


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("kind", ["none", "ram", "device"])
def test_batches_reach_the_gpu_pinned_or_from_its_own_memory(reader: SplitReader, kind: CacheKind) -> None:
    device = torch.device("cuda")
    kept = open_cache(kind, reader, device, 2)
    for epoch in (1, 2):
        wanted = list(train_batches(reader, 7, 0, epoch, 0, pin=False))
        found = list(train_batches(reader, 7, 0, epoch, 2, pin=True, cache=kept))
        assert all(batch.images.is_pinned() or batch.images.is_cuda for batch in found)
        moved = [Batch(b.images.to(device, non_blocking=True).cpu(), b.labels.cpu(), b.keys) for b in found]
        assert_same(wanted, moved)
