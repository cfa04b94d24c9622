"""A loss that is not finite, wherever it is met: in another process, or in an epoch that was gone on with."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from small_network import config_of

import train.loop
from contract.errors import UserError
from train.finite import check_losses
from train.loop import train as train_network
from train.resume import save_step
from train.run import Run

pytestmark = pytest.mark.usefixtures("small_networks")


def test_a_loss_of_another_process_stops_this_one_too_and_its_keys_are_named(shards: Path, tmp_path: Path) -> None:
    run = Run(config_of(shards, tmp_path))
    phase = replace(run.new_phase(1), step=2, keys=[["a"], ["b"]])
    other = {"total": lambda finite: finite + torch.tensor([1, 0]), "gathered": lambda own: [own, ["c", ""]]}
    run.processes = SimpleNamespace(ranks=2, **other)  # type: ignore[assignment]
    with pytest.raises(UserError, match=r"not finite in epoch 1, step 2 of 2: .*keys: b c$"):
        check_losses(run, phase)


def test_after_going_on_inside_an_epoch_step_and_keys_are_those_of_the_batch(
    shards: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config, seen, forward = config_of(shards, tmp_path, batch_size=10), [], train.loop.forward

    def spoil(run: Run, phase: Any, batch: Any) -> tuple[torch.Tensor, torch.Tensor]:
        loss, correct = forward(run, phase, batch)
        seen.append(batch.keys)
        return loss * (float("nan") if phase.step == 3 else 1), correct

    run = Run(config)
    save_step(run, replace(run.new_phase(1), step=2, keys=[[], []]))
    monkeypatch.setattr(train.loop, "forward", spoil)
    with pytest.raises(UserError, match="not finite in epoch 1, step 4 of 4") as error:
        train_network(replace(config, resume=True))
    assert str(error.value).split("the batch's keys: ")[1].split() == seen[1]
