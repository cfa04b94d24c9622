"""A refit is exported with temperature, threshold and scores of the same training that learned train alone."""

import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import onnx
import pytest
import torch
from export_command import run_export
from two_networks import recard

import export.network
from contract.errors import UserError
from contract.manifest import Manifest
from contract.model_card import REFIT_LIMIT, ModelCard
from export.card import card_text, load_card
from export.graph import translate
from train.checkpoint import save_checkpoint
from train.resnet import BasicBlock, ResNet


def shallow(*_: object) -> ResNet:
    """One block a stage: the smallest network that has all parts."""
    return ResNet(BasicBlock, (1, 1, 1, 1), 2)


def write_checkpoint(folder: Path, card: ModelCard, seed: int) -> None:
    torch.manual_seed(seed)
    network = shallow()
    torch.nn.init.normal_(network.fc.weight, std=0.3)
    save_checkpoint(folder / "resnet18" / "best.pt", card, {"model": network.state_dict()})


@pytest.fixture(scope="module", autouse=True)
def _quick_exports() -> Iterator[None]:
    """The two networks of this file are shallow, and translated once each; what is set later is in no translation."""
    known: dict[bytes, onnx.ModelProto] = {}

    def once(network: ResNet, card: ModelCard) -> onnx.ModelProto:
        key = network.fc.weight.detach().numpy().tobytes()
        if key not in known:
            known[key] = translate(network, card)
        return known[key]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(export.network, "translate", once)
        patch.setattr(export.network, "build_resnet", shallow)
        yield


@pytest.fixture(scope="module")
def alone(card: ModelCard, manifest: Manifest) -> ModelCard:
    """The card of a training of train alone."""
    return replace(card, training={"lr": 0.05, "source_digest": manifest.source_digest, "initial": ""})


@pytest.fixture(scope="module")
def refit(alone: ModelCard) -> ModelCard:
    return replace(alone, training=alone.training | {"refit": True}, epoch=7, metrics={})


@pytest.fixture(scope="module")
def counterpart(alone: ModelCard, shards: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the exported counterpart. Read only."""
    folder = tmp_path_factory.mktemp("counterpart")
    write_checkpoint(folder, alone, 5)
    run_export(folder, shards, "resnet18", "--no-int8", "--no-raw", "--operating-point", "balanced")
    return folder


def export_refit(folder: Path, shards: Path, *flags: str) -> Path:
    run_export(folder, shards, "resnet18", *(flags or ("--no-int8", "--no-raw")))
    return folder / "resnet18"


def test_refit_has_the_counterpart_s_calibration_and_scores_and_says_whose_they_are(
    counterpart: Path, refit: ModelCard, shards: Path, tmp_path: Path
) -> None:
    write_checkpoint(tmp_path, refit, 2)
    made = export_refit(tmp_path, shards, "--counterpart", str(counterpart))
    theirs = load_card(counterpart / "resnet18" / "model.onnx")
    assert theirs.temperature != 1
    assert theirs.samples == 12
    for name in ("model.onnx", "model.int8.onnx", "model.raw.onnx"):
        found = load_card(made / name)
        assert found.temperature == theirs.temperature
        assert (found.threshold, found.operating_point) == (theirs.threshold, "balanced")
        assert (found.metrics, found.intervals, found.samples) == (theirs.metrics, theirs.intervals, 12)
        assert (found.epoch, found.refit, found.limits[1]) == (7, True, REFIT_LIMIT)
        assert len(found.limits) == len(theirs.limits)
        assert "On the validation split (n = 12), by the same training without it;" in card_text(found, name)
    found, raw = (load_card(made / name).verification for name in ("model.onnx", "model.raw.onnx"))
    assert found["float64_images"] == 35  # 3 fixed, 20 random, and the 12 cells of valid
    assert raw.items() > found.items()
    assert (raw["raw_drawn_cells"], raw["raw_cells"]) == (12, 0)
    assert "On the validation split (n = 12); 95 %" in card_text(theirs, "model.onnx")


def test_without_a_counterpart_nothing_is_written(refit: ModelCard, shards: Path, tmp_path: Path) -> None:
    write_checkpoint(tmp_path, refit, 2)
    with pytest.raises(UserError, match=r"resnet18: learned valid too \(--refit\), .*--counterpart FOLDER"):
        export_refit(tmp_path, shards)
    assert [path.name for path in (tmp_path / "resnet18").iterdir()] == ["best.pt"]


def test_without_its_shards_nothing_is_written(counterpart: Path, refit: ModelCard, tmp_path: Path) -> None:
    write_checkpoint(tmp_path, refit, 2)
    with pytest.raises(UserError, match=r"resnet18: a refit is compared on its own shards: not in .*nowhere"):
        export_refit(tmp_path, tmp_path / "nowhere", "--counterpart", str(counterpart))
    assert [path.name for path in (tmp_path / "resnet18").iterdir()] == ["best.pt"]


def test_a_network_that_learned_train_alone_takes_no_counterpart(
    counterpart: Path, alone: ModelCard, shards: Path, tmp_path: Path
) -> None:
    write_checkpoint(tmp_path, alone, 2)
    with pytest.raises(UserError, match="resnet18 is no refit: it is calibrated on valid itself"):
        export_refit(tmp_path, shards, "--counterpart", str(counterpart), "--no-int8", "--no-raw")


def test_the_operating_point_is_the_counterpart_s(
    counterpart: Path, refit: ModelCard, shards: Path, tmp_path: Path
) -> None:
    write_checkpoint(tmp_path, refit, 2)
    with pytest.raises(UserError, match=r"--operating-point sensitivity 0.9: a refit has that of its counterpart"):
        export_refit(tmp_path, shards, "--counterpart", str(counterpart), "--operating-point", "0.9")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"seed": 3}, r"of another training, these differ: seed 3 -> 0$"),
        ({"training": {"lr": 0.1}}, r"these differ: lr 0.1 -> 0.05, source_digest None -> "),
        ({"manifest_digest": "e" * 64}, r"these differ: manifest_digest eeee"),
    ],
)
def test_another_training_is_no_counterpart(
    changes: dict[str, object], message: str, counterpart: Path, refit: ModelCard, shards: Path, tmp_path: Path
) -> None:
    other = shutil.copytree(counterpart, tmp_path / "other")
    recard(other / "resnet18" / "model.onnx", **changes)
    write_checkpoint(tmp_path, refit, 2)
    with pytest.raises(UserError, match=message):
        export_refit(tmp_path, shards, "--counterpart", str(other))


def test_neither_a_refit_nor_an_uncalibrated_network_is_a_counterpart(
    counterpart: Path, alone: ModelCard, refit: ModelCard, shards: Path, tmp_path: Path
) -> None:
    write_checkpoint(tmp_path, refit, 2)
    export_refit(tmp_path, shards, "--counterpart", str(counterpart), "--no-int8", "--no-raw")
    with pytest.raises(UserError, match=r"--counterpart .*: is a refit itself: it must have learned train alone"):
        export_refit(tmp_path, shards, "--counterpart", str(tmp_path))
    write_checkpoint(tmp_path / "uncalibrated", alone, 5)
    export_refit(tmp_path / "uncalibrated", tmp_path / "nowhere")
    with pytest.raises(UserError, match="was exported without its shards: export it anew, with --shards"):
        export_refit(tmp_path, shards, "--counterpart", str(tmp_path / "uncalibrated"))
