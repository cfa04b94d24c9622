"""Weights to start from: another size of the same split, recorded, and nothing that has seen other cells."""

import re
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from equality import assert_equal
from small_network import config_of

from build_shards.dataset import read_dataset
from build_shards.shards import build
from contract.errors import UserError
from contract.manifest import load_manifest
from contract.publish import file_sha256
from contract.recipe import Recipe
from train.checkpoint import load_checkpoint, save_checkpoint
from train.loop import train
from train.resume import start
from train.run import Run

pytestmark = pytest.mark.usefixtures("small_networks")


@pytest.fixture(scope="module")
def smaller(synthetic_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The best checkpoint of a run on the same split at 36 px. Read only."""
    folder = tmp_path_factory.mktemp("smaller")
    build(read_dataset(synthetic_data, "subject", 0), Recipe(size=36), folder / "shards", workers=1, force=False)
    return train(config_of(folder / "shards", folder / "artifacts")) / "best.pt"


def test_run_starts_from_the_weights_of_a_smaller_size(smaller: Path, shards: Path, tmp_path: Path) -> None:
    card, state = load_checkpoint(smaller)
    config = config_of(shards, tmp_path)
    run = Run(replace(config, initial=smaller))
    assert_equal(run.model.state_dict(), state["model"])
    assert_equal(run.ema.model.state_dict(), state["model"])
    with pytest.raises(AssertionError):
        assert_equal(Run(config).model.state_dict(), state["model"])
    assert run.card().training["initial"].startswith(f"epoch {card.epoch} at 36 px, SHA-256 ")
    assert Run(config).card().training["initial"] == ""


def test_a_card_names_the_start_of_the_start_too(smaller: Path, shards: Path, tmp_path: Path) -> None:
    card, state = load_checkpoint(smaller)
    before, second = f"epoch 2 at 24 px, SHA-256 {'0' * 64}", tmp_path / "second.pt"
    save_checkpoint(second, replace(card, training=card.training | {"initial": before}), {"model": state["model"]})
    initial = Run(replace(config_of(shards, tmp_path), initial=second)).card().training["initial"]
    assert initial == f"epoch {card.epoch} at 36 px, SHA-256 {file_sha256(second)}; before: {before}"


def test_same_start_is_the_same_run_and_another_start_another(
    smaller: Path, shards: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = replace(config_of(shards, tmp_path / "a"), initial=smaller, epochs=1)
    first = train(config)
    assert re.search(r"^resnet18: starts from epoch . at 36 px, SHA-256 [0-9a-f]{64}$", capsys.readouterr().out, re.M)
    moved = tmp_path / "moved.pt"
    moved.write_bytes(smaller.read_bytes())
    again = train(replace(config, artifacts=tmp_path / "b", initial=moved))
    assert_equal(load_checkpoint(first / "last.pt")[1]["ema"], load_checkpoint(again / "last.pt")[1]["ema"])
    train(replace(config, initial=moved, resume=True))  # the content counts, not the path: nothing differs
    with pytest.raises(UserError, match=r"these differ: initial epoch . at 36 px, SHA-256 .* -> ; --force"):
        train(replace(config, initial=None, resume=True))
    capsys.readouterr()
    assert start(Run(replace(config, initial=moved, resume=True, cycles=2)))
    assert "starts from" not in capsys.readouterr().out  # it goes on


def test_weights_that_may_have_seen_other_cells_are_refused(smaller: Path, shards: Path, tmp_path: Path) -> None:
    card, state = load_checkpoint(smaller)
    config, other = replace(config_of(shards, tmp_path), initial=tmp_path / "other.pt"), tmp_path / "other.pt"
    assert card.training["source_digest"] == load_manifest(shards).source_digest
    changes = {
        "split 000000000000 -> ": {"training": card.training | {"source_digest": "0" * 64}},
        "split unknown -> ": {"training": {}},
        "arch resnet50 -> resnet18": {"arch": "resnet50"},
        "channels 3 -> 6": {"training": card.training | {"colours": False}},
        r"classes \('a', 'b'\) -> \('normal', 'blast'\)": {"classes": ("a", "b")},
    }
    for message, change in changes.items():
        save_checkpoint(other, replace(card, **change), {"model": state["model"]})  # type: ignore[arg-type]
        with pytest.raises(UserError, match=f"--initial {other}: cannot be started from, these differ: {message}"):
            Run(config)


def test_weights_that_do_not_fit_or_would_be_overwritten_are_refused(
    smaller: Path, shards: Path, tmp_path: Path
) -> None:
    card, _ = load_checkpoint(smaller)
    config = config_of(shards, tmp_path / "artifacts")
    with pytest.raises(UserError, match="no such file"):
        Run(replace(config, initial=tmp_path / "none.pt"))
    other = tmp_path / "other.pt"
    save_checkpoint(other, card, {"model": {"weight": torch.zeros(3)}})
    with pytest.raises(UserError, match="do not fit the network"):
        Run(replace(config, initial=other))
    inside = tmp_path / "artifacts" / "resnet18" / "best.pt"
    with pytest.raises(UserError, match="lies in the folder that this run writes"):
        Run(replace(config, initial=inside))


@pytest.mark.parametrize("way", ["a link", "two dots", "a link to the file"])
def test_a_detour_to_the_folder_that_is_written_is_seen_through(way: str, shards: Path, tmp_path: Path) -> None:
    (tmp_path / "artifacts" / "resnet50").mkdir(parents=True)
    (tmp_path / "link").symlink_to(tmp_path / "artifacts")
    (tmp_path / "start.pt").symlink_to(tmp_path / "artifacts" / "resnet18" / "best.pt")
    detours = {
        "a link": tmp_path / "link" / "resnet18" / "best.pt",
        "two dots": tmp_path / "artifacts" / "resnet50" / ".." / "resnet18" / "best.pt",
        "a link to the file": tmp_path / "start.pt",
    }
    with pytest.raises(UserError, match="lies in the folder that this run writes"):
        Run(replace(config_of(shards, tmp_path / "artifacts"), initial=detours[way]))
