"""The preview is a picture of cells and distributions, drawn the same way twice."""

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.legend import Legend
from matplotlib.patches import Rectangle

from build_shards import cli
from build_shards.dataset import Cell, read_dataset
from build_shards.preprocess import preprocess
from build_shards.preview import COLOURS, _density, _draw_column, _draw_distributions, preview
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


def test_no_free_place_is_searched_for_the_legend(
    synthetic_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Legend, "_find_best_position", lambda *_: 1 / 0)  # warns after a second, on a slow machine
    preview(read_dataset(synthetic_data), Recipe(size=40), tmp_path / "one.png")
    assert (tmp_path / "one.png").is_file()


def test_a_training_split_of_one_class_cannot_be_previewed(synthetic_data: Path, tmp_path: Path) -> None:
    dataset = read_dataset(synthetic_data)
    blasts = replace(dataset, cells=tuple(cell for cell in dataset.cells if cell.label == 1))
    with pytest.raises(UserError, match="no normal cells"):
        preview(blasts, Recipe(), tmp_path / "one.png")
    assert not (tmp_path / "one.png").exists()


def test_a_cell_is_drawn_raw_stained_and_cropped_with_what_there_is_to_note(tmp_path: Path, write_image) -> None:
    grey = np.zeros((90, 90, 3), np.uint8)
    cv2.circle(grey, (40, 45), 30, (90, 90, 90), -1)
    cell = Cell(write_image(tmp_path / "7.bmp", grey), "cells/7.bmp", "train", 0, None)
    recipe = Recipe(stain="reinhard", target=(50.0, 1.0, 1.0, 2.0, 2.0, 2.0), size=33, window=40)
    panels = Figure().subplots(3)
    _draw_column(panels, cell, recipe)
    assert panels[0].get_title() == "?  7.bmp\nstain cannot be told\nshrunk to fit"
    shapes = [panel.get_images()[0].get_array().shape[:2] for panel in panels]
    assert shapes == [(90, 90), (90, 90), (33, 33)]
    _draw_column(panels, replace(cell, subject="H3"), replace(recipe, stain="none", target=(), version=0, window=90))
    assert panels[0].get_title() == "H3  7.bmp"


def test_distributions_are_of_cells_before_and_after_in_the_colour_of_their_class(tmp_path: Path, write_image) -> None:
    image = np.zeros((60, 60, 3), np.uint8)
    image[10:50, 10:50] = (np.arange(40)[:, None, None] + (20, 60, 180)).astype(np.uint8)
    np.testing.assert_allclose(_density(image), [-np.log((np.arange(40) + c + 1) / 256).mean() for c in (20, 60, 180)])
    cells = [
        [Cell(write_image(tmp_path / f"{label}.bmp", image), f"{label}", "train", label, None)] for label in (0, 1)
    ]
    recipe = Recipe(stain="reinhard", target=(80.0, 5.0, 5.0, 3.0, 3.0, 3.0), size=60, window=60)
    panels = list(Figure().subplots(1, 3))
    _draw_distributions(panels, cells, recipe)
    labels = [text.get_text() for text in panels[0].get_legend().get_texts()]
    assert sorted(labels) == ["blast after", "blast before", "normal after", "normal before"]
    after = preprocess(image, recipe, "x").image
    for channel, panel in enumerate(panels):
        bars = [patch for patch in panel.patches if isinstance(patch, Rectangle) and patch.get_height() > 0]
        places = [bar.get_x() for bar in bars]
        assert places == pytest.approx([np.floor(_density(after)[channel] * 20) / 20] * 2)
        assert [to_hex(bar.get_facecolor()).upper() for bar in bars] == list(COLOURS)


def test_a_cell_smaller_than_a_stored_image_may_be_is_drawn_and_a_dollar_is_a_dollar(
    tmp_path: Path, write_image
) -> None:
    image = np.zeros((20, 24, 3), np.uint8)
    image[4:16, 4:16] = (90, 40, 120)
    panels = Figure().subplots(3)
    _draw_column(panels, Cell(write_image(tmp_path / "1.bmp", image), r"$\x$", "train", 0, "$^$"), Recipe(size=40))
    assert [panel.get_images()[0].get_array().shape[:2] for panel in panels] == [(20, 24), (33, 33), (40, 40)]
    assert not panels[0].title.get_parse_math()


@pytest.mark.parametrize("name", ["sheet.jpg", "sheet", "folder.png"])
def test_a_name_that_is_no_png_s_is_refused_before_anything_is_drawn(
    name: str, synthetic_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "folder.png").mkdir()
    argv = ["build_shards", "preview", "--data", str(synthetic_data), "--out", str(tmp_path / name)]
    monkeypatch.setattr("sys.argv", argv)
    with pytest.raises(UserError, match=rf"--out .*{name}: must be a file, called \.png"):
        cli.main()
    assert [path.name for path in tmp_path.iterdir()] == ["folder.png"]
