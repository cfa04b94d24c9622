"""Which shared cells join two subject ids into one person: two near-identical pairs, or one beyond chance."""

from pathlib import Path

import numpy as np

from build_shards.dataset import Cell
from build_shards.people import SURE, Link, find_links, join, name_people
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
    assert SURE < LOOSE.expected(0.92) < 0.2
    assert join(links(0.87)) == join(links(0.92)) == ()
    assert join(links(0.99)) == (("A", "B"),)


def test_a_link_says_how_alike_its_pairs_are_and_how_often_chance_gives_the_best_of_them() -> None:
    (link,) = links(0.87, 0.99, 0.9, 0.92)
    assert (link.stated, link.identical, link.near) == (0, 0, 4)
    assert (link.lowest, link.median, link.highest) == (0.87, 0.91, 0.99)
    assert link.chance == LOOSE.expected(0.99) < LOOSE.expected(0.87)


def test_a_table_alone_joins_two_ids() -> None:
    (link,) = find_links([], [], LOOSE, [("10", "2"), ("2", "10")])
    assert (link.first, link.second, link.stated, link.identical, link.near) == ("2", "10", 2, 0, 0)
    assert (link.lowest, link.median, link.highest, link.chance, link.joined) == (None, None, None, 0.0, True)


def test_what_a_table_states_is_no_matter_of_chance() -> None:
    cells = [Cell(Path(f"{i}"), f"{i}", "train", 0, "AB"[i]) for i in range(2)]
    (link,) = find_links(cells, [Match(0, 1, 0.87, 0, False)], LOOSE, [("A", "B")])
    assert (link.stated, link.near, link.chance, link.joined) == (1, 1, 0.0, True)


def test_identical_files_are_not_counted_as_near() -> None:
    cells = [Cell(Path(f"{i}"), f"{i}", "train", 0, "AB"[i % 2]) for i in range(4)]
    (link,) = find_links(cells, [Match(0, 1, 1.0, 0, True), Match(2, 3, 0.9, 0, False)], LOOSE, ())
    assert (link.identical, link.near, link.chance, link.joined) == (1, 1, 0.0, True)


def test_cells_of_one_id_or_of_none_link_nobody() -> None:
    cells = [Cell(Path(f"{i}"), f"{i}", "train", 0, subject) for i, subject in enumerate(("A", "A", None))]
    assert find_links(cells, [Match(0, 1, 0.99, 0, False), Match(0, 2, 0.99, 0, False)], LOOSE, ()) == ()


def test_groups_that_meet_become_one_person_and_ids_stand_in_natural_order() -> None:
    found = find_links([], [], LOOSE, [("H2", "H10"), ("9", "10"), ("9", "H10"), ("3", "20"), ("100", "20")])
    assert [(link.first, link.second) for link in found] == [
        *(("3", "20"), ("9", "10"), ("9", "H10"), ("20", "100"), ("H2", "H10")),
    ]
    assert join(found) == (("3", "20", "100"), ("9", "10", "H2", "H10"))
    assert name_people(join(found))["10"] == "9+10+H2+H10"


def test_a_pair_as_likely_as_the_bound_joins_nobody() -> None:
    even = Chance(pairs=1, mirrored_twins=0, highest=0.8, start=float(np.arctanh(0.99)), count=1, scale=0.1)
    assert even.expected(0.9) == 1
    cells = [Cell(Path(f"{i}"), f"{i}", "train", 0, "AB"[i]) for i in range(2)]
    bound = Chance(even.pairs, 0, even.highest, even.start, SURE, even.scale)  # type: ignore[arg-type]
    (link,) = find_links(cells, [Match(0, 1, 0.9, 0, False)], bound, ())
    assert (link.chance, link.joined) == (SURE, False)
