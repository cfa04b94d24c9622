"""Who is one person: subject ids that share cells, joined into identities, and how sure each link is."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import median

from build_shards.dataset import Cell, natural
from build_shards.twins import Chance, Match

SURE = 0.05  # expected chance pairs in the whole dataset, below which one near-identical pair joins two ids


@dataclass(frozen=True)
class Link:
    """Two subject ids that share cells."""

    first: str
    second: str
    stated: int  # images that the dataset's own table names under both ids
    identical: int  # pairs of byte-identical files
    near: int  # pairs of near-identical images
    lowest: float | None  # correlation of the pairs; None where the table alone joins them
    median: float | None
    highest: float | None
    chance: float  # expected number of chance pairs as high as ``highest`` in the whole dataset; 0 if stated, identical
    joined: bool  # into one identity: stated, identical files, two pairs, or one pair with a chance below SURE


def find_links(
    cells: Sequence[Cell], matches: Sequence[Match], chance: Chance, stated: Iterable[tuple[str, str]]
) -> tuple[Link, ...]:
    """Every two ids that share cells, in natural order; ``stated`` are pairs of ids that the dataset's table joins."""
    said = Counter(_pair(*ids) for ids in stated)
    shared: dict[tuple[str, str], list[Match]] = {ids: [] for ids in said}
    for match in matches:
        a, b = cells[match.first].subject, cells[match.second].subject
        if a is not None and b is not None and a != b:
            shared.setdefault(_pair(a, b), []).append(match)
    ordered = sorted(shared.items(), key=lambda item: tuple(map(natural, item[0])))
    return tuple(_link(ids, pairs, said[ids], chance) for ids, pairs in ordered)


def join(links: Iterable[Link]) -> tuple[tuple[str, ...], ...]:
    """The ids of one person, where there are several: groups that are joined directly or through others."""
    groups: dict[str, set[str]] = {}
    for link in links:
        if link.joined:
            merged = groups.get(link.first, {link.first}) | groups.get(link.second, {link.second})
            groups.update(dict.fromkeys(merged, merged))
    people = {tuple(sorted(group, key=natural)) for group in groups.values()}
    return tuple(sorted(people, key=lambda group: natural(group[0])))


def name_people(people: Iterable[tuple[str, ...]]) -> dict[str, str]:
    """The identity of each id that shares a person with another: ``{"51": "51+75+78", ...}``.

    An id that is not in it is a person of its own: ``name_people(people).get(subject, subject)``.
    """
    return {subject: "+".join(group) for group in people for subject in group}


def _pair(a: str, b: str) -> tuple[str, str]:
    first, second = sorted((a, b), key=natural)
    return first, second


def _link(ids: tuple[str, str], matches: list[Match], stated: int, chance: Chance) -> Link:
    identical = sum(match.identical for match in matches)
    values = [match.correlation for match in matches]
    lowest, middle, highest = (min(values), round(median(values), 4), max(values)) if values else (None, None, None)
    risk = 0.0 if stated or identical else chance.expected(max(values))
    return Link(
        first=ids[0],
        second=ids[1],
        stated=stated,
        identical=identical,
        near=len(matches) - identical,
        lowest=lowest,
        median=middle,
        highest=highest,
        chance=risk,
        joined=stated > 0 or identical > 0 or len(matches) >= 2 or risk < SURE,
    )
