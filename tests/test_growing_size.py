"""Images that grow from epoch to epoch."""

from pathlib import Path
from typing import Any

import pytest
import torch
from small_network import config_of

import train.loop
import train.run
from contract.errors import UserError
from train.loop import train as train_network
from train.run import Run


def test_run_of_growing_size_trains_on_smaller_images(
    shards: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[int] = []
    monkeypatch.setattr(train.run, "build_resnet", lambda _, channels: SizeProbe(seen, channels))
    run = Run(config_of(shards, tmp_path, start_size=33))
    with train.loop.Interruption() as interruption:
        train.loop.train_epoch(run, run.new_phase(1), interruption)
    train.loop.evaluate(run, run.ema.model, 33)
    train.loop.evaluate(run, run.ema.model, 40)
    assert seen == [33, 33, 33, 40]  # two steps of training, then validation at the size that is asked


class SizeProbe(torch.nn.Module):
    """A network that notes the side of the images that it sees."""

    def __init__(self, seen: list[int], channels: int) -> None:
        super().__init__()
        self.fc = torch.nn.Linear(channels, 2)
        self.seen = seen

    def __deepcopy__(self, _: dict[int, Any]) -> "SizeProbe":
        return SizeProbe(self.seen, self.fc.in_features)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.seen.append(x.shape[-1])
        return self.fc(x.mean(dim=(2, 3)))


@pytest.mark.parametrize("size", [-1, 16, 32])
def test_start_size_below_the_smallest_image_is_refused(size: int, shards: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=f"--start-size {size}: must be 0 .*33 px"):
        train_network(config_of(shards, tmp_path, start_size=size))
