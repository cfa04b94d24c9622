"""Every score of a report with its two 95 % intervals: people drawn anew (clustered), and images beside it."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from contract.bootstrap import (
    IMAGES,
    PEOPLE,
    RESAMPLES,
    Interval,
    Weights,
    percentile_interval,
    ratio,
    resamples,
    weighted_confusion,
    weighted_f1,
    weighted_ranks,
)
from contract.calibration import BINS, bin_of
from evaluate.metrics import NAMES, Labels, Probability, score
from evaluate.predictions import decide
from evaluate.report_record import Estimate, Scores


def score_with_intervals(
    labels: Labels, probability: Probability, threshold: float, people: Sequence[str] | None, number: int = RESAMPLES
) -> Scores:
    """Every score with its clustered and its image-level interval, from ``number`` resamples.

    ``people`` names the person of each cell, ``None`` where they are unknown. With fewer than two there is nothing to
    draw anew, and the clustered intervals are ``None``.
    """

    def intervals(stream: int) -> dict[str, Interval | None]:
        parts = [
            weighted_scores(labels, probability, threshold, weights)
            for weights in resamples(people, len(labels), stream, number)
        ]
        return {n: percentile_interval(np.concatenate([p[n] for p in parts])) if parts else None for n in NAMES}

    clustered, by_image, values = intervals(PEOPLE), intervals(IMAGES), score(labels, probability, threshold)
    return Scores(**{name: Estimate(values[name], clustered[name], by_image[name]) for name in NAMES})


def weighted_scores(
    labels: Labels, probability: Probability, threshold: float, weights: Weights
) -> dict[str, NDArray[np.float64]]:
    """Every score of ``NAMES`` for each row of ``weights`` ``[B, N]``: float64 ``[B]``, NaN where undefined."""
    blast, called = labels == 1, decide(probability, threshold) == 1
    tp, fp, fn, tn = weighted_confusion(blast, called, weights)
    n = weights.sum(axis=1)
    sensitivity, specificity = ratio(tp, tp + fn), ratio(tn, tn + fp)
    auroc, auprc = weighted_ranks(blast, probability, weights)
    return {
        "accuracy": (tp + tn) / n,
        "balanced_accuracy": (sensitivity + specificity) / 2,
        "sensitivity": sensitivity,
        "specificity": specificity,
        "ppv": ratio(tp, tp + fp),
        "npv": ratio(tn, tn + fn),
        "f1": ratio(2 * tp, 2 * tp + fp + fn),
        "f1_weighted": weighted_f1(tp, fp, fn, tn),
        "mcc": ratio(tp * tn - fp * fn, np.sqrt((tp + fp) * (tp + fn) * (tn + fp) * (tn + fn))),
        "auroc": auroc,
        "auprc": auprc,
        "brier": weights @ np.square(probability.astype(np.float64) - labels) / n,
        "ece": _calibration_error(labels, probability, weights) / n,
    }


def _calibration_error(labels: Labels, probability: Probability, weights: Weights) -> NDArray[np.float64]:
    """Sum over bins of |sum of weight x (probability - label)|: ECE times n."""
    member = np.eye(BINS)[bin_of(probability)]
    return np.abs(weights @ (member * (probability.astype(np.float64) - labels)[:, None])).sum(axis=1)
