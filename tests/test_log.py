"""What a run shows: a line an epoch, and curves for TensorBoard."""

import math
import re
from dataclasses import replace
from pathlib import Path

import pytest
from small_network import SmallNetwork
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

import train.loop
import train.run
from train.config import Config
from train.history import Epoch, read_history
from train.log import CURVES, summary
from train.loop import train as train_network


def config_of(shards: Path, artifacts: Path, epochs: int, force: bool = False) -> Config:
    return Config(shards=shards, artifacts=artifacts, epochs=epochs, batch_size=20, device="cpu", force=force)


@pytest.fixture
def shown(
    shards: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> tuple[Path, str]:
    monkeypatch.setattr(train.run, "build_resnet", lambda _, channels=3: SmallNetwork(channels))
    train_network(config_of(shards, tmp_path, epochs=2))
    return tmp_path / "resnet18", capsys.readouterr().out


def test_every_epoch_has_its_line_and_its_points_for_tensorboard(shown: tuple[Path, str]) -> None:
    folder, out = shown
    rows = read_history(folder / "history.csv")
    lines = re.findall(r"^resnet18 epoch (\d)/2: train .*%, valid (.*)% \(AUROC (.*), F1 .*images/s", out, re.MULTILINE)
    assert [int(epoch) for epoch, *_ in lines] == [1, 2]
    assert [float(auroc) for *_, auroc in lines] == pytest.approx([row.valid_auroc for row in rows], abs=1e-4)
    events = EventAccumulator(str(folder / "tensorboard")).Reload()
    assert set(events.Tags()["scalars"]) == set(CURVES)
    for name, field in CURVES.items():
        points = [(event.step, event.value) for event in events.Scalars(name)]
        assert points == [(row.epoch, pytest.approx(getattr(row, field), rel=1e-3, abs=1e-5)) for row in rows]


def test_a_forced_run_drops_the_curves_of_the_run_that_it_replaces(
    shown: tuple[Path, str], shards: Path, tmp_path: Path
) -> None:
    train_network(config_of(shards, tmp_path, epochs=1, force=True))
    events = EventAccumulator(str(shown[0] / "tensorboard")).Reload()
    assert [event.step for event in events.Scalars("loss/train")] == [1]


def test_each_score_of_an_epoch_stands_in_its_place_of_the_line() -> None:
    row = Epoch(3, 0.5123, 0.6, 0.7123, 0.8, 0.9123, 0.8231, 0.05, 64, 7.4, 123.4)
    speed = "64 px, 123 images/s, 7 s"
    scores = "train 60.00%, valid 80.00% (AUROC 0.9123, F1 0.8231; loss 0.5123, 0.7123)"
    assert summary(row) == f"{scores}, {speed}"
    refitted = replace(row, valid_accuracy=math.nan)
    assert summary(refitted) == f"train + valid 60.00% (loss 0.5123), not validated, {speed}"


def test_curves_are_of_what_their_names_say() -> None:
    for name, field in CURVES.items():
        what, of = name.split("/")
        if what == "run":
            assert field == {"learning rate": "lr"}.get(of, of.replace(" ", "_"))
        else:
            assert field == f"{of}_{what}"


def test_a_run_that_is_gone_on_with_keeps_the_points_of_its_epochs(
    shards: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(train.run, "build_resnet", lambda _, channels=3: SmallNetwork(channels))
    config = config_of(shards, tmp_path, epochs=2)
    with monkeypatch.context() as patch:
        patch.setattr(train.loop, "finished", lambda history, _: len(history) >= 1)
        folder = train_network(config)
    (folder / "run.json").unlink()
    train_network(replace(config, resume=True))
    events = EventAccumulator(str(folder / "tensorboard")).Reload()
    assert [event.step for event in events.Scalars("loss/train")] == [1, 2]
