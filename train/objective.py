"""The loss of a batch: cross-entropy with soft targets."""

from collections.abc import Collection

import torch
from torch import Tensor
from torch.nn import functional

from contract.errors import UserError
from contract.manifest import Manifest


def targets_of(labels: Tensor, classes: int) -> Tensor:
    """One-hot float ``[N, classes]`` of int64 ``[N]``; a negative label, of a padding sample, has no target at all."""
    return (labels[:, None] == torch.arange(classes, device=labels.device)).float()


def cross_entropy(logits: Tensor, targets: Tensor, weights: Tensor | None, smoothing: float) -> Tensor:
    """Sum over the batch of the cross-entropy with ``targets`` float ``[N, classes]``, smoothed, weighted by class.

    Smoothing and weights are those of ``torch.nn.functional.cross_entropy``; here they meet mixed labels too.
    """
    return _terms(logits, targets, weights, smoothing).sum()


def sample_losses(logits: Tensor, targets: Tensor, weights: Tensor | None, smoothing: float) -> Tensor:
    """What each sample adds to ``cross_entropy``, float ``[N]``."""
    return _terms(logits, targets, weights, smoothing).sum(1)


def _terms(logits: Tensor, targets: Tensor, weights: Tensor | None, smoothing: float) -> Tensor:
    smooth = targets * (1 - smoothing) + targets.sum(1, keepdim=True) * (smoothing / targets.shape[1])
    weighted = smooth if weights is None else smooth * weights
    return -(weighted * functional.log_softmax(logits, dim=1))


def class_weights(manifest: Manifest, splits: Collection[str] = ("train",)) -> Tensor:
    """Inverse class frequency of the splits that are learned, float ``[2]`` with a mean of 1 over the samples."""
    shards = [shard for shard in manifest.shards if shard.split in splits]
    counts = [sum(shard.class_counts[label] for shard in shards) for label in (0, 1)]
    if 0 in counts:
        raise UserError(f"--class-weights: the training split has no {manifest.classes[counts.index(0)]} cells")
    return torch.tensor([sum(counts) / (2 * count) for count in counts])
