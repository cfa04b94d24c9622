"""The ensemble: the mean of its members' calibrated probabilities, in reports and in demonstrations alike."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from contract.errors import UserError
from evaluate.predictions import Predictions, decide


def ensemble_threshold(thresholds: Sequence[float]) -> float:
    """The mean of the members' thresholds: nothing is chosen on the cells that are scored."""
    return float(np.mean(thresholds))


def mean_probability(members: Sequence[NDArray[np.float32]]) -> NDArray[np.float32]:
    """The mean of the members' probabilities ``[N]``, summed in double precision and rounded once."""
    return np.mean(np.stack(members).astype(np.float64), axis=0).astype(np.float32)


def average(members: Sequence[Predictions], threshold: float) -> Predictions:
    """The ensemble's predictions; raises ``UserError`` where the members did not see the same cells."""
    first = members[0]
    if any(member.cells.keys != first.cells.keys for member in members):
        raise UserError("ensemble: the networks did not predict the same cells in the same order")
    probability = mean_probability([member.probability for member in members])
    return Predictions(
        cells=first.cells,
        logits=None,
        uncalibrated=mean_probability([member.uncalibrated for member in members]),
        probability=probability,
        verdicts=decide(probability, threshold),
    )
