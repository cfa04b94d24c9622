"""A last.pt written by hand, or damaged in part, is refused in one line: nothing goes on from what never was."""

import copy
import math
import re
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from equality import assert_equal
from small_network import SmallNetwork, config_of

from contract.errors import UserError
from contract.model_card import YOUNGER
from train.checkpoint import load_checkpoint, save_checkpoint
from train.config import Config
from train.loop import train as train_network
from train.optimize import make_optimizer
from train.processes import Processes
from train.reload import _load_optimizer, _phase_of, differences
from train.run import Run

pytestmark = pytest.mark.usefixtures("small_networks")
PHASE = {"epoch": 3, "step": 1, "seconds": 1.0, "losses": torch.zeros(2), "correct": torch.tensor(3)}


@pytest.mark.parametrize(
    ("place", "value"),
    [
        (("history", 0, "valid_loss"), None),
        (("history", 0, "valid_accuracy"), "0.5"),
        (("history", 0, "size"), math.nan),
        (("history", 0, "seconds"), 10**400),
        (("history", 1, "epoch"), 1),
        (("history",), []),
        (("phase",), PHASE | {"epoch": 2}),
        (("phase",), PHASE | {"epoch": "3"}),
        (("phase",), PHASE | {"step": 1.5}),
        (("phase",), PHASE | {"step": 3}),
        (("phase",), PHASE | {"step": -1}),
        (("phase",), PHASE | {"seconds": None}),
        (("optimizer", "state", 0, "momentum_buffer"), torch.zeros(3)),
        (("optimizer", "state", 0, "momentum_buffer"), "x"),
        (("optimizer", "param_groups", 0, "lr"), "x"),
    ],
    ids=str,
)
def test_a_value_that_no_run_wrote_cannot_be_resumed(
    place: tuple[Any, ...], value: Any, finished: Path, shards: Path, tmp_path: Path
) -> None:
    artifacts = shutil.copytree(finished, tmp_path / "artifacts")
    last = artifacts / "resnet18" / "last.pt"
    card, state = load_checkpoint(last)
    state = {"phase": PHASE, **{k: v for k, v in state.items() if k not in ("card", "format", "phase")}}
    holder = state
    for key in place[:-1]:
        holder = holder[key]
    holder[place[-1]] = value
    save_checkpoint(last, card, state)
    with pytest.raises(
        UserError, match=r"last\.pt: cannot be resumed \(\w+Error\); --force \(make: FORCE=1\) trains anew"
    ):
        train_network(config_of(shards, artifacts, resume=True))


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        (b"PK", r"not a readable checkpoint \(\w+\)"),
        ('"format": 1', "format 1: this code reads format 2: train and export the network anew"),
        ('"version": 9', "recipe version 9: of stain none this code makes version 1; .*FORCE=1"),
        (None, "its weights 'model' do not fit the network"),
    ],
    ids=["damaged", "older card", "another recipe", "other weights"],
)
def test_a_checkpoint_that_no_run_can_go_on_with_says_what_helps(
    fault: str | bytes | None, words: str, finished: Path, shards: Path, tmp_path: Path
) -> None:
    artifacts = shutil.copytree(finished, tmp_path / "artifacts")
    _spoil(artifacts / "resnet18" / "last.pt", fault)
    with pytest.raises(UserError, match=rf"last\.pt.*: {words}.*; --force \(make: FORCE=1\) trains anew$"):
        train_network(config_of(shards, artifacts, resume=True))
    train_network(config_of(shards, artifacts, force=True))


def _spoil(path: Path, fault: str | bytes | None) -> None:
    state = torch.load(path, weights_only=True)
    if isinstance(fault, bytes):
        path.write_bytes(fault)
    elif isinstance(fault, str):
        key = fault.partition(":")[0]
        torch.save(state | {"card": re.sub(key + r": \d+", fault, state["card"])}, path)
    else:
        torch.save(state | {"model": {}}, path)


def test_settings_of_the_optimizer_are_the_runs_own_and_only_its_state_is_carried_over() -> None:
    network = SmallNetwork()
    optimizer = make_optimizer(network, Config())
    network(torch.ones(2, 3, 8, 8)).sum().backward()
    optimizer.step()
    saved = copy.deepcopy(optimizer.state_dict())
    saved["param_groups"][0] |= {"momentum": "x", "lr": 0.25}
    del saved["param_groups"][1]["nesterov"]
    anew = make_optimizer(network, Config())
    _load_optimizer(anew, saved)
    assert anew.param_groups[0]["momentum"] == 0.9
    assert anew.param_groups[1]["nesterov"] is True
    assert [group["lr"] for group in anew.param_groups] == [0.25, 0.05]
    assert torch.equal(
        anew.state[network.fc.weight]["momentum_buffer"], optimizer.state[network.fc.weight]["momentum_buffer"]
    )


def test_what_every_step_of_adamw_carries_over_comes_back() -> None:
    network, config = SmallNetwork(), Config(optimizer="adamw")
    optimizer, anew = make_optimizer(network, config), make_optimizer(network, config)
    network(torch.ones(2, 3, 8, 8)).sum().backward()
    optimizer.step()
    _load_optimizer(anew, copy.deepcopy(optimizer.state_dict()))
    assert anew.state[network.fc.weight]["step"] == 1
    assert_equal(anew.state_dict()["state"], optimizer.state_dict()["state"])


def test_an_epoch_goes_on_with_its_time_and_the_sums_of_all_processes_in_the_first(
    shards: Path, tmp_path: Path
) -> None:
    run = Run(config_of(shards, tmp_path))
    saved = PHASE | {"epoch": 1, "seconds": 7.5, "losses": torch.tensor([0.5, 0.0])}
    for rank, losses, correct in ((0, [1.0, 0.0], 3), (1, [0.0, 0.0], 0)):  # each has the share of one of two
        run.processes = Processes(rank, 2)
        phase = _phase_of(run, saved)
        assert (phase.step, phase.checked, phase.seconds) == (1, 1, 7.5)
        assert (phase.losses.tolist(), phase.correct.item()) == (losses, correct)


def test_a_checkpoint_from_before_there_was_a_setting_did_what_was_done_then(shards: Path, tmp_path: Path) -> None:
    run = Run(config_of(shards, tmp_path, colours=False))
    card = run.card()
    older = replace(card, training={name: value for name, value in card.training.items() if name not in YOUNGER})
    assert differences(older, run) == []
    assert differences(older, Run(config_of(shards, tmp_path))) == ["colours False -> True"]
