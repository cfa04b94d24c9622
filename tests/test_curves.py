"""The pictures of accuracy: written, readable, not blank, and the same bytes each time."""

import itertools
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from matplotlib.figure import Figure

from train.curves import COLOURS, _draw_curves, draw_comparison, draw_run
from train.history import Epoch
from train.resnet import ARCHITECTURES


def history(epochs: int, start: float) -> list[Epoch]:
    return [
        Epoch(e, 0.5, start + 0.01 * e, 0.6, start + 0.005 * e, 0.9, 0.8, 0.1, 40, 1.0, 100.0)
        for e in range(1, epochs + 1)
    ]


def pixels_of(path: Path) -> np.ndarray:
    """The PNG as int RGB."""
    image = cv2.imdecode(np.frombuffer(path.read_bytes(), np.uint8), cv2.IMREAD_COLOR)
    assert image is not None
    return image[:, :, ::-1].astype(int)


def has_colour(pixels: np.ndarray, colour: str) -> bool:
    """A solid line of the colour: dashed ones are see-through."""
    wanted = [int(colour[i : i + 2], 16) for i in (1, 3, 5)]
    return bool((np.abs(pixels - wanted).max(axis=2) <= 2).sum() > 100)


@pytest.mark.parametrize("epochs", [1, 2, 30])
def test_picture_of_a_run_shows_its_curves(tmp_path: Path, epochs: int) -> None:
    path = tmp_path / "folder" / "accuracy.png"
    draw_run(history(epochs, 0.5), path, "resnet18", "synthetic")
    pixels = pixels_of(path)
    assert path.read_bytes().startswith(b"\x89PNG")
    assert pixels.shape == (750, 1200, 3)  # 8 x 5 inches at 150 dpi
    assert has_colour(pixels, COLOURS["resnet18"])
    assert not has_colour(pixels, COLOURS["resnet50"])


def test_comparison_shows_every_network_in_its_own_colour(tmp_path: Path) -> None:
    path = tmp_path / "accuracy.png"
    histories = {arch: history(20, 0.4 + 0.1 * i) for i, arch in enumerate(ARCHITECTURES)}
    draw_comparison(histories, path, "synthetic")
    assert all(has_colour(pixels_of(path), COLOURS[arch]) for arch in ARCHITECTURES)
    assert all(a != b for a, b in itertools.combinations(COLOURS.values(), 2))


def test_second_drawing_has_the_same_bytes(tmp_path: Path) -> None:
    first, second = tmp_path / "first.png", tmp_path / "second.png"
    for path in (first, second):
        draw_run(history(5, 0.5), path, "resnet50", "synthetic")
    assert first.read_bytes() == second.read_bytes()


def test_other_accuracies_give_another_picture(tmp_path: Path) -> None:
    first, second = tmp_path / "first.png", tmp_path / "second.png"
    draw_run(history(5, 0.5), first, "resnet50", "synthetic")
    draw_run(history(5, 0.6), second, "resnet50", "synthetic")
    assert (pixels_of(first) != pixels_of(second)).any()


def test_curves_are_percent_of_the_training_and_of_the_testing_phase() -> None:
    axes, rows = Figure().subplots(), history(4, 0.5)
    _draw_curves(axes, "resnet18", rows)
    train, valid = axes.lines
    assert list(train.get_xdata()) == list(valid.get_xdata()) == [1, 2, 3, 4]
    assert list(train.get_ydata()) == pytest.approx([51, 52, 53, 54])
    assert list(valid.get_ydata()) == pytest.approx([50.5, 51, 51.5, 52])
    assert (train.get_linestyle(), valid.get_linestyle()) == ("--", "-")
    assert valid.get_label() == "resnet18 testing phase (valid, max 52.0)"


@pytest.mark.parametrize("epochs", [1, 2, 3])
def test_the_ticks_of_few_epochs_are_epochs(epochs: int) -> None:
    axes = Figure().subplots()
    _draw_curves(axes, "resnet18", history(epochs, 0.5))
    ticks = set(axes.get_xticks())
    assert set(range(1, epochs + 1)) <= ticks <= set(range(-1, epochs + 3))


def test_a_dollar_in_the_name_of_a_dataset_is_a_dollar(tmp_path: Path) -> None:
    draw_run(history(1, 0.5), tmp_path / "accuracy.png", "resnet18", r"cells for $\x$")
    assert pixels_of(tmp_path / "accuracy.png").shape == (750, 1200, 3)


def test_the_largest_accuracy_is_named_wherever_it_stands() -> None:
    axes, rows = Figure().subplots(), history(4, 0.5)
    _draw_curves(axes, "resnet18", [replace(row, valid_accuracy=1 - row.valid_accuracy) for row in rows])
    assert axes.lines[1].get_label() == "resnet18 testing phase (valid, max 49.5)"
