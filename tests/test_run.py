"""The state of a run: its random numbers and orders, what it steps and how fast, its card, the clock of checkpoints."""

from dataclasses import replace
from pathlib import Path
from typing import Literal

import pytest
import torch
from small_network import config_of

import train.loop
from train.checkpoint import load_checkpoint
from train.history import Epoch
from train.processes import Processes
from train.resume import save_step, start
from train.run import Run
from train.schedule import learning_rate_of_step

pytestmark = pytest.mark.usefixtures("small_networks")


def test_no_two_steps_of_a_run_draw_the_same_numbers(shards: Path, tmp_path: Path) -> None:
    run = Run(config_of(shards, tmp_path))
    phases = [replace(run.new_phase(epoch), step=step) for epoch in (1, 2, 3) for step in range(run.steps)]
    assert [run.draws(phase).step for phase in phases] == list(range(3 * run.steps))


@pytest.mark.parametrize("sampling", ["plain", "class"])
def test_every_epoch_of_a_run_has_an_order_of_its_own(
    sampling: Literal["plain", "class"], shards: Path, tmp_path: Path
) -> None:
    run = Run(config_of(shards, tmp_path, sampling=sampling))
    first, second, again = (
        [key for batch in run.train_batches(run.new_phase(epoch)) for key in batch.keys] for epoch in (1, 2, 1)
    )
    assert first == again != second


def test_all_that_is_learned_is_stepped_at_the_rate_of_the_schedule(shards: Path, tmp_path: Path) -> None:
    run = Run(config_of(shards, tmp_path, subject_head=0.5))
    stepped = {id(parameter) for group in run.optimizer.param_groups for parameter in group["params"]}
    learned, network = ({id(parameter) for parameter in module.parameters()} for module in (run.learner, run.model))
    assert stepped == learned > network
    for epoch, step in ((1, 0), (1, 1), (2, 1)):
        phase = replace(run.new_phase(epoch), step=step)
        train.loop.set_learning_rate(run, phase)
        rate = learning_rate_of_step(run.config, epoch, step, run.steps)
        assert [group["lr"] for group in run.optimizer.param_groups] == [rate, rate]


def test_the_card_of_a_run_is_that_of_its_best_epoch(shards: Path, tmp_path: Path) -> None:
    run = Run(config_of(shards, tmp_path))
    run.history = [
        Epoch(epoch, 0.5, 0.5, 0.5, accuracy, 0.5, accuracy, 0.1, 40, 1.0, 36.0)
        for epoch, accuracy in ((1, 0.9), (2, 0.6))
    ]
    card = run.card()
    assert (card.epoch, card.metrics["valid_accuracy"]) == (1, 0.9)


def test_a_checkpoint_inside_an_epoch_starts_the_clock_anew_and_keeps_the_seconds(shards: Path, tmp_path: Path) -> None:
    run = Run(config_of(shards, tmp_path, checkpoint_every=100.0))
    phase = replace(run.new_phase(1), seconds=5.0)
    with train.loop.Interruption() as interruption:
        assert not run.pause_is_due(interruption)
        run.saved_at -= 100
        assert run.pause_is_due(interruption)
        save_step(run, phase)
        assert not run.pause_is_due(interruption)
    resumed = Run(config_of(shards, tmp_path, resume=True))
    assert start(resumed)
    assert resumed.phase is not None
    assert resumed.phase.seconds == 5.0


def test_the_seed_decides_the_weights_to_start_from(shards: Path, tmp_path: Path) -> None:
    first, again, other = (
        Run(config_of(shards, tmp_path, seed=seed)).model.get_parameter("conv1.weight") for seed in (0, 0, 1)
    )
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


@pytest.mark.parametrize("sampling", ["plain", "class"])
def test_the_seed_decides_the_order_and_the_random_numbers(
    sampling: Literal["plain", "class"], shards: Path, tmp_path: Path
) -> None:
    run, other = (Run(config_of(shards, tmp_path, seed=seed, sampling=sampling)) for seed in (0, 1))
    orders = [[key for batch in r.train_batches(r.new_phase(1)) for key in batch.keys] for r in (run, other)]
    assert orders[0] != orders[1]
    assert not torch.equal(*(r.draws(r.new_phase(1)).uniform("turn") for r in (run, other)))
    assert [r.card().seed for r in (run, other)] == [0, 1]


@pytest.mark.parametrize("cache", ["ram", "device"])
def test_with_a_cache_a_run_trains_and_validates_on_the_same_batches(
    cache: Literal["ram", "device"], shards: Path, tmp_path: Path
) -> None:
    plain, cached = (Run(config_of(shards, tmp_path, cache=kind)) for kind in ("none", cache))
    for _ in range(2):  # filled, and read
        for batches_of in (lambda run: run.train_batches(run.new_phase(1)), Run.valid_batches):
            for wanted, found in zip(batches_of(plain), batches_of(cached), strict=True):
                assert torch.equal(wanted.images, found.images)
                assert torch.equal(wanted.labels, found.labels)


def test_without_a_time_between_checkpoints_none_is_due_inside_an_epoch(shards: Path, tmp_path: Path) -> None:
    run = Run(config_of(shards, tmp_path, checkpoint_every=0.0))
    run.saved_at -= 1e9
    with train.loop.Interruption() as interruption:
        assert not run.pause_is_due(interruption)


@pytest.mark.parametrize("cache", ["ram", "device"])
def test_each_split_of_a_run_has_its_own_cache(cache: Literal["ram", "device"], shards: Path, tmp_path: Path) -> None:
    plain, cached = Run(config_of(shards, tmp_path)), Run(config_of(shards, tmp_path, cache=cache))
    for batches in (lambda run: run.valid_batches(), lambda run: run.train_batches(run.new_phase(1))):
        for _ in range(2):
            for wanted, found in zip(batches(plain), batches(cached), strict=True):
                assert torch.equal(found.images, wanted.images)
                assert torch.equal(found.labels, wanted.labels)


class Alike(Processes):
    """The first of two processes, where the other one has the same values."""

    def total(self, values: torch.Tensor) -> torch.Tensor:
        return values.mul_(2)  # in place, as torch.distributed does


def test_a_checkpoint_holds_the_sums_of_all_processes_and_leaves_each_its_own(shards: Path, tmp_path: Path) -> None:
    run = Run(config_of(shards, tmp_path))
    run.processes = Alike(0, 2)
    phase = replace(run.new_phase(1), step=2, keys=[[], []])
    phase.losses[:], phase.correct[...] = 1.5, 7
    save_step(run, phase)
    assert (phase.losses.tolist(), phase.correct.item()) == ([1.5, 1.5], 7)
    saved = load_checkpoint(tmp_path / "resnet18" / "last.pt")[1]["phase"]
    assert (saved["losses"].tolist(), saved["correct"].item()) == ([1.5, 1.5], 14)
