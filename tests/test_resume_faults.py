"""A last.pt written by hand, or damaged in part, is refused in one line: nothing goes on from what never was."""

import copy
import math
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from small_network import SmallNetwork, config_of

from contract.errors import UserError
from train.checkpoint import load_checkpoint, save_checkpoint
from train.config import Config
from train.loop import train as train_network
from train.optimize import make_optimizer
from train.reload import _load_optimizer

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
    with pytest.raises(UserError, match=r"last\.pt: cannot be resumed \(\w+Error\); --force trains anew"):
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
    with pytest.raises(UserError, match=rf"last\.pt.*: {words}.*; --force trains anew$"):
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
