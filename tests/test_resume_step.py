"""Interruptions inside an epoch: killed at any step or stopped by a signal, a resumed run ends as a whole one."""

import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

import train.cli
import train.loop
from contract.errors import UserError
from train.checkpoint import load_checkpoint
from train.config import Config
from train.history import read_history
from train.interrupt import StoppedError
from train.loop import train as train_network
from train.resnet import build_resnet
from train.run import Phase, Run
from train.run_record import command_of

pytestmark = pytest.mark.usefixtures("small_networks")
ROOT = Path(__file__).resolve().parents[1]
STEPS = 3  # of an epoch; two epochs


def config_of(shards: Path, artifacts: Path, **changes: Any) -> Config:
    # Everything that draws random numbers is on; the last batch is smaller than the others.
    config = Config(
        shards=shards,
        artifacts=artifacts,
        epochs=2,
        batch_size=15,
        lr=0.02,
        warmup_epochs=0.5,
        mixup=0.4,
        blur=0.3,
        erase=0.3,
        sampling="class",
        device="cpu",
    )
    return replace(config, **changes)


def end_of(artifacts: Path) -> dict[str, Any]:
    """Both checkpoints, and the history but for the times."""
    states = {name: load_checkpoint(artifacts / "resnet18" / name)[1] for name in ("last.pt", "best.pt")}
    for state in states.values():
        del state["card"]  # its versions hold the commit, which an edit between two runs changes
        for row in state.get("history", []):
            del row["seconds"], row["images_per_second"]
    rows = read_history(artifacts / "resnet18" / "history.csv")
    return {**states, "history": [replace(row, seconds=0, images_per_second=0) for row in rows]}


def assert_same(found: Any, wanted: Any) -> None:
    if isinstance(wanted, torch.Tensor):
        assert torch.equal(found, wanted)
    elif isinstance(wanted, dict):
        assert found.keys() == wanted.keys()
        for key in wanted:
            assert_same(found[key], wanted[key])
    elif isinstance(wanted, list):
        assert len(found) == len(wanted)
        for a, b in zip(found, wanted, strict=True):
            assert_same(a, b)
    else:
        assert found == wanted


@pytest.fixture(scope="module")
def uninterrupted(shards: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    artifacts = tmp_path_factory.mktemp("uninterrupted")
    train_network(config_of(shards, artifacts))
    return end_of(artifacts)


@pytest.mark.parametrize("step", range(1, 2 * STEPS))
def test_run_that_dies_after_any_step_ends_as_if_it_had_not(
    step: int, shards: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, uninterrupted: dict[str, Any]
) -> None:
    taken = iter(range(1, 2 * STEPS + 1))
    forward = train.loop.forward

    def die(*arguments: Any) -> Any:
        if next(taken) == step + 1:
            raise KeyboardInterrupt
        return forward(*arguments)

    config = config_of(shards, tmp_path, checkpoint_every=1e-9)  # after every step
    monkeypatch.setattr(train.loop, "forward", die)
    with pytest.raises(KeyboardInterrupt):
        train_network(config)
    monkeypatch.setattr(train.loop, "forward", forward)
    phase = load_checkpoint(tmp_path / "resnet18" / "last.pt")[1]["phase"]
    assert (phase and phase["step"]) == (step % STEPS or None)
    train_network(replace(config, resume=True, workers=1 if step == 4 else 0, checkpoint_every=0))
    assert_same(end_of(tmp_path), uninterrupted)


@pytest.mark.parametrize(("signum", "status"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_signal_ends_with_a_checkpoint_and_a_line_that_goes_on(
    signum: signal.Signals,
    status: int,
    shards: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    uninterrupted: dict[str, Any],
) -> None:
    taken = iter(range(1, 2 * STEPS + 1))
    forward = train.loop.forward

    def send(*arguments: Any) -> Any:
        if next(taken) == 2:
            os.kill(os.getpid(), signum)
        return forward(*arguments)

    words = [
        "--shards",
        str(shards),
        "--artifacts",
        str(tmp_path),
        "--epochs",
        "2",
        "--batch-size",
        "15",
        "--lr",
        "0.02",
    ]
    words += ["--warmup-epochs", "0.5", "--mixup", "0.4", "--blur", "0.3", "--erase", "0.3", "--sampling", "class"]
    before = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)]
    monkeypatch.setattr("sys.argv", ["train", *words, "--device", "cpu"])
    monkeypatch.setattr(train.loop, "forward", send)
    with pytest.raises(SystemExit) as stop:
        train.cli.main()
    monkeypatch.setattr(train.loop, "forward", forward)
    assert stop.value.code == status
    line = capsys.readouterr().err.strip()
    assert line.startswith(f"resnet18: stopped by {signum.name} after step 2 of {STEPS} of epoch 1; ")
    assert [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)] == before
    command = line.split("go on with: ")[1]
    monkeypatch.setattr("sys.argv", shlex.split(command)[2:])
    train.cli.main()
    assert_same(end_of(tmp_path), uninterrupted)


