"""What is exported is the checkpoint of a network of that name, whole; anything else is refused in one line."""

from pathlib import Path

import pytest
from export_command import run_export

import export.cli
from contract.errors import UserError
from contract.model_card import ModelCard
from export.calibrate import OperatingPoint
from export.network import Plan
from train.checkpoint import save_checkpoint


def test_missing_checkpoint_is_a_users_mistake(shards: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"best\.pt: no such file"):
        run_export(tmp_path, shards, "resnet50")
    with pytest.raises(UserError, match="no trained network"):
        run_export(tmp_path, shards, "all")


def test_checkpoint_of_another_network_in_the_folder_is_refused(card: ModelCard, shards: Path, tmp_path: Path) -> None:
    save_checkpoint(tmp_path / "resnet50" / "best.pt", card, {"model": {}})
    with pytest.raises(UserError, match="holds a resnet18, not a resnet50"):
        run_export(tmp_path, shards, "resnet50")


@pytest.mark.parametrize("state", [{}, {"model": {}}, {"model": 3}], ids=["none", "empty", "a number"])
def test_checkpoint_without_its_weights_is_refused(
    state: dict[str, object], card: ModelCard, shards: Path, tmp_path: Path
) -> None:
    save_checkpoint(tmp_path / "resnet18" / "best.pt", card, state)
    with pytest.raises(UserError, match=r"best\.pt"):
        run_export(tmp_path, shards, "resnet18")


def test_every_flag_reaches_the_export_of_the_networks_that_are_trained(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plans: list[tuple[str, Plan]] = []
    monkeypatch.setattr(export.cli, "export_network", lambda *asked: plans.append(asked))
    shards, raw, other = (tmp_path / name for name in ("shards", "raw images", "other"))
    run_export(tmp_path, shards, "resnet50", "--no-int8", "--data", str(raw), "--counterpart", str(other))
    for arch in ("resnet18", "resnet50", "resnet152"):
        (tmp_path / arch).mkdir()
    for arch in ("resnet18", "resnet152"):
        (tmp_path / arch / "best.pt").touch()
    run_export(tmp_path, shards, "all", "--no-raw", "--operating-point", "balanced")
    default, balanced = OperatingPoint("default 0.5"), OperatingPoint("balanced")
    both = Plan(tmp_path, (shards,), None, balanced, int8=True, raw=False)
    one = Plan(tmp_path, (shards,), raw, default, int8=False, raw=True, counterpart=other)
    assert plans == [("resnet50", one), ("resnet18", both), ("resnet152", both)]
