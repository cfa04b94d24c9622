"""config.json and run.json: what is needed to repeat a run."""

import json
import shlex
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import tyro
from pretended_gpu import pretended_gpu
from small_network import SmallNetwork

import train.run
from contract.manifest import Manifest
from contract.model_card import ModelCard
from train.config import Config
from train.history import Epoch, read_history
from train.loop import train as train_network
from train.run import Run
from train.run_record import command_of, source_digest_of, write_run_record, write_start_record
from train.versions import versions


def test_records_say_what_is_needed_to_repeat_the_run(
    shards: Path, manifest: Manifest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(train.run, "build_resnet", lambda _, channels=3: SmallNetwork(channels))
    small = Config(shards=shards, artifacts=tmp_path, epochs=2, batch_size=20, lr=0.02, device="cpu", amp=False)
    train_network(small)
    begun, done = (json.loads((tmp_path / "resnet18" / name).read_text()) for name in ("config.json", "run.json"))
    for record in (begun, done):
        assert record["config"]["batch_size"] == 20
        assert (record["config"]["initial"], record["config"]["teacher"]) == (None, None)  # no file of that name
        assert record["config"]["shards"] == str(shards)
        assert record["command"] == (
            f"python -m train --arch resnet18 --shards {shards} --artifacts {tmp_path} --epochs 2 --batch-size 20 "
            "--lr 0.02 --device cpu --no-amp"
        )
        assert record["processes"] == 1
        assert record["threads"] == torch.get_num_threads()
        assert record["cpu"] == torch.backends.cpu.get_cpu_capability()
    assert (begun["manifest_digest"], begun["seed"]) == (manifest.digest, 0)
    assert {"torch", "numpy", "python", "commit"} <= begun["versions"].keys()
    assert done["card"]["arch"] == "resnet18"
    assert done["card"]["manifest_digest"] == manifest.digest
    assert done["epochs"] == 2
    epochs = read_history(tmp_path / "resnet18" / "history.csv")
    assert done["seconds"] == round(sum(epoch.seconds for epoch in epochs), 1)


def test_threads_are_those_asked_for_and_the_record_says_so(
    shards: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(train.run, "build_resnet", lambda _, channels=3: SmallNetwork(channels))
    before = torch.get_num_threads()
    other = 2 if before == 1 else 1
    try:
        config = Config(
            shards=shards, artifacts=tmp_path, epochs=1, batch_size=20, device="cpu", amp=False, threads=other
        )
        record = json.loads((train_network(config) / "run.json").read_text())
        assert torch.get_num_threads() == other
    finally:
        torch.set_num_threads(before)
    assert record["threads"] == other
    assert record["command"].endswith(f"--device cpu --threads {other} --no-amp")


def test_a_checkpoint_names_the_code_that_trains_and_not_a_later_commit(
    shards: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(train.run, "build_resnet", lambda _, channels=3: SmallNetwork(channels))
    run = Run(Config(shards=shards, artifacts=tmp_path, device="cpu"))
    monkeypatch.setattr(train.run, "versions", lambda _: {"commit": "made while it trains"})
    assert run.card().versions == versions()


def test_a_gpu_is_named_where_it_trains_and_nowhere_else(
    shards: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(train.run, "build_resnet", lambda _, channels=3: SmallNetwork(channels))
    with pretended_gpu():
        runs = [Run(Config(shards=shards, artifacts=tmp_path, device=device)) for device in ("cpu", "cuda")]
        assert [run.card().versions.get("gpu") for run in runs] == [None, "a pretended GPU"]


@pytest.mark.parametrize(
    "config",
    [Config(), Config(arch="all", flip=False, standardise=False, sampling="subject", lr=0.1, shards=Path("a b/c"))],
)
def test_command_makes_the_same_configuration_again(config: Config) -> None:
    words = shlex.split(command_of(config, 1))
    assert words[:3] == ["python", "-m", "train"]
    assert tyro.cli(Config, args=words[3:]) == config
    assert shlex.split(command_of(config, 2))[3:] == ["-m", "train", *words[3:]]


def test_the_command_of_a_record_starts_the_run_anew(card: ModelCard, tmp_path: Path) -> None:
    # A run that was resumed or forced is repeated from its beginning.
    config = Config(epochs=3, resume=True, force=True)
    write_start_record(tmp_path, config, replace(card, training={"source_digest": "d"}), 1)
    record = json.loads((tmp_path / "config.json").read_text())
    assert record["command"] == command_of(Config(epochs=3), 1)
    assert "--resume" not in record["command"]
    assert record["config"]["resume"] is True
    assert source_digest_of(tmp_path) == "d"


@pytest.mark.parametrize("text", [None, "", "[]", "{}", "3", pytest.param("[" * 200_000, id="deep")])
def test_a_record_that_does_not_tell_its_cells_is_of_no_others(text: str | None, tmp_path: Path) -> None:
    if text is not None:
        (tmp_path / "config.json").write_text(text)
    assert source_digest_of(tmp_path) is None


@pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")
def test_the_commit_is_that_of_the_code_and_marked_where_files_were_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def git(*words: str) -> str:
        command = ["git", "-C", str(tmp_path), "-c", "user.name=A", "-c", "user.email=a@b", *words]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()

    code = tmp_path / "code.py"
    code.write_text("")
    monkeypatch.setattr("train.versions.__file__", str(code))
    assert versions()["commit"] == "unknown"
    git("init")
    git("add", "code.py")
    git("commit", "--message", "one")
    commit = git("rev-parse", "--short=12", "HEAD")
    assert versions()["commit"] == commit
    git("tag", "--annotate", "v1", "--message", "one")
    assert versions()["commit"] == commit  # and no tag's name
    code.write_text("changed")
    assert versions()["commit"] == f"{commit}+"


def test_the_record_of_a_run_counts_all_its_epochs_whichever_was_the_best(card: ModelCard, tmp_path: Path) -> None:
    rows = [Epoch(n, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5, 0.1, 40, 1.5, 24.0) for n in (1, 2, 3)]
    write_run_record(tmp_path, Config(), replace(card, epoch=1), rows, 1)
    record = json.loads((tmp_path / "run.json").read_text())
    assert (record["epochs"], record["seconds"], record["card"]["epoch"]) == (3, 4.5, 1)
