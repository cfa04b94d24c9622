"""Whole runs: what one leaves, that an interruption leaves no trace, and what is never overwritten."""

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from equality import assert_equal
from small_network import SmallNetwork, config_of

import train.loop
import train.resume
from contract.errors import UserError
from contract.manifest import Manifest
from contract.model_card import ModelCard
from train.checkpoint import load_checkpoint
from train.data import open_labelled
from train.history import best_epoch, read_history
from train.loop import train as train_network
from train.normalise import Normalise
from train.resume import start
from train.run import Run
from train.scores import Scores

pytestmark = pytest.mark.usefixtures("small_networks")
FILES = {"best.pt", "last.pt", "history.csv", "config.json", "run.json", "accuracy.png"}


@pytest.fixture(scope="module")
def interrupted(shards: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The artifacts of the same run, interrupted when the first epoch was saved. Read only."""
    artifacts = tmp_path_factory.mktemp("interrupted")

    def save_and_stop(run: Run) -> None:
        save_epoch(run)
        raise KeyboardInterrupt

    save_epoch = train.loop.save_epoch
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(train.loop, "save_epoch", save_and_stop)
        with pytest.raises(KeyboardInterrupt):
            train_network(config_of(shards, artifacts))
    return artifacts


def copy_of(artifacts: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(artifacts, tmp_path / "artifacts"))


def content_of(artifacts: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (artifacts / "resnet18").iterdir() if path.is_file()}


def test_run_leaves_checkpoints_history_record_and_picture(finished: Path, manifest: Manifest) -> None:
    folder = finished / "resnet18"
    assert {path.name for path in folder.iterdir()} == FILES | {"tensorboard"}
    card, state = load_checkpoint(folder / "last.pt")
    rows = read_history(folder / "history.csv")
    assert [row.epoch for row in rows] == [1, 2]
    assert [round(row["train_loss"], 6) for row in state["history"]] == [row.train_loss for row in rows]
    assert all(row.size == 40 and row.images_per_second > 0 for row in rows)
    assert (card.arch, card.manifest_digest, card.classes) == ("resnet18", manifest.digest, manifest.classes)
    assert (card.mean, card.std, card.recipe) == (manifest.pixels.mean, manifest.pixels.std, manifest.recipe)
    assert (card.training["lr"], card.training["epochs"], card.seed) == (0.02, 2, 0)
    assert cv2.imread(str(folder / "accuracy.png")) is not None


def test_best_checkpoint_scores_what_its_card_says(finished: Path, shards: Path, manifest: Manifest) -> None:
    card, state = load_checkpoint(finished / "resnet18" / "best.pt")
    network = SmallNetwork(channels=6).eval()
    network.load_state_dict(state["model"])
    reader = open_labelled(shards, manifest, "valid")
    images = torch.from_numpy(np.stack([reader.image(i) for i in range(len(reader))]))
    labels = torch.tensor([sample.label for sample in reader.samples])
    with torch.inference_mode():
        normalise = Normalise(card.mean, card.std, standardise=True, colours=True)  # as the defaults say
        logits = network(normalise(images))
    accuracy = (logits.argmax(1) == labels).double().mean().item()
    loss = torch.nn.functional.cross_entropy(logits.double(), labels).item()
    assert card.metrics["valid_accuracy"] == pytest.approx(accuracy)
    assert card.metrics["valid_loss"] == pytest.approx(loss, rel=1e-4)


def test_best_checkpoint_is_of_the_best_epoch(finished: Path, interrupted: Path) -> None:
    card, state = load_checkpoint(finished / "resnet18" / "best.pt")
    rows = read_history(finished / "resnet18" / "history.csv")
    assert card.epoch == best_epoch(rows).epoch
    source = {1: interrupted, 2: finished}[card.epoch]
    _, last = load_checkpoint(source / "resnet18" / "last.pt")
    assert_equal(state["model"], last["ema"])
    with pytest.raises(AssertionError):  # the averaged weights are not the current ones
        assert_equal(state["model"], last["model"])


def test_resumed_run_ends_as_an_uninterrupted_one(
    finished: Path, interrupted: Path, shards: Path, tmp_path: Path
) -> None:
    artifacts = copy_of(interrupted, tmp_path)
    assert content_of(artifacts).keys() == {"best.pt", "last.pt", "history.csv", "config.json"}
    train_network(config_of(shards, artifacts, resume=True))
    assert content_of(artifacts).keys() == FILES
    for name in ("last.pt", "best.pt"):
        card_found, found = load_checkpoint(artifacts / "resnet18" / name)
        card_wanted, wanted = load_checkpoint(finished / "resnet18" / name)
        # The commit gains a "+" when a file is edited between the two runs.
        assert replace(card_found, versions={}) == replace(card_wanted, versions={})
        assert_equal({**found, "card": None}, {**wanted, "card": None})
    assert content_of(artifacts)["accuracy.png"] == content_of(finished)["accuracy.png"]


def test_run_killed_between_its_two_checkpoints_ends_with_the_best_weights(
    shards: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    accuracies = iter([0.5, 0.75, 0.75])  # the second epoch is the best, and is made twice
    monkeypatch.setattr(train.loop, "evaluate", lambda *_: Scores(0.5, next(accuracies), 0.5, 0.5))
    written: list[str] = []
    save = train.resume.save_checkpoint

    def die_after_the_third(path: Path, card: ModelCard, state: dict[str, Any]) -> None:
        save(path, card, state)
        written.append(path.name)
        if len(written) == 3:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(train.resume, "save_checkpoint", die_after_the_third)
        with pytest.raises(KeyboardInterrupt):
            train_network(config_of(shards, tmp_path))
    folder = train_network(config_of(shards, tmp_path, resume=True))
    card, state = load_checkpoint(folder / "best.pt")
    assert card.epoch == best_epoch(read_history(folder / "history.csv")).epoch == 2
    assert_equal(state["model"], load_checkpoint(folder / "last.pt")[1]["ema"])


def test_first_epoch_of_an_interrupted_run_differs_from_the_end(finished: Path, interrupted: Path) -> None:
    # Else the test above would compare a run that never learned.
    first, last = (load_checkpoint(artifacts / "resnet18" / "last.pt")[1] for artifacts in (interrupted, finished))
    assert not torch.equal(first["model"]["conv1.weight"], last["model"]["conv1.weight"])
    assert not torch.equal(first["ema"]["conv1.weight"], last["ema"]["conv1.weight"])


def test_run_that_is_there_is_not_overwritten(interrupted: Path, shards: Path, tmp_path: Path) -> None:
    artifacts = copy_of(interrupted, tmp_path)
    before = content_of(artifacts)
    with pytest.raises(UserError, match=r"last\.pt.*--resume.*--force"):
        train_network(config_of(shards, artifacts))
    assert content_of(artifacts) == before


@pytest.mark.parametrize("resume", [False, True])
def test_nor_is_a_finished_one_whose_checkpoint_is_gone(
    resume: bool, finished: Path, shards: Path, tmp_path: Path
) -> None:
    artifacts = copy_of(finished, tmp_path)
    (artifacts / "resnet18" / "last.pt").unlink()
    before = content_of(artifacts)
    with pytest.raises(
        UserError, match=r"run\.json: of a finished run whose last\.pt is gone: --force \(make: FORCE=1\) replaces it"
    ):
        train_network(config_of(shards, artifacts, resume=resume))
    assert content_of(artifacts) == before
    train_network(config_of(shards, artifacts, force=True, epochs=1))
    assert len(read_history(artifacts / "resnet18" / "history.csv")) == 1


def test_force_trains_anew(finished: Path, interrupted: Path, shards: Path, tmp_path: Path) -> None:
    artifacts = copy_of(finished, tmp_path)
    train_network(config_of(shards, artifacts, epochs=1, force=True, seed=1))
    card, state = load_checkpoint(artifacts / "resnet18" / "last.pt")
    assert (card.seed, card.training["epochs"], len(state["history"])) == (1, 1, 1)
    _, other = load_checkpoint(interrupted / "resnet18" / "last.pt")
    assert not torch.equal(state["model"]["conv1.weight"], other["model"]["conv1.weight"])


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"lr": 0.01}, "lr 0.02 -> 0.01"),
        ({"epochs": 3}, "epochs 2 -> 3"),
        ({"seed": 1, "flip": False}, "flip True -> False, seed 0 -> 1"),
    ],
)
def test_resuming_with_another_setting_says_what_differs(
    changes: dict[str, Any], words: str, interrupted: Path, shards: Path
) -> None:
    with pytest.raises(UserError, match=rf"cannot be resumed.*{words}.*--force"):
        train_network(config_of(shards, interrupted, resume=True, **changes))


def test_resuming_on_other_shards_is_refused(interrupted: Path, shards: Path, tmp_path: Path) -> None:
    other = Path(shutil.copytree(shards, tmp_path / "shards"))
    text = (other / "manifest.json").read_text()
    (other / "manifest.json").write_text(text.replace('"dataset": "synthetic', '"dataset": "other synthetic'))
    with pytest.raises(UserError, match=r"cannot be resumed.*manifest"):
        train_network(config_of(other, interrupted, resume=True))


def test_finished_run_is_left_alone(
    finished: Path, shards: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    artifacts = copy_of(finished, tmp_path)
    before = content_of(artifacts)
    # How a run is executed may change: two workers are no other run.
    train_network(config_of(shards, artifacts, resume=True, workers=2))
    assert content_of(artifacts) == before
    assert "already trained for 2 epochs" in capsys.readouterr().out


@pytest.mark.parametrize("name", ["run.json", "history.csv"])
def test_a_forced_run_drops_what_speaks_of_the_run_that_it_replaces(
    name: str, finished: Path, shards: Path, tmp_path: Path
) -> None:
    artifacts = copy_of(finished, tmp_path)
    assert (artifacts / "resnet18" / name).is_file()
    assert start(Run(config_of(shards, artifacts, force=True)))
    assert not (artifacts / "resnet18" / name).exists()


def test_run_interrupted_after_its_last_epoch_gets_its_picture_and_record(
    finished: Path, shards: Path, tmp_path: Path
) -> None:
    artifacts = copy_of(finished, tmp_path)
    for name in ("accuracy.png", "run.json"):
        (artifacts / "resnet18" / name).unlink()
    train_network(config_of(shards, artifacts, resume=True))
    assert content_of(artifacts).keys() == FILES


def test_loss_that_is_not_a_number_stops_and_keeps_the_checkpoint(
    interrupted: Path, shards: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    artifacts = copy_of(interrupted, tmp_path)
    before = content_of(artifacts)
    monkeypatch.setattr(train.loop, "learning_rate_of_step", lambda *_: float("nan"))
    with pytest.raises(
        UserError, match=r"resnet18: the loss is not finite in epoch 2, step 2 of 2: .*stays in .*last\.pt"
    ):
        train_network(config_of(shards, artifacts, resume=True))
    assert content_of(artifacts) == before
