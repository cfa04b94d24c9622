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


@pytest.mark.parametrize(
    ("held", "words"),
    [("ab", "c"), ("abd", "c"), ("abcd", "d"), ("abca", "one twice"), ("zyxwvutsrqponmlkjihgfed", "a")],
)
def test_cells_that_are_not_the_same_are_refused_by_the_name_of_the_first(held: str, words: str) -> None:
    n = len(held)
    wanted = Cells(("a", "b", "c"), ("1", "2", "3"), (None,) * 3, (None,) * 3, (None,) * 3)
    other = Cells(tuple(held), tuple(map(str, range(n))), (None,) * n, (None,) * n, (None,) * n)
    with pytest.raises(UserError, match=f"other: does not hold the same cells as the first .*: {words}$"):
        positions_of(wanted, other, "other")


def test_no_folder_at_all_is_refused() -> None:
    with pytest.raises(UserError, match="--shards: name at least one folder"):
        open_folders(())


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
    with pytest.raises(UserError, match="was trained on other shards than native, box"):
        folder_for(asked, folders, False, "model.onnx")  # type: ignore[arg-type]
    unused = replace(asked, recipe=replace(box, window=100, format="npy"))  # of crop native alone; the same pixels
    assert folder_for(unused, folders, True, "model.onnx") is folders[1]  # type: ignore[arg-type]
    named = replace(asked, recipe=card.recipe, manifest_digest="box")
    assert folder_for(named, folders, True, "model.onnx") is folders[1]  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"window": 100}, "takes 40 px, crop native of 100 px, stain none, the shards hold: native 40 px, crop nat"),
        ({"crop": "none"}, "takes 40 px, crop none, stain none, the shards"),
        ({"stain": "reinhard", "version": 0}, "takes 40 px, crop native of 288 px, stain reinhard, the shards"),
        (
            {"format": "jpg", "quality": 90},
            "takes 40 px, crop native of 288 px, stain none, jpg of quality 90, the shards",
        ),
    ],
)
@pytest.mark.parametrize("allowed", [True, False])
def test_a_network_is_not_shown_another_recipe(
    changes: dict[str, Any], words: str, allowed: bool, card: ModelCard
) -> None:
    folder = SimpleNamespace(path=Path("native"), manifest=SimpleNamespace(digest="native", recipe=card.recipe))
    other = replace(card, recipe=replace(card.recipe, **changes), manifest_digest="f" * 64)
    with pytest.raises(UserError, match=f"model.onnx: {words}"):
        folder_for(other, [folder], allowed, "model.onnx")  # type: ignore[list-item]


def test_a_stain_s_target_may_be_another_where_other_data_are_allowed(card: ModelCard) -> None:
    recipes = [replace(card.recipe, stain="reinhard", version=0, target=(float(n),) * 6) for n in range(3)]
    manifests = [SimpleNamespace(digest=recipe.target, recipe=recipe) for recipe in recipes[1:]]
    folders = [SimpleNamespace(path=Path("shards"), manifest=manifest) for manifest in manifests]
    for recipe, place in zip(recipes, (0, 0, 1), strict=True):  # its own target where there is one, else the first
        asked = replace(card, recipe=recipe, manifest_digest="f" * 64)
        assert folder_for(asked, folders, True, "model.onnx") is folders[place]  # type: ignore[arg-type]
