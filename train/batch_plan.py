"""Which samples stand in which batch of which rank: numbers alone, no files and no torch."""

import numpy as np
from numpy.typing import NDArray

from contract.errors import UserError

Positions = NDArray[np.int64]  # of samples in the split; PAD where there is none
PAD = -1


def epoch_order(samples: int, seed: int, epoch: int) -> Positions:
    """One permutation of all positions, drawn from ``(seed, epoch)`` alone."""
    return np.random.default_rng([seed, epoch]).permutation(samples)


def train_parts(order: Positions, batch_size: int, rank: int, ranks: int) -> list[Positions]:
    """A rank's part of every global batch; over the ranks each position of ``order`` comes exactly once.

    The parts of a batch differ by at most one sample. Every rank has the same number of parts: where the last
    batch holds fewer samples than there are ranks, a rank without one gets a single ``PAD``.
    """
    parts = []
    for batch in _global_batches(order, batch_size, ranks):
        part = batch[len(batch) * rank // ranks : len(batch) * (rank + 1) // ranks]
        parts.append(part if len(part) else np.array([PAD]))
    return parts


def valid_parts(order: Positions, batch_size: int, rank: int, ranks: int) -> list[Positions]:
    """A rank's part of every global batch, as long on every rank: ``PAD`` fills the last ones up."""
    parts = []
    for batch in _global_batches(order, batch_size, ranks):
        length = -(-len(batch) // ranks)
        padded = np.pad(batch, (0, length * ranks - len(batch)), constant_values=PAD)
        parts.append(padded[rank * length : (rank + 1) * length])
    return parts


def _global_batches(order: Positions, batch_size: int, ranks: int) -> list[Positions]:
    if batch_size < ranks:
        raise UserError(f"--batch-size {batch_size}: must be at least the number of processes, {ranks}")
    return [order[at : at + batch_size] for at in range(0, len(order), batch_size)]
