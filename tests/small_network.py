"""A network of two thousand weights for tests of the loop: convolution, BatchNorm and a classifier, as in a ResNet."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import train.loop
import train.run
from train.checkpoint import load_checkpoint
from train.config import Config
from train.interrupt import Interruption, StoppedError
from train.run import Phase, Run


class SmallNetwork(nn.Module):
    """Float ``[N, channels, H, W]`` to logits ``[N, 2]``; ``train.run.build_resnet`` is replaced by it."""

    def __init__(self, channels: int = 3) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, 12, 7, stride=4, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(12)
        self.fc = nn.Linear(12, 2)

    def pooled(self, x: Tensor) -> Tensor:
        return torch.relu(self.bn1(self.conv1(x))).mean(dim=(2, 3))

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.pooled(x))


def config_of(shards: Path, artifacts: Path, **changes: Any) -> Config:
    """Two batches an epoch of the tests' shards, the second one smaller; the rate passes its peak within the first."""
    small = Config(shards=shards, artifacts=artifacts, epochs=2, batch_size=20, lr=0.02, warmup_epochs=0.5)
    return replace(small, **{"subject_head": 0.0, "device": "cpu", "amp": False, **changes})


@contextmanager
def small_runs() -> Iterator[None]:
    """Runs inside the block train it, on one thread.

    Sums of floats depend on how threads share them: one thread makes runs comparable bit by bit.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(train.run, "build_resnet", lambda _, channels=3: SmallNetwork(channels))
        yield
    torch.set_num_threads(threads)


def stopped_and_resumed(config: Config) -> dict[str, Any]:
    """What last.pt holds after a run that was stopped at step 2 of epoch 2 and then resumed."""
    pause = train.loop.pause

    def stop(run: Run, phase: Phase, interruption: Interruption) -> None:
        if (phase.epoch, phase.step) == (2, 2):
            pause(run, phase, interruption)
            raise StoppedError("stopped", 15)

    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(train.loop, "pause", stop)
        with pytest.raises(StoppedError):
            train.loop.train(replace(config, checkpoint_every=1e-9))
    return load_checkpoint(train.loop.train(replace(config, resume=True)) / "last.pt")[1]
