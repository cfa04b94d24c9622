"""The state of a run: its random numbers and orders, what it steps and how fast, its card, the clock of checkpoints."""

from dataclasses import replace
from pathlib import Path
from typing import Literal

import pytest
from small_network import config_of

import train.loop
from train.history import Epoch
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
