"""The commands of the rooms train and export, as a user starts them."""

import json
import os
import re
import shlex
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import onnx
import pytest
import torch
from small_network import SmallNetwork

import train.cli
import train.loop
import train.run
from contract.manifest import load_manifest
from train.checkpoint import load_checkpoint
from train.resnet import ARCHITECTURES

ROOT = Path(__file__).resolve().parents[1]


def command(*words: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", *map(str, words)], cwd=ROOT, capture_output=True, text=True)


@pytest.fixture(scope="module")
def artifacts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("artifacts")


@pytest.fixture(scope="module")
def trained(shards: Path, artifacts: Path) -> subprocess.CompletedProcess[str]:
    return command("train", "--arch", "resnet18", "--shards", shards, "--artifacts", artifacts, "--epochs", 1)


def test_training_writes_a_network_and_the_comparison(
    trained: subprocess.CompletedProcess[str], artifacts: Path
) -> None:
    assert trained.returncode == 0, trained.stderr
    assert "resnet18 epoch 1/1: train " in trained.stdout
    assert {path.name for path in artifacts.iterdir()} == {"resnet18", "comparison"}
    assert (artifacts / "resnet18" / "best.pt").is_file()
    assert (artifacts / "comparison" / "accuracy.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.usefixtures("trained")
def test_export_writes_the_network_that_was_trained(shards: Path, artifacts: Path) -> None:
    done = command("export", "--shards", shards, "--artifacts", artifacts)
    assert done.returncode == 0, done.stderr
    assert (artifacts / "resnet18" / "model.onnx").is_file()
    assert "decisions identical" in done.stdout
    assert done.stderr == ""
    model = onnx.load(artifacts / "resnet18" / "model.onnx")
    (name,) = (node.input[1] for node in model.graph.node if "cam" in node.output)  # of the classifier's weights
    (held,) = (onnx.numpy_helper.to_array(tensor) for tensor in model.graph.initializer if tensor.name == name)
    learned = load_checkpoint(artifacts / "resnet18" / "best.pt")[1]["model"]["fc.weight"]
    assert torch.equal(torch.from_numpy(held.copy()).flatten(1), learned)


def test_all_trains_the_three_in_turn_and_draws_their_comparison(
    shards: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    built: list[str] = []

    def small(arch: str, channels: int) -> SmallNetwork:
        built.append(arch)
        return SmallNetwork(channels)

    drawn: list[list[str]] = []
    monkeypatch.setattr(train.run, "build_resnet", small)
    monkeypatch.setattr(train.cli, "draw_comparison", lambda histories, *_: drawn.append(list(histories)))
    words = ["--arch", "all", "--shards", str(shards), "--artifacts", str(tmp_path), "--epochs", "1", "--device", "cpu"]
    monkeypatch.setattr("sys.argv", ["train", *words])
    train.cli.main()
    assert built == ["resnet18", "resnet50", "resnet152"]
    assert drawn == [built]
    assert all((tmp_path / arch / name).is_file() for arch in built for name in ("best.pt", "history.csv", "run.json"))
    assert re.findall(r"^(resnet\d+) epoch 1/1", capsys.readouterr().out, re.MULTILINE) == built


def test_networks_of_other_cells_or_splits_are_left_out_of_the_comparison_and_named(
    shards: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    drawn: list[list[str]] = []
    monkeypatch.setattr(train.run, "build_resnet", lambda _, channels=3: SmallNetwork(channels))
    monkeypatch.setattr(train.cli, "draw_comparison", lambda histories, *_: drawn.append(list(histories)))
    words = ["--shards", str(shards), "--artifacts", str(tmp_path), "--epochs", "1", "--device", "cpu", "--arch"]
    for arch in ("resnet18", "resnet152"):
        monkeypatch.setattr("sys.argv", ["train", *words, arch])
        train.cli.main()
    assert "without" not in capsys.readouterr().out
    record = tmp_path / "resnet18" / "config.json"
    record.write_text(record.read_text().replace(load_manifest(shards).source_digest, "f" * 64))
    monkeypatch.setattr("sys.argv", ["train", *words, "resnet50"])
    train.cli.main()
    assert drawn == [["resnet18"], ["resnet18", "resnet152"], ["resnet50", "resnet152"]]
    assert "accuracy.png; without resnet18, of other cells or splits\n" in capsys.readouterr().out


def test_all_by_force_leaves_no_older_run_to_go_on_with_when_it_is_stopped(
    shards: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(train.run, "build_resnet", lambda _, channels=3: SmallNetwork(channels))
    words = ["--arch", "all", "--shards", str(shards), "--artifacts", str(tmp_path), "--epochs", "1", "--device", "cpu"]
    monkeypatch.setattr("sys.argv", ["train", *words])
    train.cli.main()
    evaluate = train.loop.evaluate

    def stop(*arguments: Any) -> Any:
        os.kill(os.getpid(), signal.SIGTERM)
        return evaluate(*arguments)

    monkeypatch.setattr(train.loop, "evaluate", stop)
    monkeypatch.setattr("sys.argv", ["train", *words, "--lr", "0.03", "--force"])
    with pytest.raises(SystemExit):
        train.cli.main()
    assert [(tmp_path / arch / "last.pt").exists() for arch in ARCHITECTURES] == [True, False, False]
    again = shlex.split(capsys.readouterr().err.partition("go on with: python -m train ")[2])
    monkeypatch.setattr(train.loop, "evaluate", evaluate)
    monkeypatch.setattr("sys.argv", ["train", *again])
    train.cli.main()
    for arch in ARCHITECTURES:
        assert json.loads((tmp_path / arch / "run.json").read_text())["config"]["lr"] == 0.03


def test_unknown_architecture_exits_2_and_lists_the_valid(
    shards: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--arch", "resnet34", "--shards", str(shards), "--artifacts", str(tmp_path)]
    monkeypatch.setattr("sys.argv", ["train", *words])
    with pytest.raises(SystemExit) as stop:
        train.cli.main()
    assert stop.value.code == 2
    said = capsys.readouterr().err
    assert all(arch in said for arch in ("resnet18", "resnet50", "resnet152"))
    assert not list(tmp_path.iterdir())


def assert_one_line(done: subprocess.CompletedProcess[str], *words: str) -> None:
    assert done.returncode == 2
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1
    assert all(word in done.stderr for word in words)
    assert done.stdout == ""


def test_training_without_shards_ends_in_one_line(tmp_path: Path) -> None:
    assert_one_line(command("train", "--shards", tmp_path / "none", "--artifacts", tmp_path), "none", "make shards")
    assert not list(tmp_path.iterdir())


def test_bad_value_of_a_flag_exits_2_and_names_it(
    shards: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["train", "--shards", str(shards), "--artifacts", str(tmp_path), "--epochs", "0"]
    monkeypatch.setattr("sys.argv", arguments)
    with pytest.raises(SystemExit) as stop:
        train.cli.main()
    assert stop.value.code == 2
    assert "--epochs 0: must be above zero" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_export_without_a_checkpoint_ends_in_one_line(shards: Path, tmp_path: Path) -> None:
    assert_one_line(command("export", "--arch", "resnet50", "--shards", shards, "--artifacts", tmp_path), "best.pt")
