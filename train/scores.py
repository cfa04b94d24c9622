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


def score(logits: Tensor, labels: Tensor) -> Scores:
    """Score ``logits`` float ``[N, 2]`` against ``labels`` int64 ``[N]``, in float64.

    Of equal logits, which bfloat16 brings about, the first counts: normal. ``evaluate``, whose networks compute in
    float32, calls a blast what reaches the threshold. Another rule here could choose other epochs than the published.
    """
    logits, labels = logits.double().cpu(), labels.cpu()
    loss = functional.cross_entropy(logits, labels).item()
    if not math.isfinite(loss):
        return Scores(loss, math.nan, math.nan, math.nan)
    found, wanted = logits.argmax(1).numpy(), labels.numpy()
    both = len(torch.unique(labels)) == 2
    auroc = float(roc_auc_score(wanted, (logits[:, 1] - logits[:, 0]).numpy())) if both else math.nan
    f1 = float(f1_score(wanted, found, average="weighted", zero_division=0))  # of a class that is never predicted: 0
    return Scores(loss, float((found == wanted).mean()), auroc, f1)
