"""Which shared cells join two subject ids into one person: two near-identical pairs, or one beyond chance."""

from pathlib import Path

import numpy as np

from build_shards.dataset import Cell
from build_shards.people import Link, find_links, join
from build_shards.twins import Chance, Match

# A dataset in which strangers look alike: in every other one of its kind a pair of them correlates by 0.87.
LOOSE = Chance(pairs=1000, mirrored_twins=0, highest=0.8, start=float(np.arctanh(0.58)), count=50, scale=0.15)


def links(*correlations: float) -> tuple[Link, ...]:
    """The links of ids A and B, which share a pair of cells of each correlation."""
    cells = [Cell(Path(f"{i}"), f"{i}", "train", 0, "AB"[i % 2]) for i in range(2 * len(correlations))]
    matches = [Match(2 * i, 2 * i + 1, correlation, 0, False) for i, correlation in enumerate(correlations)]
    return find_links(cells, matches, LOOSE, ())


def test_two_pairs_that_one_alone_could_be_chance_join_two_ids() -> None:
    assert LOOSE.expected(0.87) > 0.05
    assert join(links(0.87, 0.87)) == (("A", "B"),)


def test_one_pair_joins_two_ids_only_where_chance_hardly_gives_one() -> None:
    assert 0.05 < LOOSE.expected(0.87) < 1
    assert join(links(0.87)) == ()
    assert join(links(0.99)) == (("A", "B"),)


def test_a_link_says_how_alike_its_pairs_are_and_how_often_chance_gives_the_best_of_them() -> None:
    (link,) = links(0.87, 0.99, 0.9, 0.92)
    assert (link.stated, link.identical, link.near) == (0, 0, 4)
    assert (link.lowest, link.median, link.highest) == (0.87, 0.91, 0.99)
    assert link.chance == LOOSE.expected(0.99) < LOOSE.expected(0.87)