def test_signal_in_validation_stops_after_the_epoch(
    shards: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    evaluate = train.loop.evaluate

    def send(*arguments: Any) -> Any:
        os.kill(os.getpid(), signal.SIGTERM)
        return evaluate(*arguments)

    monkeypatch.setattr(train.loop, "evaluate", send)
    with pytest.raises(StoppedError, match="after epoch 1 of 2"):
        train_network(config_of(shards, tmp_path))
    _, state = load_checkpoint(tmp_path / "resnet18" / "last.pt")
    assert (len(state["history"]), state["phase"]) == (1, None)


def test_signal_that_ends_the_workers_too_leaves_a_checkpoint(
    shards: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, uninterrupted: dict[str, Any]
) -> None:
    def batches(run: Run, phase: Phase) -> Iterator[Any]:
        for number, batch in enumerate(train_batches(run, phase)):
            if number == 2:
                os.kill(os.getpid(), signal.SIGTERM)
                raise UserError("a worker of the loader was killed (SIGTERM) here")
            yield batch

    train_batches = Run.train_batches
    monkeypatch.setattr(Run, "train_batches", batches)
    with pytest.raises(StoppedError, match=f"stopped by SIGTERM after step 2 of {STEPS} of epoch 1"):
        train_network(config_of(shards, tmp_path))
    monkeypatch.setattr(Run, "train_batches", train_batches)
    train_network(config_of(shards, tmp_path, resume=True))
    assert_same(end_of(tmp_path), uninterrupted)


def test_signal_that_ends_the_workers_of_validation_too_leaves_a_checkpoint(
    shards: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, uninterrupted: dict[str, Any]
) -> None:
    def batches(run: Run) -> Iterator[Any]:
        yield next(iter(valid_batches(run)))
        os.kill(os.getpid(), signal.SIGTERM)
        raise UserError("a worker of the loader was killed (SIGTERM) here")

    valid_batches = Run.valid_batches
    monkeypatch.setattr(Run, "valid_batches", batches)
    with pytest.raises(StoppedError, match=f"stopped by SIGTERM after step {STEPS} of {STEPS} of epoch 1"):
        train_network(config_of(shards, tmp_path))
    monkeypatch.setattr(Run, "valid_batches", valid_batches)
    train_network(config_of(shards, tmp_path, resume=True))
    assert_same(end_of(tmp_path), uninterrupted)


def test_worker_that_dies_of_itself_is_no_signal(shards: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def dead(_: Run, __: Phase) -> Iterator[Any]:
        raise UserError("a worker of the loader was killed (SIGKILL) here")
        yield

    monkeypatch.setattr(Run, "train_batches", dead)
    with pytest.raises(UserError, match="SIGKILL"):
        train_network(config_of(shards, tmp_path))


@pytest.mark.skipif(sys.platform == "win32", reason="SIGKILL is POSIX's")
def test_killed_process_leaves_a_checkpoint_that_goes_on(
    shards: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(train.run, "build_resnet", build_resnet)
    config = Config(shards=shards, artifacts=tmp_path / "killed", batch_size=6, device="cpu", amp=False, epochs=1)
    last = config.artifacts / "resnet18" / "last.pt"
    command = [sys.executable, *shlex.split(command_of(replace(config, checkpoint_every=1e-6), 1))[1:]]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL) as process:
        while not last.is_file() and process.poll() is None:
            time.sleep(0.02)
        process.send_signal(signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL
    assert 1 <= load_checkpoint(last)[1]["phase"]["step"] < 6
    train_network(replace(config, resume=True))
    train_network(replace(config, artifacts=tmp_path / "whole"))
    assert_same(end_of(config.artifacts), end_of(tmp_path / "whole"))
