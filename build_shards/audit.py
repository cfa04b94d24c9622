"""Audit a dataset before its split is trusted: twins, subjects under several ids, class balance, outliers."""

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from build_shards.dataset import Cell, Dataset
from build_shards.fingerprint import Fingerprint, fingerprint
from build_shards.people import Link, find_links, join, name_people
from build_shards.pool import map_in_order
from build_shards.twin_search import compare_prints, in_order
from build_shards.twins import TWIN, Chance, Match

OUTLIER = 3.5  # robust z-score (Iglewicz & Hoaglin 1993)
FIRST = ("train", "valid", "test")  # splits in this order, then any others by name
MINIMUM = 10  # cells of a class, below which it has no outliers


@dataclass(frozen=True)
class Twin:
    """Two images of one cell."""

    first: str  # source path
    second: str
    first_split: str
    second_split: str
    first_subject: str | None
    second_subject: str | None
    identical: bool  # byte-identical files
    correlation: float  # of the aligned textures; 1 for identical files
    turns: int  # quarter turns, counter-clockwise, that bring the first onto the second


@dataclass(frozen=True)
class SplitAudit:
    """What one split holds, and what of it the training split holds too."""

    name: str
    cells: int
    normal: int
    blast: int
    subjects: int  # distinct ids, 0 where unknown
    subjects_in_train: int  # of them also in train, by id; 0 for train itself, as all below
    people_in_train: int  # ids also in train by identity: under the same or another id
    identical_in_train: int  # cells with a byte-identical file in train
    twins_in_train: int  # cells with an identical or near-identical image in train
    twins_inside: int  # cells with one in their own split


@dataclass(frozen=True)
class Outlier:
    """A cell far from those of its class (or from the other unlabelled cells)."""

    source: str
    split: str
    kind: str  # "size" (cell pixels) or "stain" (mean optical density)
    value: float
    z: float  # robust: 0.6745 * (value - median) / MAD, of the logarithm for sizes


@dataclass(frozen=True)
class Audit:
    """``audit.json``."""

    dataset: str
    layout: str
    split_by: str
    cells: int
    threshold: float  # correlation from which a pair is a twin
    chance: Chance
    label_conflicts: int  # twins with two different labels
    splits: tuple[SplitAudit, ...]
    identities: tuple[tuple[str, ...], ...]  # ids of one person, where there are several
    links: tuple[Link, ...]
    twins: tuple[Twin, ...]
    outliers: tuple[Outlier, ...]


def audit(dataset: Dataset, workers: int, cache: Path | None = None) -> Audit:
    """Look at every image of ``dataset``; the result depends neither on ``workers`` nor on the order of its cells.

    A search for twins among the very same images that lies in the folder ``cache`` is not repeated.
    Raises ``UserError`` naming the file for an image that cannot be read or is all background.
    """
    cells = in_order(dataset.cells)
    found = map_in_order(fingerprint, [cell.file for cell in cells], workers, chunk=32)
    prints = list(tqdm(found, total=len(cells), unit="cell", desc="audit", disable=None))
    search = compare_prints(cells, prints, workers, cache)
    twins = tuple(_twin(match, cells) for match in search.matches)
    links = find_links(cells, search.matches, search.chance, dataset.stated)
    people = join(links)
    labels = [(cells[m.first].label, cells[m.second].label) for m in search.matches]
    return Audit(
        dataset=dataset.name,
        layout=dataset.layout,
        split_by=dataset.split_by,
        cells=len(cells),
        threshold=TWIN,
        chance=search.chance,
        label_conflicts=sum(None not in pair and pair[0] != pair[1] for pair in labels),
        splits=_splits(dataset, twins, name_people(people)),
        identities=people,
        links=links,
        twins=twins,
        outliers=_outliers(cells, prints),
    )


def _twin(match: Match, cells: list[Cell]) -> Twin:
    a, b = cells[match.first], cells[match.second]
    where = (a.source, b.source, a.split, b.split, a.subject, b.subject)
    return Twin(*where, match.identical, match.correlation, match.turns)


def _splits(dataset: Dataset, twins: tuple[Twin, ...], names: dict[str, str]) -> tuple[SplitAudit, ...]:
    pairs = [(t.first, t.first_split, t.second_split, t.identical) for t in twins]
    pairs += [(t.second, t.second_split, t.first_split, t.identical) for t in twins]
    train = {c.subject for c in dataset.cells if c.split == "train"} - {None}
    people = {names.get(str(s), s) for s in train}
    result = []
    for name in sorted({c.split for c in dataset.cells}, key=lambda split: (*(split != s for s in FIRST), split)):
        cells = [c for c in dataset.cells if c.split == name]
        ids = {c.subject for c in cells} - {None}
        other = name != "train"
        labels = Counter(c.label for c in cells)
        result.append(
            SplitAudit(
                name=name,
                cells=len(cells),
                normal=labels[0],
                blast=labels[1],
                subjects=len(ids),
                subjects_in_train=len(ids & train) * other,
                people_in_train=sum(names.get(str(s), s) in people for s in ids) * other,
                identical_in_train=len({p[0] for p in pairs if p[1:] == (name, "train", True)}) * other,
                twins_in_train=len({p[0] for p in pairs if p[1:3] == (name, "train")}) * other,
                twins_inside=len({p[0] for p in pairs if p[1:3] == (name, name)}),
            )
        )
    return tuple(result)


def _outliers(cells: list[Cell], prints: list[Fingerprint]) -> tuple[Outlier, ...]:
    """Size is judged on its logarithm (half and double are equally far), stain on a scale that is one already."""
    sizes, stains = [float(p.area) for p in prints], [p.density for p in prints]
    found = _far("size", cells, np.array(sizes), np.log(sizes))
    found += _far("stain", cells, np.array(stains), np.array(stains))
    return tuple(sorted(found, key=lambda o: (o.kind, -abs(o.z), o.source)))


def _far(kind: str, cells: list[Cell], values: NDArray[np.float64], scale: NDArray[np.float64]) -> list[Outlier]:
    """Cells whose ``scale`` lies more than OUTLIER robust deviations from the median of their class."""
    labels, found = np.array([-1 if cell.label is None else cell.label for cell in cells]), []
    for label in (-1, 0, 1):
        members = np.flatnonzero(labels == label)
        if len(members) < MINIMUM:
            continue
        away = scale[members] - np.median(scale[members])
        z = 0.6745 * away / max(float(np.median(np.abs(away))), 1e-9)
        for i, score in zip(members[np.abs(z) > OUTLIER], z[np.abs(z) > OUTLIER], strict=True):
            value = round(float(values[i]), 4)
            found.append(Outlier(cells[i].source, cells[i].split, kind, value, round(float(score), 2)))
    return found
