"""Ways to look at a cell again: all eight orientations, plain means of new statistics, and whose weights each takes."""

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn

from benchmarks.ablation import look_once
from benchmarks.at_test_time import WAYS, look_from_all_sides, look_with_their_statistics
from train.normalise import Normalise

PLAIN = Normalise((0.0, 0.0, 0.0), (1.0, 1.0, 1.0))


def test_the_eight_orientations_are_all_looked_at() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(3 * 25, 2))
    normalise = Normalise((0.0, 0.0, 0.0), (255.0, 255.0, 255.0))
    images = torch.randint(1, 256, (4, 5, 5, 3), dtype=torch.uint8)
    none: Any = None  # this way measures nothing of the judged cells
    look = look_from_all_sides(model, normalise, none)
    with torch.no_grad():
        for turned in (images.flip(1), images.flip(2), torch.rot90(images, 1, (1, 2)), images.transpose(1, 2)):
            torch.testing.assert_close(look(turned), look(images))


def test_statistics_of_the_judged_cells_are_their_plain_mean_over_batches() -> None:
    norm = nn.BatchNorm2d(3)
    nn.init.constant_(norm.running_mean, 9.0)
    model = nn.Sequential(norm, nn.Flatten(), nn.Linear(12, 2))
    batches: Any = [
        SimpleNamespace(images=torch.full((4, 2, 2, 3), value, dtype=torch.uint8)) for value in (10, 20, 60)
    ]
    with torch.no_grad():
        look_with_their_statistics(model, PLAIN, batches)
    assert norm.running_mean.tolist() == pytest.approx([30.0] * 3)
    assert not model.training


def test_each_way_is_of_the_weights_that_it_names() -> None:
    weights = {name: weights for name, (weights, _) in WAYS.items()}
    assert weights.pop("last weights, not averaged") == "model"
    assert set(weights.values()) == {"ema"}


def test_each_way_is_the_look_that_it_names() -> None:
    assert [way for _, way in WAYS.values()] == [look_once, look_once, look_from_all_sides, look_with_their_statistics]
