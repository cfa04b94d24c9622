"""What is chosen on the validation split after training: the temperature, the threshold, and the metrics with both.

Three numbers only, on all of the split; the card says that they were chosen there.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score

from contract.errors import UserError
from contract.interval import wilson_interval

Logits = NDArray[np.float32]  # [N, 2]
Labels = NDArray[np.int64]  # [N], 0 or 1
TEMPERATURES = (0.05, 20.0)  # outside, a fit says that there is nothing to fit, not how to
BINS = 15  # of the expected calibration error


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

    The loss is convex in the inverse temperature, so its slope is bisected; the result stays within ``TEMPERATURES``.
    """
    margin = logits[:, 1].astype(np.float64) - logits[:, 0]

    def slope(inverse: float) -> float:
        return float(((probabilities(logits, 1 / inverse) - labels) * margin).mean())

    low, high = 1 / TEMPERATURES[1], 1 / TEMPERATURES[0]
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

    "balanced" has the largest mean of sensitivity and specificity, and of equals the one nearest to 0.5; a sensitivity
    has the largest threshold that reaches it. Raises ``UserError`` where a class is absent, so that neither exists.
    """
    if point.name == "default 0.5":
        return 0.5
    if len(np.unique(labels)) < 2:
        raise UserError(f"--operating-point {point.name}: the validation split has one class only")
    edges = np.unique(np.concatenate([[0.0, 1.0], probability]))
    thresholds = (edges[1:] + edges[:-1]) / 2
    blasts, normals = np.sort(probability[labels == 1]), np.sort(probability[labels == 0])
    sensitivity = 1 - np.searchsorted(blasts, thresholds) / len(blasts)
    specificity = np.searchsorted(normals, thresholds) / len(normals)
    if point.sensitivity is not None:
        return float(thresholds[sensitivity >= point.sensitivity - 1e-12].max())
    balanced = sensitivity + specificity
    best = thresholds[balanced >= balanced.max() - 1e-12]
    return float(best[np.abs(best - 0.5).argmin()])


@dataclass(frozen=True)
class Scores:
    """Metrics of a file on the validation split, by name, and 95 % intervals (Wilson) of those that are shares."""

    metrics: dict[str, float]
    intervals: dict[str, tuple[float, float]]


def score(logits: Logits, labels: Labels, temperature: float, threshold: float) -> Scores:
    """Accuracy, sensitivity, specificity, AUROC, mean cross-entropy and expected calibration error (Guo et al.).

    Those of an absent class are left out.
    """
    probability = probabilities(logits, temperature)
    correct = (probability >= threshold) == (labels == 1)
    shares = {"accuracy": correct, "sensitivity": correct[labels == 1], "specificity": correct[labels == 0]}
    shares = {f"valid_{name}": right for name, right in shares.items() if len(right)}
    metrics = {name: float(right.mean()) for name, right in shares.items()}
    if len(np.unique(labels)) == 2:
        metrics["valid_auroc"] = float(roc_auc_score(labels, probability))
    metrics["valid_loss"] = cross_entropy(logits, labels, temperature)
    metrics["valid_loss_uncalibrated"] = cross_entropy(logits, labels, 1.0)
    metrics["valid_calibration_error"] = calibration_error(probability, labels)
    metrics["valid_calibration_error_uncalibrated"] = calibration_error(probabilities(logits, 1.0), labels)
    return Scores(metrics, {name: wilson_interval(int(right.sum()), len(right)) for name, right in shares.items()})


def cross_entropy(logits: Logits, labels: Labels, temperature: float) -> float:
    """Mean of -ln of the probability of the true label."""
    margin = (logits[:, 1].astype(np.float64) - logits[:, 0]) / temperature
    return float(np.logaddexp(0, np.where(labels == 1, -margin, margin)).mean())


def calibration_error(probability: NDArray[np.float64], labels: Labels) -> float:
    """|mean probability of label 1 - share of label 1|, over ``BINS`` equal bins of it, weighted by their cells."""
    bins = np.minimum((probability * BINS).astype(int), BINS - 1)
    gaps = np.bincount(bins, weights=probability - labels, minlength=BINS)
    return float(np.abs(gaps).sum() / len(labels))
