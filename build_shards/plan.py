"""Which cell goes into which shard, under which key: decided by the dataset alone, before anything is written."""

from collections.abc import Iterator
from dataclasses import dataclass

from build_shards.dataset import Cell, Dataset
from contract.errors import UserError

SAMPLES_PER_SHARD = 256


@dataclass(frozen=True)
class ShardPlan:
    """The cells of one shard, with their keys, in their order."""

    name: str
    split: str
    keyed_cells: tuple[tuple[str, Cell], ...]


def plan_shards(dataset: Dataset, multiple_of: int = 1) -> list[ShardPlan]:
    """Deal every split's cells over its shards; a split's number of shards divides by ``multiple_of``.

    Raises ``UserError`` when a split has fewer cells than shards.
    """
    splits = dict.fromkeys(cell.split for cell in dataset.cells)
    return [plan for split in splits for plan in _plan_split(dataset, split, multiple_of)]


def _plan_split(dataset: Dataset, split: str, multiple_of: int) -> Iterator[ShardPlan]:
    """Each class is dealt apart, in an order drawn from the source paths.

    So class proportions differ by at most one sample between shards, and neighbours in a shard are strangers.
    """
    cells = [(f"{split}-{i:06d}", c) for i, c in enumerate(c for c in dataset.cells if c.split == split)]
    shards = -(-len(cells) // (SAMPLES_PER_SHARD * multiple_of)) * multiple_of
    if shards > len(cells):
        raise UserError(f"--shards-multiple-of {multiple_of}: the split {split!r} has only {len(cells)} cells")
    dealt = sorted(cells, key=lambda item: (str(item[1].label), item[1].scatter))
    for number in range(shards):
        members = sorted(dealt[number::shards], key=lambda item: item[1].scatter)
        yield ShardPlan(f"{split}-{number:06d}.tar", split, tuple(members))
