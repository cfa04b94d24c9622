"""--compile: whole batches alone go through torch.compile, with fixed shapes; the compiler itself is not tested."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from small_network import SmallNetwork
from torch import Tensor, nn

import train.run
from train.config import Config
from train.interrupt import Interruption
from train.loop import train_epoch
from train.run import Run


def test_whole_batches_are_compiled_and_the_last_smaller_one_is_not(
    shards: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shapes: list[tuple[int, ...]] = []

    def compiled(module: nn.Module, **options: Any) -> Callable[[Tensor], Tensor]:
        assert options == {"dynamic": False}

        def call(x: Tensor) -> Tensor:
            shapes.append(tuple(x.shape))
            return module(x)

        return call

    monkeypatch.setattr(train.run, "build_resnet", lambda _, channels=3: SmallNetwork(channels))
    monkeypatch.setattr(torch, "compile", compiled)
    config = Config(shards=shards, artifacts=tmp_path, batch_size=15, device="cpu", amp=False)
    weights = []
    for one in (config, replace(config, compile=True)):
        run = Run(one)
        with Interruption() as interruption:
            train_epoch(run, run.new_phase(1), interruption)
        weights.append(run.model.state_dict())
    assert shapes == [(15, 6, 40, 40)] * 2  # 36 samples: the last six stay out
    assert all(torch.equal(value, weights[1][name]) for name, value in weights[0].items())
