"""Balanced sampling: an epoch with as many draws of each class, or of each subject."""

from collections.abc import Hashable, Sequence

import numpy as np

from contract.errors import UserError
from contract.manifest import Manifest
from contract.shard_reader import SplitReader
from train.batch_plan import Positions, epoch_order


def sampled_order(reader: SplitReader, manifest: Manifest, how: str, seed: int, epoch: int) -> Positions:
    """The positions of one epoch, as many as the split has samples, in a random order from ``(seed, epoch)``.

    ``plain`` is a permutation. ``class`` and ``subject`` give each class, or each person, an equal share; their samples
    come in permutations, one after the other, so that none comes a second time before all have come once.
    """
    if how == "plain":
        return epoch_order(len(reader), seed, epoch)
    people = [manifest.identity(subject) for subject in reader.subjects] if how == "subject" else []
    groups: Sequence[Hashable] = people or reader.labels.tolist()
    if None in groups:
        raise UserError(f"--sampling subject: sample {reader.samples[groups.index(None)].key!r} has no subject")
    return balanced_order(groups, np.random.default_rng([seed, epoch]))


def balanced_order(groups: Sequence[Hashable], rng: np.random.Generator) -> Positions:
    """``len(groups)`` positions with equal numbers of each group, the remainder to groups drawn by chance."""
    members: dict[Hashable, list[int]] = {}
    for position, group in enumerate(groups):
        members.setdefault(group, []).append(position)
    share, left = divmod(len(groups), len(members))
    more = set(rng.permutation(len(members))[:left].tolist())
    drawn = [_cycled(np.array(m), share + (k in more), rng) for k, m in enumerate(members.values())]
    return rng.permutation(np.concatenate(drawn))


def _cycled(members: Positions, n: int, rng: np.random.Generator) -> Positions:
    rounds = -(-n // len(members))
    return np.concatenate([rng.permutation(members) for _ in range(rounds)])[:n]
