"""Groups are dealt whole, near their shares, and in no order but their own."""

import random

import numpy as np
import pytest

from build_shards.deal import FEW, _least, deal

PEOPLE = {f"P{i}": ((3 * i + 5, 0) if i % 3 else (0, 7 * i + 9)) for i in range(24)}  # 16 normal, 8 blast


def _cells(groups: dict[str, tuple[int, int]], parts: dict[str, int], part: int) -> np.ndarray:
    return np.array([groups[name] for name, p in parts.items() if p == part]).sum(0)


def _totals(groups: dict[str, tuple[int, int]]) -> np.ndarray:
    return np.array(list(groups.values())).sum(0)


@pytest.mark.parametrize("shares", [(0.75, 0.15, 0.10), (0.2,) * 5, (0.8, 0.2)])
@pytest.mark.parametrize("seed", [0, 1])
def test_every_part_gets_its_share_of_cells_and_of_classes(shares: tuple[float, ...], seed: int) -> None:
    parts = deal(PEOPLE, shares, seed)
    assert parts.keys() == PEOPLE.keys()
    for part, share in enumerate(shares):
        assert _cells(PEOPLE, parts, part) / _totals(PEOPLE) == pytest.approx([share, share], abs=0.08)


def test_the_deal_depends_on_the_seed_and_on_no_order() -> None:
    shuffled = list(PEOPLE.items())
    random.Random(3).shuffle(shuffled)
    assert deal(dict(shuffled), (0.5, 0.5), 0) == deal(PEOPLE, (0.5, 0.5), 0)
    assert len({tuple(deal(PEOPLE, (0.2,) * 5, seed).items()) for seed in range(4)}) > 1


def test_a_perfect_partition_is_found() -> None:
    sizes = [41, 33, 26, 44, 37, 19, 52, 29, 19, 38, 35, 27]  # four parts of 100, which no greedy deal finds
    groups = {str(i): (n, 0) for i, n in enumerate(sizes)}
    parts = deal(groups, (0.25,) * 4, 0)
    assert [int(_cells(groups, parts, part)[0]) for part in range(4)] == [100] * 4


def test_a_class_that_is_not_there_hides_no_bad_deal() -> None:
    # Where no cell is a blast, no part lacks any: a lack of half the blasts would make all deals equally bad.
    groups = {str(i): (n, 0) for i, n in enumerate([49, 6, 49, 30, 33, 39, 20])}
    parts = deal(groups, (0.5, 0.5), 0)
    assert sorted(int(_cells(groups, parts, part)[0]) for part in (0, 1)) == [112, 114]


def test_one_huge_group_leaves_the_others_to_the_other_parts() -> None:
    groups = {"huge": (1000, 0), "a": (10, 0), "b": (10, 0), **{f"blast{i}": (0, 10) for i in range(6)}}
    parts = deal(groups, (1 / 3,) * 3, 0)
    assert len({parts["huge"], parts["a"], parts["b"]}) == 3  # every part has normal cells


@pytest.mark.parametrize("seed", range(5))
def test_a_small_part_has_several_people_of_each_class(seed: int) -> None:
    # The 200 cells of "one" are exactly the share of the small part, and one person is no sample of people.
    groups = {"one": (200, 0), **{f"n{i}": (160, 0) for i in range(5)}, **{f"b{i}": (0, 50) for i in range(20)}}
    parts = deal(groups, (0.8, 0.2), seed)
    assert sum(part == 1 for name, part in parts.items() if groups[name][0]) >= 2
    assert sum(part == 1 for name, part in parts.items() if groups[name][1]) >= 3


def test_many_single_images_are_dealt_almost_exactly() -> None:
    groups = {f"{i}.bmp": (int(i % 3 == 0), int(i % 3 != 0)) for i in range(FEW + 200)}
    parts = deal(groups, (0.75, 0.15, 0.10), 0)
    for part, share in enumerate((0.75, 0.15, 0.10)):
        assert _cells(groups, parts, part) / _totals(groups) == pytest.approx([share, share], abs=0.005)


def test_a_person_with_both_classes_counts_in_both() -> None:
    groups = {"both": (40, 40), **{f"n{i}": (5, 0) for i in range(12)}, **{f"b{i}": (0, 5) for i in range(12)}}
    parts = deal(groups, (0.5, 0.5), 0)
    assert _cells(groups, parts, parts["both"]).tolist() == [50, 50]


def test_a_part_gets_three_groups_of_a_class_or_its_share_of_fewer_but_one_at_least() -> None:
    least = _least(np.array([16, 8, 2]), np.array([0.8, 0.2]))
    assert least.tolist() == [[3, 3, 1], [3, 2, 1]]
    assert _least(np.array([5]), np.array([0.75, 0.25])).tolist() == [[3], [2]]  # all five of them


def test_no_groups_are_dealt_to_nobody() -> None:
    assert deal({}, (0.5, 0.5), 0) == {}


def test_of_many_groups_the_largest_are_dealt_first() -> None:
    groups = {"large": (300, 0), **{f"{i}": (1, 0) for i in range(2 * FEW)}}
    parts = deal(groups, (0.5, 0.5), 0)
    assert [int(_cells(groups, parts, part)[0]) for part in (0, 1)] == [150 + FEW] * 2


def test_another_seed_finds_another_deal_that_is_about_as_near() -> None:
    # The nearest deal alone would hold out the same people under every seed.
    groups = {f"P{i}": (size, 0) for i, size in enumerate([133, 43, 172, 118, 101, 167, 81, 94, 67])}
    deals = [deal(groups, (0.7, 0.3), seed) for seed in range(4)]
    assert len({tuple(parts.items()) for parts in deals}) > 1
    for parts in deals:
        assert _cells(groups, parts, 1)[0] / _totals(groups)[0] == pytest.approx(0.3, abs=0.015)
