"""Folders of shards beside one another: other labels or classes are refused, and each network gets its own recipe."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from contract.errors import UserError
from contract.manifest import Manifest
from contract.model_card import ModelCard
from evaluate.predictions import Cells
from evaluate.shard_folders import folder_for, open_folders, positions_of


def test_a_cell_of_another_label_is_refused() -> None:
    wanted = Cells(("a", "b", "c"), ("1", "2", "3"), (None,) * 3, (None,) * 3, (0, 1, 1))
    with pytest.raises(UserError, match=r"other: b has label 0, in the first folder of shards 1"):
        positions_of(wanted, replace(wanted, labels=(0, 0, 1)), "other")


def test_folders_of_other_classes_are_refused(manifest: Manifest, tmp_path: Path) -> None:
    changes: dict[str, dict[str, Any]] = {"one": {}, "other": {"classes": ("HEM", "ALL")}}
    for name, changed in changes.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "manifest.json").write_text(replace(manifest, **changed).to_json())
    with pytest.raises(UserError, match=r"other: tells \('HEM', 'ALL'\) apart"):
        open_folders((tmp_path / "one", tmp_path / "other"))


def test_a_network_of_other_shards_is_shown_those_of_its_recipe(card: ModelCard) -> None:
    box = replace(card.recipe, crop="box")
    folders = [
        SimpleNamespace(path=Path(name), manifest=SimpleNamespace(digest=name, recipe=recipe))
        for name, recipe in (("native", card.recipe), ("box", box))
    ]
    asked = replace(card, recipe=box, manifest_digest="f" * 64)
    assert folder_for(asked, folders, True, "model.onnx") is folders[1]  # type: ignore[arg-type]
