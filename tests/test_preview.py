"""The preview is a picture of cells and distributions, drawn the same way twice."""

from dataclasses import replace
from pathlib import Path

import cv2
import pytest

from build_shards.dataset import read_dataset
from build_shards.preview import preview
from contract.errors import UserError
from contract.recipe import Recipe


def test_a_preview_is_a_picture_and_the_recipe_comes_back_fitted(synthetic_data: Path, tmp_path: Path) -> None:
    dataset = read_dataset(synthetic_data)
    fitted = preview(dataset, Recipe(stain="macenko", size=40), tmp_path / "one.png")
    preview(dataset, Recipe(stain="macenko", size=40), tmp_path / "two.png")
    assert len(fitted.target) == 8
    picture = cv2.imread(str(tmp_path / "one.png"))
    assert picture is not None
    assert picture.shape == (2250, 1800, 3)
    assert picture.std() > 20
    assert (tmp_path / "one.png").read_bytes() == (tmp_path / "two.png").read_bytes()


def test_a_training_split_of_one_class_cannot_be_previewed(synthetic_data: Path, tmp_path: Path) -> None:
    dataset = read_dataset(synthetic_data)
    blasts = replace(dataset, cells=tuple(cell for cell in dataset.cells if cell.label == 1))
    with pytest.raises(UserError, match="no normal cells"):
        preview(blasts, Recipe(), tmp_path / "one.png")
    assert not (tmp_path / "one.png").exists()
