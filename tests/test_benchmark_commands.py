"""Benchmarks end a user's mistake in one line and status 2, and show each network its own shards."""

import runpy
import sys
from concurrent.futures.process import BrokenProcessPool
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tyro

import benchmarks.inference
import benchmarks.train
from benchmarks.ceilings import work_of
from benchmarks.inference import Bench, open_valid
from benchmarks.inference import _accuracies as accuracies
from benchmarks.inference import _accuracy as accuracy_of
from benchmarks.train import Bench as TrainingBench
from contract.errors import UserError
from contract.manifest import NAME, Manifest
from contract.model_card import ModelCard
from contract.shard_reader import SplitReader
from train.resnet import build_resnet


# A benchmark that a test has imported is run a second time, as a command.
@pytest.mark.filterwarnings("ignore:.*found in sys.modules:RuntimeWarning")
@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("inference --artifacts {}/nowhere --archs resnet18", "best.pt: no such file: train the network first"),
        ("train --cells 5", "cells 5: at least 20 are needed"),
        ("loader --data {}/nowhere", "nowhere: no such folder"),
        ("shards --data {}/nowhere", "nowhere: no such folder"),
        ("formats --shards {}/nowhere", "manifest.json: no such file: build the shards first"),
        ("formats --network {}/model.onnx", "model.onnx: no such file: export the network first"),
        ("ablation --data {}/nowhere", "nowhere: no such folder"),
        ("ablation_table --out {} --settings blur=0.1", "no results of blur=0.1"),
        ("at_test_time --data {}/nowhere", "nowhere: no such folder"),
        ("joined_people --identities {}/none.json", "none.json: no such file"),
        ("leakage", "nothing to draw"),
        ("learning_curves --files {}/none.csv", "none.csv: no such file"),
        ("inference --repeats 0", "--repeats 0: must be at least 1"),
        ("loader --workers 0 -1", "--workers -1: must be at least 0"),
        ("shards --total -5", "--total -5: must be at least 0"),
        ("train --batch-size 0", "--batch-size 0: must be at least 1"),
        ("convolution --rounds 0", "--rounds 0: must be at least 1"),
        ("formats --cells 0", "--cells 0: must be at least 1"),
        ("web_start --artifacts {}", "no exported network there"),
        ("web_start --n 0", "--n 0: must be at least 1"),
    ],
)
def test_a_mistake_ends_in_one_line_and_status_2(
    command: str, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    name, *flags = command.format(tmp_path).split()
    monkeypatch.setattr(sys, "argv", [name, *flags])
    monkeypatch.setattr(sys, "path", [*sys.path])
    with pytest.raises(SystemExit) as stopped:
        runpy.run_module(f"benchmarks.{name}", run_name="__main__")
    printed = capsys.readouterr().err.strip()
    assert stopped.value.code == 2
    assert printed.startswith("error: ")
    assert words in printed
    assert "\n" not in printed


def test_a_network_is_shown_the_shards_on_its_card(
    shards: Path, manifest: Manifest, card: ModelCard, tmp_path: Path
) -> None:
    other = tmp_path / "other"
    other.mkdir()
    (other / NAME).write_text(replace(manifest, dataset="other cells").to_json(), encoding="utf-8")
    assert open_valid((other, shards), card, Path("best.pt")).folder == shards
    with pytest.raises(UserError, match=r"best\.pt: was trained on other shards than --shards .*other"):
        open_valid((other,), card, Path("best.pt"))


def test_a_device_that_there_is_not_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        tyro.cli(TrainingBench, args=["--device", "gpu"])
    assert stopped.value.code == 2
    assert "cuda" in capsys.readouterr().err


@pytest.mark.parametrize("cells", [5, 16, 33])
def test_accuracy_is_of_every_cell_in_batches_of_one_shape(cells: int) -> None:
    def chain(images: np.ndarray) -> np.ndarray:
        assert len(images) == 16
        return np.eye(2)[images[:, 0, 0, 0] % 2]  # calls the odd ones blasts

    images = np.broadcast_to(np.arange(cells, dtype=np.uint8)[:, None, None, None], (cells, 2, 2, 3))
    labels = np.arange(cells) % 2
    assert accuracy_of(chain, images, labels) == 1
    labels[-1] ^= 1
    assert accuracy_of(chain, images, labels) == pytest.approx(1 - 1 / cells)


def test_a_batch_is_of_as_many_images_as_it_says(
    card: ModelCard, shards: Path, manifest: Manifest, monkeypatch: pytest.MonkeyPatch
) -> None:
    timed: list[int] = []

    def time(chains: dict, images: np.ndarray, _: int) -> dict[str, float]:
        timed.append(len(images))
        return dict.fromkeys(chains, 1.0)

    for name, stub in (("make_chains", lambda *_: ({}, {})), ("_time", time), ("_print", lambda *_: None)):
        monkeypatch.setattr(benchmarks.inference, name, stub)
    network, valid = build_resnet(card.arch), SplitReader(shards, manifest, "valid")
    command = Bench(batches=(1, 40), cells=0, compile=False)
    benchmarks.inference._bench_size(network, card, 33, valid, command, 1)
    assert timed == [1, 40]
    with pytest.raises(UserError, match=r"--batches 40: valid has 12 cells, and at least 40 are needed"):
        benchmarks.inference._bench_size(network, card, card.recipe.size, valid, command, 1)


def test_no_accuracy_is_claimed_of_a_network_that_learned_these_cells(card: ModelCard) -> None:
    images, labels = np.zeros((3, 2, 2, 3), np.uint8), np.array([0, 0, 1])
    chains = {"all normal": lambda some: np.eye(2)[np.zeros(len(some), int)]}
    assert accuracies(chains, images, labels, card) == {"all normal": pytest.approx(2 / 3)}
    refit = replace(card, training=card.training | {"refit": True})
    assert accuracies(chains, images, labels, refit) == {}


def test_the_work_of_an_image_is_that_of_the_paper() -> None:
    operations, _ = work_of("resnet18", 224)
    assert operations == pytest.approx(3 * 2 * 1.8e9, rel=0.03)  # He et al. 2015, table 1: 1.8e9 multiply-adds forward


def test_the_bytes_of_an_image_are_what_its_layers_read_and_write() -> None:
    _, moved = work_of("resnet18", 64)
    stem = 3 * 64**2 + 6 * 64 * 32**2 + 64 * 16**2  # convolution, BatchNorm, ReLU, pooling
    blocks = 24 * 64 * 16**2  # six layers a block, in and out
    blocks += sum(30 * width * side**2 for width, side in ((128, 8), (256, 4), (512, 2)))  # two of them twice as large
    head = 512 * 2**2 + 512 + 512 + 2
    assert moved == 3 * 2 * (stem + blocks + head)  # forward, and twice backward; two bytes a number


def test_a_training_that_is_killed_leaves_the_rows_before_it_and_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    rounds = iter([{"ours": 2.0, "plain": 4.0, "bf16": 3.0}])

    def killed_second(*_: object) -> dict[str, float]:
        try:
            return next(rounds)
        except StopIteration:
            raise BrokenProcessPool from None

    monkeypatch.setattr(benchmarks.train, "_best", killed_second)
    monkeypatch.setattr(sys, "argv", ["train", "--archs", "resnet18", "resnet152", "--sizes", "40", "--cells", "60"])
    with pytest.raises(
        UserError, match=r"resnet152, 40 px: a loop's process was killed; .*smaller --batch-size than 64"
    ):
        benchmarks.train.main()
    printed = capsys.readouterr().out
    assert "resnet18" in printed
    assert "2.00" in printed
    assert "resnet152" not in printed
