"""Steps of training beside a plain loop of torch's own optimiser: weights, losses, rates and time of an epoch."""

import copy
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from small_network import config_of
from torch.nn import functional

import train.loop
from train.run import Run
from train.schedule import learning_rate_of_step
from train.scores import Scores

pytestmark = pytest.mark.usefixtures("small_networks")


def test_an_epoch_is_that_of_a_plain_loop(shards: Path, tmp_path: Path) -> None:
    off = {"flip": False, "affine": 0.0, "blur": 0.0, "sharpen": 0.0}
    run = Run(config_of(shards, tmp_path, weight_decay=0.01, warmup_epochs=0.0, **off))
    plain = copy.deepcopy(run.model).train()
    decayed, others = ([p for p in plain.parameters() if (p.ndim > 1) is decay] for decay in (True, False))
    groups = [{"params": decayed, "weight_decay": 0.01}, {"params": others}]
    optimizer = torch.optim.SGD(groups, lr=1.0, momentum=0.9, nesterov=True)
    losses, right, rate = [], 0, 0.0
    for step, batch in enumerate(run.train_batches(run.new_phase(1))):  # of 20 cells, and of 16
        rate = learning_rate_of_step(run.config, 1, step, run.steps)
        for group in optimizer.param_groups:
            group["lr"] = rate
        logits = plain(run.normalise(batch.images))
        loss = functional.cross_entropy(logits, batch.labels, label_smoothing=run.config.label_smoothing)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
        right += int((logits.argmax(1) == batch.labels).sum())
    phase = run.new_phase(1)
    with train.loop.Interruption() as interruption:
        train.loop.train_epoch(run, phase, interruption)
    torch.testing.assert_close(dict(run.model.state_dict()), dict(plain.state_dict()), rtol=1e-4, atol=1e-6)
    assert phase.losses.tolist() == pytest.approx(losses, rel=1e-5)
    row = train.loop.row_of(run, phase, Scores(0.5, 0.5, 0.5, 0.5))
    assert (row.train_accuracy, row.lr) == (right / 36, rate)
    assert row.lr < run.config.lr


def test_seconds_of_an_epoch_that_is_gone_on_with_count_from_its_beginning(shards: Path, tmp_path: Path) -> None:
    run = Run(config_of(shards, tmp_path))
    phase = replace(run.new_phase(1), step=1, seconds=1000.0)
    with train.loop.Interruption() as interruption:
        train.loop.train_epoch(run, phase, interruption)
    assert 1000 < phase.seconds < 2000


def test_a_checkpoint_inside_an_epoch_knows_the_seconds_so_far(
    shards: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    noted: list[float] = []
    monkeypatch.setattr(train.loop, "pause", lambda _, phase, __: noted.append(phase.seconds))
    run = Run(config_of(shards, tmp_path, checkpoint_every=1e-9))
    with train.loop.Interruption() as interruption:
        train.loop.train_epoch(run, run.new_phase(1), interruption)
    assert 0 < noted[0] < noted[1]
