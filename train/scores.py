"""What validation measures."""

import math
from dataclasses import dataclass

import torch
from sklearn.metrics import f1_score, roc_auc_score
from torch import Tensor
from torch.nn import functional


@dataclass(frozen=True)
class Scores:
    """Of one split; shares of 0..1."""

    loss: float  # mean cross-entropy, without smoothing
    accuracy: float
    auroc: float  # NaN where the split has one class only
    f1: float  # of both classes, weighted by their numbers of samples


NO_SCORES = Scores(math.nan, math.nan, math.nan, math.nan)  # of a refit, which has learned the validation split


def called(logits: Tensor) -> Tensor:
    """The labels that ``logits`` ``[N, 2]`` speak for, int64 ``[N]``: equal ones for a blast.

    So does ``evaluate``, which calls a blast what reaches a probability of 0.5; bfloat16 logits are often equal.
    """
    return (logits[:, 1] >= logits[:, 0]).long()


def score(logits: Tensor, labels: Tensor) -> Scores:
    """Score ``logits`` float ``[N, 2]`` against ``labels`` int64 ``[N]``, in float64."""
    logits, labels = logits.double().cpu(), labels.cpu()
    loss = functional.cross_entropy(logits, labels).item()
    if not math.isfinite(loss):
        return Scores(loss, math.nan, math.nan, math.nan)
    found, wanted = called(logits).numpy(), labels.numpy()
    both = len(torch.unique(labels)) == 2
    auroc = float(roc_auc_score(wanted, (logits[:, 1] - logits[:, 0]).numpy())) if both else math.nan
    f1 = float(f1_score(wanted, found, average="weighted", zero_division=0))  # of a class that is never predicted: 0
    return Scores(loss, float((found == wanted).mean()), auroc, f1)
