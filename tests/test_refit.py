"""A last training on train and valid together: every cell is learned once an epoch, and no score of it is left."""

import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from equality import assert_equal
from matplotlib.figure import Figure
from small_network import config_of

import train.loop
from contract.errors import UserError
from contract.manifest import load_manifest
from contract.shard_reader import SplitReader
from train.checkpoint import load_checkpoint
from train.curves import _draw_curves
from train.data import Batch
from train.history import best_epoch, read_history
from train.log import summary
from train.loop import train as train_network
from train.objective import class_weights
from train.run import Run

pytestmark = pytest.mark.usefixtures("small_networks")


@pytest.fixture(scope="module")
def refitted(shards: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a finished refit of two epochs. Read only."""
    return train_network(config_of(shards, tmp_path_factory.mktemp("refit"), refit=True))


def keys_of(shards: Path, *splits: str) -> list[str]:
    return [sample.key for sample in SplitReader(shards, load_manifest(shards), *splits).samples]


def test_reader_of_two_splits_holds_both_in_the_manifests_order(shards: Path) -> None:
    manifest = load_manifest(shards)
    both = SplitReader(shards, manifest, "train", "valid")
    assert sorted(sample.key for sample in both.samples) == sorted(keys_of(shards, "train") + keys_of(shards, "valid"))
    assert (len(both), both.what) == (48, "train + valid")
    of_shards = [shard.name for shard in manifest.shards if shard.split in ("train", "valid")]
    assert list(dict.fromkeys(sample.shard for sample in both.samples)) == of_shards
    alone = SplitReader(shards, manifest, "valid")
    place = [sample.key for sample in both.samples].index(alone.samples[3].key)
    assert (both.image(place) == alone.image(3)).all()
    assert both.labels[place] == alone.labels[3]


@pytest.mark.parametrize("cache", ["none", "ram"])
def test_an_epoch_learns_every_cell_of_train_and_valid_once(
    cache: str, shards: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    learned: list[str] = []
    forward = train.loop.forward

    def noted(run: Run, phase: object, batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
        learned.extend(batch.keys)
        return forward(run, phase, batch)  # type: ignore[arg-type]

    monkeypatch.setattr(train.loop, "forward", noted)
    train_network(config_of(shards, tmp_path, refit=True, cache=cache))
    assert sorted(learned) == sorted(2 * keys_of(shards, "train", "valid"))


def test_the_last_epoch_counts_and_nothing_claims_a_score(refitted: Path) -> None:
    history = read_history(refitted / "history.csv")
    assert best_epoch(history) is history[-1]
    for row in history:
        assert all(math.isnan(v) for v in (row.valid_accuracy, row.valid_loss, row.valid_auroc, row.valid_f1))
        assert math.isfinite(row.train_loss)
    assert "not validated" in summary(history[-1])
    card, state = load_checkpoint(refitted / "best.pt")
    assert (card.epoch, card.metrics, card.training["refit"]) == (2, {}, True)
    assert_equal(state["model"], load_checkpoint(refitted / "last.pt")[1]["ema"])


def test_a_refit_is_another_network_than_its_like(refitted: Path, shards: Path, tmp_path: Path) -> None:
    alone = train_network(config_of(shards, tmp_path))
    assert load_checkpoint(alone / "best.pt")[0].training["refit"] is False
    with pytest.raises(AssertionError):
        assert_equal(load_checkpoint(alone / "last.pt")[1]["ema"], load_checkpoint(refitted / "last.pt")[1]["ema"])
    with pytest.raises(UserError, match=r"these differ: refit False -> True; --force \(make: FORCE=1\) trains anew"):
        train_network(config_of(shards, tmp_path, refit=True, resume=True))


def test_resumed_refit_is_the_uninterrupted_one(refitted: Path, shards: Path, tmp_path: Path) -> None:
    config = config_of(shards, tmp_path, refit=True)
    stopped = Run(config)
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(train.loop, "finished", lambda history, _: len(history) >= 1)
        train_network(config)
    assert len(read_history(stopped.folder / "history.csv")) == 1
    (stopped.folder / "run.json").unlink()
    resumed = train_network(replace(config, resume=True))
    for name in ("model", "ema"):
        assert_equal(load_checkpoint(resumed / "last.pt")[1][name], load_checkpoint(refitted / "last.pt")[1][name])


def test_its_weights_start_no_training_that_is_judged_on_valid(refitted: Path, shards: Path, tmp_path: Path) -> None:
    config = config_of(shards, tmp_path, initial=refitted / "best.pt")
    with pytest.raises(UserError, match=r"--initial .*best.pt: learned valid too \(--refit\): nothing would be left"):
        Run(config)
    assert Run(replace(config, refit=True)).card().training["initial"].startswith("epoch 2 at ")


def test_patience_has_nothing_to_go_by(shards: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="--refit --patience 3: valid is learned, so nothing tells when to stop"):
        config_of(shards, tmp_path, refit=True, patience=3)


def test_class_weights_count_the_cells_of_both_splits(shards: Path, tmp_path: Path) -> None:
    manifest = load_manifest(shards)
    labels = SplitReader(shards, manifest, "train", "valid").labels
    wanted = [len(labels) / (2 * (labels == label).sum()) for label in (0, 1)]
    assert class_weights(manifest).tolist() != pytest.approx(wanted), "else both splits have one share of blasts"
    for refit, expected in ((True, wanted), (False, class_weights(manifest).tolist())):
        run = Run(config_of(shards, tmp_path, refit=refit, class_weights=True))
        assert run.loss_weights is not None
        assert run.loss_weights.tolist() == pytest.approx(expected)


def test_its_curve_has_a_training_phase_alone(refitted: Path) -> None:
    history, axes = read_history(refitted / "history.csv"), Figure().subplots()
    _draw_curves(axes, "resnet18", history)
    assert [line.get_label() for line in axes.lines] == ["resnet18 training phase"]
    _draw_curves(axes, "resnet18", [replace(row, valid_accuracy=0.5) for row in history])
    assert len(axes.lines) == 3
