"""Where there are no workers, threads decode: the same batches, and the same error, however many they are."""

import time
from pathlib import Path

import numpy as np
import pytest
import torch

from contract.errors import UserError
from contract.manifest import Manifest
from contract.shard_reader import SplitReader
from train.data import Batch, open_labelled, train_batches


def batches(reader: SplitReader, threads: int, monkeypatch: pytest.MonkeyPatch) -> list[Batch]:
    monkeypatch.setattr("train.shard_batches.torch.get_num_threads", lambda: threads)
    return list(train_batches(reader, 10, 0, 1, 0, pin=False))


def test_threads_decode_the_batches_that_one_does(
    shards: Path, manifest: Manifest, monkeypatch: pytest.MonkeyPatch
) -> None:
    reader = open_labelled(shards, manifest, "train")
    alone, together = batches(reader, 1, monkeypatch), batches(reader, 3, monkeypatch)
    assert [batch.keys for batch in together] == [batch.keys for batch in alone]
    for a, b in zip(alone, together, strict=True):
        assert torch.equal(a.images, b.images)
        assert torch.equal(a.labels, b.labels)


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("kind", [UserError, ValueError])
def test_of_several_bad_samples_the_first_of_the_batch_is_named(
    shards: Path, manifest: Manifest, monkeypatch: pytest.MonkeyPatch, threads: int, kind: type[Exception]
) -> None:
    reader = open_labelled(shards, manifest, "train")
    bad = batches(reader, 1, monkeypatch)[1].keys[4:9]
    decode = SplitReader.image

    def image(self: SplitReader, position: int) -> np.ndarray:
        key = self.samples[position].key
        if key in bad:
            time.sleep(0.05 if key == bad[0] else 0)  # the others fail before it
            raise kind(f"{key} is spoilt")
        return decode(self, position)

    monkeypatch.setattr(SplitReader, "image", image)
    with pytest.raises(UserError if kind is UserError else RuntimeError, match=f"{bad[0]} is spoilt"):
        batches(reader, threads, monkeypatch)
