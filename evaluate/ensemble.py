"""The ensemble: the mean of its members' calibrated probabilities."""

from collections.abc import Sequence

import numpy as np

from contract.errors import UserError
from evaluate.metrics import decide
from evaluate.predictions import Predictions


def ensemble_threshold(thresholds: Sequence[float]) -> float:
    """The mean of the members' thresholds: nothing is chosen on the cells that are scored."""
    return float(np.mean(thresholds))


def average(members: Sequence[Predictions], threshold: float) -> Predictions:
    """The ensemble's predictions; raises ``UserError`` where the members did not see the same cells."""
    first = members[0]
    if any(member.cells.keys != first.cells.keys for member in members):
        raise UserError("ensemble: the networks did not predict the same cells in the same order")
    probability = _mean([member.probability for member in members])
    return Predictions(
        cells=first.cells,
        logits=None,
        uncalibrated=_mean([member.uncalibrated for member in members]),
        probability=probability,
        verdicts=decide(probability, threshold),
    )


def _mean(values: Sequence[np.ndarray]) -> np.ndarray:
    return np.mean(np.stack(values).astype(np.float64), axis=0).astype(np.float32)
