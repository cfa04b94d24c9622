"""Runs of several cycles: one given a cycle later ends as one that had it from the start, to the bit."""

import json
import shutil
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
from equality import assert_equal
from small_network import config_of as small_config

import train.loop
from contract.errors import UserError
from train.checkpoint import load_checkpoint
from train.config import Config
from train.history import read_history
from train.loop import train as train_network
from train.run import Phase, Run

pytestmark = pytest.mark.usefixtures("small_networks")


def config_of(shards: Path, artifacts: Path, **changes: Any) -> Config:
    # Sizes grow from 33 to 40 px in the first cycle, which ends before patience could matter.
    return small_config(shards, artifacts, start_size=33, patience=2, **changes)


@pytest.fixture(scope="module")
def one_cycle(shards: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The artifacts of a finished run of one cycle. Read only: copy it before changing it."""
    artifacts = tmp_path_factory.mktemp("one")
    train_network(config_of(shards, artifacts))
    return artifacts


@pytest.fixture(scope="module")
def two_cycles(shards: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The artifacts of a run that had two cycles from the start. Read only."""
    artifacts = tmp_path_factory.mktemp("two")
    train_network(config_of(shards, artifacts, cycles=2))
    return artifacts


def rows_of(artifacts: Path) -> list[dict[str, Any]]:
    """The history but for the times."""
    rows = [asdict(row) for row in read_history(artifacts / "resnet18" / "history.csv")]
    return [row | {"seconds": 0, "images_per_second": 0} for row in rows]


def assert_ends_as(found_in: Path, wanted_in: Path) -> None:
    for name in ("last.pt", "best.pt"):
        card, found = load_checkpoint(found_in / "resnet18" / name)
        card_wanted, wanted = load_checkpoint(wanted_in / "resnet18" / name)
        assert replace(card, versions={}) == replace(card_wanted, versions={})  # a commit gains "+" by an edit
        assert_equal(*({**state, "card": None, "history": None} for state in (found, wanted)))
    assert rows_of(found_in) == rows_of(wanted_in)


def test_a_finished_run_given_a_cycle_ends_as_one_that_had_it_from_the_start(
    one_cycle: Path, two_cycles: Path, shards: Path, tmp_path: Path
) -> None:
    artifacts = Path(shutil.copytree(one_cycle, tmp_path / "artifacts"))
    train_network(config_of(shards, artifacts, resume=True, cycles=2))
    assert_ends_as(artifacts, two_cycles)
    rows = rows_of(artifacts)
    assert [row["size"] for row in rows] == [33, *[40] * (len(rows) - 1)]
    assert len(rows) > 4  # patience had its part in the second cycle at most
    record = json.loads((artifacts / "resnet18" / "config.json").read_text())
    assert record["config"]["cycles"] == 2
    with pytest.raises(UserError, match="cycles 2 -> 1"):
        train_network(config_of(shards, artifacts, resume=True))


@pytest.mark.parametrize("epoch", [1, 2])
def test_so_does_a_run_that_was_stopped_inside_an_epoch(
    two_cycles: Path, shards: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, epoch: int
) -> None:
    def save_and_stop(run: Run, phase: Phase) -> None:
        save_step(run, phase)
        if (phase.epoch, phase.step) == (epoch, 1):
            raise KeyboardInterrupt

    save_step = train.loop.save_step
    monkeypatch.setattr(train.loop, "save_step", save_and_stop)
    with pytest.raises(KeyboardInterrupt):
        train_network(config_of(shards, tmp_path, checkpoint_every=1e-9))
    state = load_checkpoint(tmp_path / "resnet18" / "last.pt")[1]
    assert (state["phase"]["step"], len(state["history"])) == (1, epoch - 1)
    monkeypatch.undo()
    train_network(config_of(shards, tmp_path, resume=True, cycles=2))
    assert_ends_as(tmp_path, two_cycles)


def test_a_run_that_its_last_epochs_did_not_better_goes_on_when_it_is_given_a_cycle(
    shards: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    accuracies = iter([0.9, 0.8, 0.7, 0.5, 0.6, 0.6])
    monkeypatch.setattr(train.loop, "evaluate", lambda *_: train.loop.Scores(0.5, next(accuracies), 0.5, 0.5))
    plain = {"start_size": 0, "resume": True}
    train_network(replace(config_of(shards, tmp_path), patience=1, **plain))
    assert "stopped by" not in capsys.readouterr().out
    train_network(replace(config_of(shards, tmp_path, cycles=2), patience=1, **plain))
    assert [row["valid_accuracy"] for row in rows_of(tmp_path)] == [0.9, 0.8, 0.7, 0.5]
    assert "stopped by --patience 1 after 4 of 6 epochs: none after epoch 3 was better" in capsys.readouterr().out
