"""What is exported is the checkpoint of a network of that name, whole; anything else is refused in one line."""

from pathlib import Path

import pytest
from export_command import run_export

from contract.errors import UserError
from contract.model_card import ModelCard
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
