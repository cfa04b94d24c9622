"""Folds of an ablation: whole people under all their ids, drawn anew for every seed; networks stopped, judged, lent."""

import signal
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from small_network import SmallNetwork

import benchmarks.ablation as ablation
from benchmarks import ablation_settings
from benchmarks.ablation import JUDGED, Ablation, labelled_cells, lend, make_shards, planned, predict
from build_shards.dataset import Dataset
from contract.manifest import Manifest
from contract.model_card import YOUNGER, ModelCard
from contract.shard_reader import SplitReader
from train.checkpoint import load_checkpoint
from train.config import Config, recipe_of
from train.interrupt import StoppedError
from train.normalise import Normalise


def sides_of(command: Ablation, labelled: Dataset) -> list[dict[str, set[str]]]:
    """The ids of those trained on, held out and seen, of every network that is planned."""
    found = []
    for network in planned(command, labelled.digest):
        manifest = make_shards(command, labelled, network)
        readers = {split: SplitReader(network.shards, manifest, split) for split in ("train", *JUDGED)}
        found.append({split: set(reader.subjects) for split, reader in readers.items()})
    return found


def test_all_ids_of_a_person_are_held_out_together(
    synthetic_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    labelled = labelled_cells(synthetic_data)
    command = Ablation(synthetic_data, ("size=40",), tmp_path, epochs=1, seeds=(7,), workers=1)
    monkeypatch.setattr(ablation, "find_people", lambda *_: {})
    first, second = sides_of(replace(command, out=tmp_path / "alone"), labelled)
    pair = min(first["valid"]), min(second["valid"])  # of two folds
    monkeypatch.setattr(ablation, "find_people", lambda *_: dict.fromkeys(pair, "+".join(pair)))
    for sides in sides_of(command, labelled):
        assert len(set(pair) & sides["valid"]) in (0, 2)
        assert len(set(pair) & (sides["train"] | sides["seen"])) in (0, 2)


def test_every_seed_has_folds_of_its_own(synthetic_data: Path, tmp_path: Path) -> None:
    command = Ablation(synthetic_data, ("size=40",), tmp_path, epochs=1, seeds=(7, 3), held=(1,), workers=1)
    first, second = sides_of(command, labelled_cells(synthetic_data))
    assert first["valid"] != second["valid"]


def test_a_network_that_was_stopped_is_trained_anew() -> None:
    (network,) = planned(Ablation(Path(), ("blur=0.1",), seeds=(0,), held=(1,)), "cells")
    assert network.training.force


def test_a_signal_ends_the_command_in_one_line(
    synthetic_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def stop(*_: object) -> None:
        raise StoppedError("resnet18: stopped by SIGTERM; last.pt holds it", signal.SIGTERM)

    monkeypatch.setattr(ablation, "run", stop)
    monkeypatch.setattr(sys, "argv", ["ablation", "--data", str(synthetic_data), "--out", str(tmp_path)])
    with pytest.raises(SystemExit) as stopped:
        ablation.cli()
    assert stopped.value.code == 143
    assert capsys.readouterr().err == "stopped: the same command goes on, with this network from its start\n"


def test_a_logit_is_blast_less_normal_of_the_averaged_weights_in_evaluation_mode(
    shards: Path, manifest: Manifest, card: ModelCard, monkeypatch: pytest.MonkeyPatch
) -> None:
    averaged = SmallNetwork().eval()
    monkeypatch.setattr(ablation, "build_resnet", lambda _, channels: SmallNetwork(channels))
    monkeypatch.setattr(ablation, "finished", lambda *_: (card, {"ema": averaged.state_dict()}))
    network: Any = SimpleNamespace(shards=shards, checkpoint=Path("last.pt"), config=Config(amp=False))
    found = predict(network, manifest, "valid")
    reader = SplitReader(shards, manifest, "valid")
    images = torch.from_numpy(np.stack([reader.image(position) for position in range(len(reader))]))
    logits = averaged(Normalise.of(card)(images)).detach()
    np.testing.assert_allclose(found.logit, logits[:, 1] - logits[:, 0], rtol=1e-4, atol=1e-6)
    assert found.label.tolist() == reader.labels.tolist()


def test_weights_that_are_lent_are_those_of_the_last_epoch_and_their_card_says_so(
    card: ModelCard, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    state = {"history": [{}] * 3, "ema": {"weight": torch.ones(2)}, "model": {"weight": torch.zeros(2)}}
    monkeypatch.setattr(ablation, "load_manifest", lambda _: None)
    monkeypatch.setattr(ablation, "finished", lambda *_: (replace(card, epoch=1), state))  # the best was the first
    network: Any = SimpleNamespace(shards=tmp_path, lent=tmp_path / "lent.pt")
    lend(network)
    lent, found = load_checkpoint(tmp_path / "lent.pt")
    assert lent.epoch == 3
    assert torch.equal(found["model"]["weight"], torch.ones(2))


def test_a_younger_field_leaves_names_as_they_were_while_it_is_at_its_default(monkeypatch: pytest.MonkeyPatch) -> None:
    (network,) = planned(Ablation(Path(), ("blur=0.1",), seeds=(0,), held=(1,)), "cells")
    before = network.definition
    monkeypatch.setattr(ablation_settings, "YOUNGER", {**YOUNGER, "novel": 0})
    for value in (0, 1):
        novel = recipe_of(network.config) | {"novel": value}
        monkeypatch.setattr(ablation_settings, "recipe_of", lambda _, novel=novel: novel)
        assert (network.definition == before) is (value == 0)
