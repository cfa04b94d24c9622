"""What is chosen on the validation split after training: the temperature, the threshold, and the metrics with both.

Three numbers only, on all of the split; the card says that they were chosen there.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score

from contract.bootstrap import IMAGES, PEOPLE, Interval, percentile_interval, resamples, weighted_ranks, weighted_share
from contract.calibration import calibration_error
from contract.errors import UserError
from contract.interval import wilson_interval

Logits = NDArray[np.float32]  # [N, 2]
Labels = NDArray[np.int64]  # [N], 0 or 1
TEMPERATURES = (0.05, 20.0)  # outside, a fit says that there is nothing to fit, not how to


@dataclass(frozen=True)
class OperatingPoint:
    """Where the threshold is to lie."""

    name: str  # "default 0.5", "balanced", "sensitivity 0.95"
    sensitivity: float | None = None


def read_operating_point(text: str) -> OperatingPoint:
    """``default``, ``balanced``, or a sensitivity between 0 and 1; raises ``UserError`` for anything else."""
    if text == "default":
        return OperatingPoint("default 0.5")
    if text == "balanced":
        return OperatingPoint("balanced")
    try:
        sensitivity = float(text)
    except ValueError:
        sensitivity = float("nan")
    if not 0 < sensitivity <= 1:
        raise UserError(f"--operating-point {text}: must be default, balanced, or a sensitivity such as 0.95")
    return OperatingPoint(f"sensitivity {sensitivity:g}", sensitivity)


def fit_temperature(logits: Logits, labels: Labels) -> float:
    """The temperature of least mean cross-entropy (Guo et al. 2017, arXiv:1706.04599, section 4.2).

    The loss is convex in the inverse temperature, so its slope is bisected. Where none within ``TEMPERATURES`` is the
    best (every cell is told rightly, or they are told no better than by chance), there is nothing to fit: 1.
    """
    margin = logits[:, 1].astype(np.float64) - logits[:, 0]

    def slope(inverse: float) -> float:
        return float(((probabilities(logits, 1 / inverse) - labels) * margin).mean())

    low, high = 1 / TEMPERATURES[1], 1 / TEMPERATURES[0]
    if not slope(low) < 0 < slope(high):
        return 1.0
    for _ in range(100):
        middle = (low + high) / 2
        low, high = (middle, high) if slope(middle) < 0 else (low, middle)
    return 2 / (low + high)


def probabilities(logits: Logits, temperature: float) -> NDArray[np.float64]:
    """Calibrated probability of label 1, float64 ``[N]``."""
    margin = (logits[:, 1].astype(np.float64) - logits[:, 0]) / temperature
    return np.exp(-np.logaddexp(0, -margin))


def choose_threshold(probability: NDArray[np.float64], labels: Labels, point: OperatingPoint) -> float:
    """The threshold of an operating point, half way between two probabilities so that rounding moves no cell over it.

    Where ``evaluate`` decides, probabilities are float32: two that are one number there have no threshold between them.
    "balanced" has the largest mean of sensitivity and specificity, and of equals the one nearest to 0.5; a sensitivity
    has the largest threshold that reaches it. Raises ``UserError`` where a class is absent, so that neither exists, and
    where no threshold reaches the sensitivity: a blast's probability is zero, or a normal cell's among them the same.
    """
    if point.name == "default 0.5":
        return 0.5
    if len(np.unique(labels)) < 2:
        raise UserError(f"--operating-point {point.name}: the validation split has one class only")
    edges = np.unique(np.concatenate([[0.0, 1.0], probability]))
    thresholds = (edges[1:] + edges[:-1]) / 2
    thresholds = thresholds[thresholds.astype(np.float32) > edges[:-1].astype(np.float32)]
    blasts, normals = np.sort(probability[labels == 1]), np.sort(probability[labels == 0])
    sensitivity = 1 - np.searchsorted(blasts, thresholds) / len(blasts)
    specificity = np.searchsorted(normals, thresholds) / len(normals)
    if point.sensitivity is not None:
        reached = thresholds[sensitivity >= point.sensitivity - 1e-12]
        if not len(reached):
            raise UserError(f"--operating-point {point.sensitivity:g}: no threshold on valid reaches that sensitivity")
        return float(reached.max())
    balanced = sensitivity + specificity
    best = thresholds[balanced >= balanced.max() - 1e-12]
    return float(best[np.abs(best - 0.5).argmin()])


@dataclass(frozen=True)
class People:
    """Whose each cell is."""

    of_cells: Sequence[str]
    known: bool  # ids of one person are joined (identities); else these are subject ids, and several may be one person


@dataclass(frozen=True)
class Scores:
    """Metrics of a file on the validation split, by name, and 95 % intervals of those that are shares, and of AUROC.

    ``NAME`` takes images for independent: Wilson's for a share, bootstrap for AUROC. ``NAME_identities`` draws people
    anew, ``NAME_subjects`` subject ids, where nothing more is known.
    """

    metrics: dict[str, float]
    intervals: dict[str, Interval]


def score(logits: Logits, labels: Labels, temperature: float, threshold: float, people: People | None = None) -> Scores:
    """Accuracy, sensitivity, specificity, AUROC, mean cross-entropy and expected calibration error.

    Those of an absent class are left out; so are intervals over ``people`` where they are ``None``.
    """
    probability, blast = probabilities(logits, temperature), labels == 1
    correct = (probability >= threshold) == blast
    among = {"accuracy": blast | True, "sensitivity": blast, "specificity": ~blast}
    among = {f"valid_{name}": cells for name, cells in among.items() if cells.any()}
    metrics = {name: float(correct[cells].mean()) for name, cells in among.items()}
    if len(np.unique(labels)) == 2:
        metrics["valid_auroc"] = float(roc_auc_score(labels, probability))
    scored = tuple(metrics)
    metrics["valid_loss"] = cross_entropy(logits, labels, temperature)
    metrics["valid_loss_uncalibrated"] = cross_entropy(logits, labels, 1.0)
    metrics["valid_calibration_error"] = calibration_error(labels, probability)
    metrics["valid_calibration_error_uncalibrated"] = calibration_error(labels, probabilities(logits, 1.0))

    def drawn_anew(name: str, stream: int) -> Interval | None:
        parts = [
            weighted_share(correct, among[name], weights)
            if name in among
            else weighted_ranks(blast, probability, weights)[0]
            for weights in resamples(people.of_cells if people else None, len(labels), stream)
        ]
        return percentile_interval(np.concatenate(parts)) if parts else None

    found = {name: wilson_interval(int(correct[cells].sum()), int(cells.sum())) for name, cells in among.items()}
    by_bootstrap = {name: drawn_anew(name, IMAGES) for name in scored if name not in among}
    drawn = "identities" if people and people.known else "subjects"
    by_people = {f"{name}_{drawn}": drawn_anew(name, PEOPLE) for name in scored}
    found |= {name: interval for name, interval in (by_bootstrap | by_people).items() if interval is not None}
    return Scores(metrics, found)


def cross_entropy(logits: Logits, labels: Labels, temperature: float) -> float:
    """Mean of -ln of the probability of the true label."""
    margin = (logits[:, 1].astype(np.float64) - logits[:, 0]) / temperature
    return float(np.logaddexp(0, np.where(labels == 1, -margin, margin)).mean())
