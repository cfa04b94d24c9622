"""The ensemble of a demonstration and that of a report: one rule, the same digits."""

import numpy as np
import pytest

from evaluate.classify import Opinion, _ensemble
from evaluate.ensemble import average, ensemble_threshold, mean_probability
from evaluate.predictions import Cells, Predictions

CELL = Cells(("a",), ("a",), (None,), (None,), (None,))


def _in_report(probability: list[float], threshold: float) -> tuple[float, int]:
    given = [np.array([p], np.float32) for p in probability]
    said = average([Predictions(CELL, None, p, p, np.array([0])) for p in given], threshold)
    return float(said.probability[0]), int(said.verdicts[0])


def _in_demo(probability: list[float], thresholds: list[float]) -> tuple[float, int]:
    given = [
        Opinion(0, "", float(np.float32(p)), t, 1.0, None, None) for p, t in zip(probability, thresholds, strict=True)
    ]
    said = _ensemble(given, ("normal", "blast"))
    return said.probability, said.label


@pytest.mark.parametrize("away", [0.0, 1e-12, -1e-12, 1e-3, -1e-3], ids=str)
def test_demo_and_report_say_the_same_of_every_cell_and_at_ties(away: float) -> None:
    rng = np.random.default_rng(0)
    for probability in rng.random((300, 3)).astype(np.float32).astype(np.float64).tolist():
        thresholds = [p + away for p in probability]  # the mean probability lies on the threshold, or beside it
        threshold = ensemble_threshold(thresholds)
        assert _in_demo(probability, thresholds) == _in_report(probability, threshold), probability


def test_the_ensemble_takes_as_long_as_its_members() -> None:
    members = [Opinion(0, "normal", 0.1, 0.5, milliseconds, None, None) for milliseconds in (2.0, 3.0, 4.0)]
    assert _ensemble(members, ("normal", "blast")).milliseconds == 9


def test_the_mean_is_that_of_double_precision() -> None:
    members = [np.array([0.1, 1.0], np.float32), np.array([0.2, 1.0], np.float32), np.array([1e-9, 0.0], np.float32)]
    exact = sum(member.astype(np.float64) for member in members) / 3
    assert mean_probability(members).tolist() == exact.astype(np.float32).tolist()
