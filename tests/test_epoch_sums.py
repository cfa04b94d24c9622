"""What an epoch sums up: losses by samples, over uneven parts of a batch; scores without padding, at its own size."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from small_network import config_of
from torch import nn

import train.loop
from train.batch_plan import PAD, valid_parts
from train.data import Batches
from train.loop import train as train_network
from train.processes import Processes
from train.run import Run
from train.scores import Scores

pytestmark = pytest.mark.usefixtures("small_networks")


def test_the_train_loss_of_an_epoch_is_the_mean_over_its_samples(shards: Path, tmp_path: Path) -> None:
    run = Run(config_of(shards, tmp_path))
    phase = replace(run.new_phase(1), seconds=2.0)
    phase.losses[:] = torch.tensor([1.0, 2.0])  # of 20 samples and of 16
    row = train.loop.row_of(run, phase, Scores(0.5, 0.5, 0.5, 0.5))
    assert row.train_loss == pytest.approx((20 * 1.0 + 16 * 2.0) / 36)
    assert (row.seconds, row.images_per_second) == (2, 18)


def test_losses_of_uneven_parts_have_the_mean_of_the_whole_batch(shards: Path, tmp_path: Path) -> None:
    run = Run(config_of(shards, tmp_path, batch_size=15, subject_head=0.5))
    run.learner.eval()  # BatchNorm would see another batch

    def part(rank: int, ranks: int) -> tuple[int, float]:
        """Samples and loss of a process's part of the first batch."""
        run.processes = Processes(rank, ranks)
        phase = run.new_phase(1)
        batch = next(iter(run.train_batches(phase)))
        return len(batch.keys), train.loop.forward(run, phase, batch)[0].item()

    (_, whole), (first, one), (second, other) = part(0, 1), part(0, 2), part(1, 2)
    assert [first, second] == [7, 8]
    assert (one + other) / 2 == pytest.approx(whole, rel=1e-5)


def test_padding_samples_are_not_scored(shards: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = Run(config_of(shards, tmp_path))
    padded = valid_parts(np.arange(12), 7, 1, 2)  # of the second of two processes: each of its batches is padded
    real = [part[part != PAD] for part in padded]
    assert all(len(part) < len(whole) for part, whole in zip(real, padded, strict=True))

    def scores_of(parts: list[np.ndarray]) -> Scores:
        assert run.valid_split is not None
        batches = Batches(run.valid_split, parts, 0, False, None)
        with monkeypatch.context() as patch:
            patch.setattr(run, "valid_batches", lambda: batches)
            return train.loop.evaluate(run, run.ema.model, 40)

    assert vars(scores_of(padded)) == pytest.approx(vars(scores_of(real)), nan_ok=True)


def test_each_epoch_is_validated_at_the_size_that_it_was_trained_at(
    shards: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes: list[int] = []
    evaluate = train.loop.evaluate

    def note_size(run: Run, model: nn.Module, size: int) -> Scores:
        sizes.append(size)
        return evaluate(run, model, size)

    monkeypatch.setattr(train.loop, "evaluate", note_size)
    train_network(config_of(shards, tmp_path, start_size=33))
    assert sizes == [33, 40]


def test_a_process_without_a_sample_in_the_last_batch_adds_nothing(shards: Path, tmp_path: Path) -> None:
    run = Run(config_of(shards, tmp_path, batch_size=35))
    run.learner.eval()
    run.processes = Processes(0, 2)
    phase = replace(run.new_phase(1), step=1)
    (batch,) = run.train_batches(phase)
    assert batch.keys == [""]
    assert len(run.draws(phase).uniform("any")) == 1  # numbers for the black image that it sees
    loss, right = train.loop.forward(run, phase, batch)
    assert (loss.item(), right.item()) == (0, 0)


def test_only_of_one_process_may_a_signal_have_ended_the_workers(shards: Path, tmp_path: Path) -> None:
    run = Run(config_of(shards, tmp_path))
    with train.loop.Interruption() as interruption:
        assert not train.loop.ended_by_signal(run, interruption)
        interruption.signum = 15
        assert train.loop.ended_by_signal(run, interruption)
        run.processes = Processes(0, 2)  # the other one would wait in its next step for ever
        assert not train.loop.ended_by_signal(run, interruption)
