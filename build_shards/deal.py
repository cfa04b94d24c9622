"""Deal groups of cells (people, or single images) over parts, so that every part has its share of cells and classes.

A partition problem; solved by giving each group to the part that lacks most, and then by moves and swaps of
groups while they bring the parts nearer to their shares, from several starting orders. The distance is the sum over
parts of the squared differences between a part's shares (of normal cells, blasts, all cells) and the share asked for.
A part whose normal cells all come from one person measures that person: so each gets several groups of each class.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

STARTS = 12  # orders that are tried
LEAST = 3  # groups of each class that every part gets, where its share of the groups, rounded up, is so many
SLACK = 0.01  # a part may miss its shares by so much more than in the best solution: else every seed finds that one
FEW = 400  # groups; more of them are dealt once, and lie near their shares anyway

Counts = tuple[int, int]  # normal cells, blasts


def deal_cells(
    groups: Sequence[str], labels: Sequence[int | None], shares: Sequence[float], seed: int
) -> dict[str, int]:
    """``deal`` for the cells themselves: the group and the label of each."""
    counts: dict[str, list[int]] = {}
    for group, label in zip(groups, labels, strict=True):
        counts.setdefault(group, [0, 0])[int(label or 0)] += 1
    return deal({group: (normal, blast) for group, (normal, blast) in counts.items()}, shares, seed)


def deal(groups: Mapping[str, Counts], shares: Sequence[float], seed: int) -> dict[str, int]:
    """The part, by position in ``shares`` (which sum to 1), of every group.

    Every part gets a group of each class where there are enough, and up to ``LEAST``. The result depends on the names,
    the counts, ``shares`` and ``seed``, never on an order; another seed finds another solution, where there is
    one about as near to the shares (``SLACK``).
    """
    names = sorted(groups)
    counts = np.array([groups[name] for name in names], np.float64).reshape(-1, 2)
    weights = np.column_stack([counts, counts.sum(1)])
    weights /= np.maximum(weights.sum(0), 1)  # of every class, and of all cells
    wanted = np.repeat(np.array(shares, np.float64)[:, None], 3, axis=1) * (weights.sum(0) > 0)
    least = _least(np.count_nonzero(counts, axis=0), np.array(shares, np.float64))
    rng = np.random.default_rng(seed)
    if len(names) > FEW:
        order = rng.permutation(len(names))
        by_size = order[np.argsort(-counts.sum(1)[order], kind="stable")]
        return dict(zip(names, _in_turn(weights, wanted, least, by_size).tolist(), strict=True))
    found = []
    for _ in range(STARTS):
        parts = _in_turn(weights, wanted, least, rng.permutation(len(names)))
        parts = _swapped(weights, wanted, least, parts)
        found.append((float(np.abs(_excess(weights, wanted, parts)).max()), parts))
    nearest = min(worst for worst, _ in found)
    chosen = next(parts for worst, parts in found if worst <= nearest + SLACK)
    return dict(zip(names, chosen.tolist(), strict=True))


def _least(groups: NDArray, shares: NDArray) -> NDArray:
    """How many groups of a class a part gets at least: ``[part, class]``."""
    fair = shares[:, None] * groups
    least = np.minimum(np.ceil(np.round(fair, 9)), LEAST).astype(np.int64)
    modest = np.maximum(np.minimum(np.floor(fair), LEAST), 1).astype(np.int64)
    return np.where(least.sum(0) <= groups, least, modest)


def _excess(weights: NDArray, wanted: NDArray, parts: NDArray) -> NDArray:
    """What every part has too much (above 0) or too little of: ``[part, (normal, blast, all)]``."""
    have = np.zeros_like(wanted)
    np.add.at(have, parts, weights)
    return np.asarray(have - wanted)


def _in_turn(weights: NDArray, wanted: NDArray, least: NDArray, order: NDArray) -> NDArray:
    """Give each group, in ``order``, to the part it brings nearest to its share; no part may end below ``least``."""
    excess = -wanted.copy()
    has = weights[:, :2] > 0
    left, held = has.sum(0), np.zeros((len(wanted), 2), np.int64)  # groups to come, groups in the parts, by class
    parts = np.zeros(len(weights), np.int64)
    for group in order:
        cost = excess @ weights[group]
        for cls in np.flatnonzero(has[group]):
            needed = np.maximum(least[:, cls] - held[:, cls], 0)
            if left[cls] <= needed.sum():
                cost = cost + 1e3 * (needed == 0)
        part = int(np.argmin(np.round(cost, 12)))
        parts[group] = part
        excess[part] += weights[group]
        held[part] += has[group]
        left -= has[group]
    return parts


def _swapped(weights: NDArray, wanted: NDArray, least: NDArray, parts: NDArray) -> NDArray:
    """Swap groups between parts, the best swap first, until none brings the parts nearer to their shares.

    An empty group in every part makes a move a swap. Swapping i and j changes the distance by
    2 (w_j - w_i) (e_i - e_j) + 2 |w_j - w_i|², with e the excess of the part that each lies in.
    """
    groups = np.vstack([weights, np.zeros_like(wanted)])
    parts = np.concatenate([parts, np.arange(len(wanted))])
    has = groups[:, :2] > 0
    difference = groups[None] - groups[:, None]
    size = 2 * (difference**2).sum(2)
    while True:
        excess = _excess(groups, wanted, parts)[parts]
        gain = 2 * (difference * (excess[:, None] - excess[None])).sum(2) + size
        holders = np.zeros((len(wanted), 2), np.int64)
        np.add.at(holders, parts, has)
        kept = has & (holders <= least)[parts]  # one that its part cannot spare goes for one of the same class only
        barred = (kept[:, None] & ~has[None]).any(2)
        gain[barred | barred.T | (parts[:, None] == parts[None])] = 0
        gain = np.round(gain, 12)
        first, second = np.unravel_index(int(np.argmin(gain)), gain.shape)
        if gain[first, second] >= 0:
            return parts[: len(weights)]
        parts[[first, second]] = parts[[second, first]]
