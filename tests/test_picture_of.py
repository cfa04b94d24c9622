"""The pictures of a report: each is of its own cell and map, and the gallery shows the errors that the record names."""

from types import SimpleNamespace

import numpy as np
import pytest
from finished_report import record

from contract.recipe import Recipe
from evaluate import report
from evaluate.columns import Columns, picture_of
from evaluate.evidence import evidence_of, mean_evidence, paint_evidence
from evaluate.figures import draw_gallery
from evaluate.gallery import error_picture, split_picture
from evaluate.predictions import Cells, Predictions, decide
from evaluate.report_record import ConfidentError
from evaluate.split_prediction import SplitPrediction

RECIPES = {"resnet18": Recipe(size=40), "resnet50": Recipe(size=40, crop="box")}
TEMPERATURES = {"resnet18": 1.0, "resnet50": 3.0}
FIRST = {"resnet18": 10, "resnet50": 100}  # the grey level of the first image that a network's reader gives
POSITIONS = [2, 0, 1]


def _spoken(recipes: dict[str, Recipe] = RECIPES) -> dict[str, SplitPrediction]:
    rng, made = np.random.default_rng(0), {}
    for name, recipe in recipes.items():
        grey = FIRST[name]
        reader = SimpleNamespace(recipe=recipe, image=lambda i, grey=grey: np.full((8, 8, 3), grey + i, np.uint8))
        cam = rng.normal(size=(3, 2, 2, 2)).astype(np.float32)
        made[name] = SplitPrediction(SimpleNamespace(cells=None), cam, reader, POSITIONS)  # type: ignore[arg-type]
    return made


def _columns() -> Columns:
    networks = {n: SimpleNamespace(card=SimpleNamespace(temperature=t)) for n, t in TEMPERATURES.items()}
    return Columns((), networks, {}, None)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["resnet18", "resnet50", "ensemble"])
def test_a_picture_is_of_the_cell_and_its_own_map(name: str) -> None:
    spoken, columns = _spoken(), _columns()
    one = "resnet18" if name == "ensemble" else name  # the other network sees another part of the image
    for i, position in enumerate(POSITIONS):
        cell, seen = split_picture(picture_of(columns, spoken, name, "valid", i))
        assert (cell == FIRST[one] + position).all()
        evidence = mean_evidence([evidence_of(spoken[one].cam[i], TEMPERATURES[one])], 8)
        np.testing.assert_array_equal(seen, paint_evidence(cell, evidence))


@pytest.mark.parametrize(
    ("other", "members"),
    [
        (Recipe(size=48), ["resnet18", "resnet50"]),  # the same part of the image, stored larger
        (Recipe(size=40, window=144), ["resnet18"]),  # half of it
        (Recipe(size=40, crop="none"), ["resnet18"]),
    ],
)
def test_the_ensemble_s_map_is_the_mean_of_those_that_see_the_same_part(other: Recipe, members: list[str]) -> None:
    spoken = _spoken({"resnet18": Recipe(size=40), "resnet50": other})
    cell, seen = split_picture(picture_of(_columns(), spoken, "ensemble", "valid", 0))
    parts = [evidence_of(spoken[name].cam[0], TEMPERATURES[name]) for name in members]
    assert (cell == FIRST["resnet18"] + POSITIONS[0]).all()
    np.testing.assert_array_equal(seen, paint_evidence(cell, mean_evidence(parts, 8)))


@pytest.mark.parametrize("name", ["resnet18", "baseline"])
def test_a_drawn_error_is_the_cell_and_beside_it_the_map_where_there_is_one(name: str) -> None:
    cell = np.full((33, 33, 3), 90, np.uint8)
    png = error_picture(cell, None if name == "baseline" else np.ones((33, 33), np.float32))
    assert bool((split_picture(png)[1] == 255).all()) == (name == "baseline")
    error = ConfidentError("1.png", "valid-000001", "1.bmp", None, 0, 1, 0.9)
    drawn = draw_gallery(name, (error,), ("normal", "blast"), {"1.png": png}).axes[0].images[0].get_array()
    assert (drawn[:, :33] == cell).all()
    assert drawn.shape[1] == (33 if name == "baseline" else 66)


def test_the_gallery_shows_the_errors_that_the_record_names(monkeypatch: pytest.MonkeyPatch) -> None:
    names = ("a", "b", "c", "d")
    p = np.array([0.6, 0.9, 0.1, 0.95], np.float32)
    found = Predictions(Cells(names, names, (None,) * 4, (None,) * 4, (0, 1, 1, 0)), None, p, p, decide(p, 0.5))
    monkeypatch.setattr(report, "picture_of", lambda *given: f"cell {given[-1]}".encode())
    files = report._gallery(None, {}, record(), {"resnet18": found})  # type: ignore[arg-type]
    wanted = {1: 3, 2: 2, 3: 0}  # by confidence: 0.95, 0.9, 0.6
    assert files == {f"gallery_resnet18_{rank:02d}.png": f"cell {i}".encode() for rank, i in wanted.items()}
