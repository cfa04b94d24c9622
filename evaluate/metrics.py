"""Numbers that say how good a network is on a labelled split. Label 1 (blast) is the positive class."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import confusion_matrix, f1_score, precision_score, recall_score, roc_auc_score

Z95 = 1.959963984540054  # two-sided 95 % quantile of the normal distribution


@dataclass(frozen=True)
class Metrics:
    """Scores of one network on one split; ``None`` where a score is undefined (a class is absent)."""

    n: int
    accuracy: float
    accuracy_interval: tuple[float, float]  # 95 %, Wilson; of images, as if they were independent
    precision: float | None  # of those called blast, the share that is one
    sensitivity: float | None  # recall: of the blasts, the share that is found
    specificity: float | None  # of the normal cells, the share that is called normal
    f1: float | None  # of the positive class
    f1_weighted: float | None  # mean over both classes by their frequency, the challenge's score
    auroc: float | None
    confusion: tuple[tuple[int, int], tuple[int, int]]  # rows: true 0, 1; columns: predicted 0, 1


def score(labels: NDArray[np.int64], probability: NDArray[np.float32], threshold: float) -> Metrics:
    """Compare labels int64 ``[N]`` with probabilities of label 1, float ``[N]``; computed with scikit-learn."""
    predicted = (probability >= threshold).astype(np.int64)
    table = confusion_matrix(labels, predicted, labels=[0, 1])
    correct, n = int(np.trace(table)), len(labels)
    both = len(np.unique(labels)) == 2
    return Metrics(
        n=n,
        accuracy=correct / n,
        accuracy_interval=wilson_interval(correct, n),
        precision=float(precision_score(labels, predicted)) if predicted.any() else None,
        sensitivity=float(recall_score(labels, predicted)) if (labels == 1).any() else None,
        specificity=float(recall_score(labels, predicted, pos_label=0)) if (labels == 0).any() else None,
        f1=float(f1_score(labels, predicted)) if (labels == 1).any() or predicted.any() else None,
        f1_weighted=float(f1_score(labels, predicted, average="weighted")) if both else None,
        auroc=float(roc_auc_score(labels, probability)) if both else None,
        confusion=((int(table[0, 0]), int(table[0, 1])), (int(table[1, 0]), int(table[1, 1]))),
    )


def wilson_interval(successes: int, n: int) -> tuple[float, float]:
    """95 % interval of a share (Wilson 1927, J. Am. Stat. Assoc. 22:209); ``n`` must be above zero."""
    share, z2 = successes / n, Z95**2
    centre = (share + z2 / (2 * n)) / (1 + z2 / n)
    half = Z95 * math.sqrt(share * (1 - share) / n + z2 / (4 * n * n)) / (1 + z2 / n)
    return max(0.0, centre - half), min(1.0, centre + half)
