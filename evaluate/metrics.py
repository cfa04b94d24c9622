"""Numbers that say how good a network is on labelled cells. Label 1 (blast) is the positive class.

Computed with scikit-learn where it has them; ``None`` where a score is undefined.
"""

from dataclasses import fields

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import (
    accuracy_score,
    average_precision_score,
    balanced_accuracy_score,
    brier_score_loss,
    confusion_matrix,
    f1_score,
    matthews_corrcoef,
    precision_score,
    recall_score,
    roc_auc_score,
    roc_curve,
)

from contract.calibration import bin_of, calibration_error
from evaluate.predictions import decide
from evaluate.report_record import Bin, Reliability, Scores, ThresholdRow

Labels = NDArray[np.int64]
Probability = NDArray[np.float32]
NAMES = tuple(field.name for field in fields(Scores))
SENSITIVITIES = (0.9, 0.95)  # of the table of thresholds


def score(labels: Labels, probability: Probability, threshold: float) -> dict[str, float | None]:
    """Every score of ``NAMES`` from labels int64 ``[N]`` of 0 and 1 and probabilities of label 1, ``[N]``."""
    called = decide(probability, threshold)
    blasts, normals = bool((labels == 1).any()), bool((labels == 0).any())
    blasts_called, normals_called = bool((called == 1).any()), bool((called == 0).any())
    both = blasts and normals
    # scikit-learn gives 0 and a warning where a score is undefined: what the second column rules out is not asked for.
    found = {
        "accuracy": (accuracy_score, called, True),
        "balanced_accuracy": (balanced_accuracy_score, called, both),
        "sensitivity": (recall_score, called, blasts),
        "specificity": (lambda y, c: recall_score(y, c, pos_label=0), called, normals),
        "ppv": (precision_score, called, blasts_called),
        "npv": (lambda y, c: precision_score(y, c, pos_label=0), called, normals_called),
        "f1": (f1_score, called, blasts or blasts_called),
        "f1_weighted": (lambda y, c: f1_score(y, c, average="weighted"), called, both),
        "mcc": (matthews_corrcoef, called, both and blasts_called and normals_called),
        "auroc": (roc_auc_score, probability, both),
        "auprc": (average_precision_score, probability, both),
        "brier": (lambda y, p: brier_score_loss(y, p.astype(np.float64), pos_label=1), probability, True),
        "ece": (calibration_error, probability, True),
    }
    return {name: float(metric(labels, given)) if defined else None for name, (metric, given, defined) in found.items()}


def confusion(labels: Labels, called: Labels) -> tuple[tuple[int, int], tuple[int, int]]:
    """Counts; rows: true 0, 1; columns: called 0, 1."""
    (tn, fp), (fn, tp) = confusion_matrix(labels, called, labels=[0, 1]).tolist()
    return (tn, fp), (fn, tp)


def reliability(labels: Labels, probability: Probability) -> Reliability:
    """Brier score, ECE and the bins of a reliability diagram."""
    brier = brier_score_loss(labels, probability.astype(np.float64), pos_label=1)
    return Reliability(float(brier), calibration_error(labels, probability), _bins(labels, probability))


def threshold_table(labels: Labels, probability: Probability, operating: float) -> tuple[ThresholdRow, ...]:
    """What the network would do at 0.1, 0.2, ... 0.9, at its operating threshold, and at ``SENSITIVITIES``.

    At a sensitivity: the highest threshold that reaches it on these labels; left out where there are no blasts.
    """
    wanted = [(f"{tenth / 10}", tenth / 10) for tenth in range(1, 10)] + [("operating", operating)]
    if len(np.unique(labels)) == 2:
        _, reached, thresholds = roc_curve(labels, probability, drop_intermediate=False)
        for least in SENSITIVITIES:
            wanted.append(
                (f"sensitivity {least:.0%}".replace("%", " %"), float(thresholds[np.argmax(reached >= least)]))
            )
    return tuple(_threshold_row(name, value, labels, probability) for name, value in sorted(wanted, key=lambda w: w[1]))


def net_benefit(labels: Labels, probability: Probability, thresholds: NDArray[np.float64]) -> NDArray[np.float64]:
    """Net benefit at each threshold probability, of 0 to below 1: TP/n - FP/n * t/(1 - t).

    Vickers & Elkin 2006, Medical Decision Making 26:565.
    """
    called = probability[None] >= thresholds.astype(np.float32)[:, None]
    hits, alarms = (called & (labels == 1)).mean(axis=1), (called & (labels == 0)).mean(axis=1)
    return hits - alarms * thresholds / (1 - thresholds)


def _bins(labels: Labels, probability: Probability) -> tuple[Bin, ...]:
    place, values = bin_of(probability), probability.astype(np.float64)
    return tuple(
        Bin(int((place == i).sum()), float(values[place == i].mean()), float(labels[place == i].mean()))
        for i in np.unique(place)
    )


def _threshold_row(name: str, threshold: float, labels: Labels, probability: Probability) -> ThresholdRow:
    called = decide(probability, threshold)
    (tn, fp), (fn, tp) = confusion(labels, called)
    return ThresholdRow(
        name=name,
        threshold=threshold,
        called_blast=tp + fp,
        sensitivity=tp / (tp + fn) if tp + fn else None,
        specificity=tn / (tn + fp) if tn + fp else None,
        ppv=tp / (tp + fp) if tp + fp else None,
        npv=tn / (tn + fn) if tn + fn else None,
    )
