"""Contact sheets: of each person the most confident mistakes, every cell beside its class activation map."""

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import matplotlib
import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from contract.baseline import NAME as BASELINE
from evaluate.evidence import legend
from evaluate.gallery import most_confident, split_picture
from evaluate.predictions import Predictions
from evaluate.rendering import DPI, MUTED, STYLE

MOST_PEOPLE = 12  # rows of a sheet
MOST = 6  # mistakes shown of each person
TILE = 96  # px a side of a cell on the sheet
GAP = 8  # px between two mistakes


@dataclass(frozen=True)
class Person:
    """One person's mistakes."""

    name: str  # identity, else subject
    n: int  # cells
    wrong: int
    shown: tuple[int, ...]  # positions of the mistakes, the most confident first


def worst_people(found: Predictions) -> tuple[Person, ...]:
    """Up to ``MOST_PEOPLE`` people, those of most mistakes first; () where people are unknown or nothing is wrong."""
    if found.cells.people is None:
        return ()
    people, number = np.unique(found.cells.people, return_inverse=True)
    wrong = found.verdicts != found.labels
    rows = []
    for i in np.unique(number[wrong]):
        mine = np.flatnonzero((number == i) & wrong)
        shown = most_confident(found, mine, MOST)
        rows.append(Person(str(people[i]), int((number == i).sum()), len(mine), tuple(shown.tolist())))
    return tuple(sorted(rows, key=lambda person: (-person.wrong, person.name))[:MOST_PEOPLE])


@matplotlib.rc_context(STYLE)
def draw_mistakes(
    name: str, found: Predictions, split: str, classes: tuple[str, ...], picture: Callable[[int], bytes]
) -> Figure | None:
    """Draw one row a person; ``picture`` gives the PNG of a cell beside its map. ``None`` where there is no row."""
    people = worst_people(found)
    if not people:
        return None
    width = (1 if name == BASELINE else 2) * TILE
    rows = [_row([picture(i) for i in person.shown], width) for person in people]
    sheet = np.concatenate(rows)
    figure = Figure(figsize=(1.9 + sheet.shape[1] / 130, 0.9 + sheet.shape[0] / 130), dpi=DPI, layout="constrained")
    axes = figure.subplots()
    axes.imshow(sheet)
    axes.grid(visible=False)
    axes.set_xticks([])
    labels = [f"{person.name}\n{person.wrong} of {person.n} wrong" for person in people]
    axes.set_yticks([(row + 0.5) * len(rows[0]) - GAP / 2 for row in range(len(people))], labels, fontsize=7)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    for row, person in enumerate(people):
        for column, i in enumerate(person.shown):
            text = f"{classes[int(found.labels[i])]}, {found.probability[i]:.3f}"
            place = (column * (width + GAP), row * len(rows[0]) + TILE + 3)
            axes.text(*place, text, fontsize=5.5, va="top", color=MUTED)
    each = "person" if any(found.cells.identities) else "subject id"
    meaning = "" if name == BASELINE else f"\nRight of each cell the {legend(classes)}"
    axes.set_title(
        f"{name} on {split}: the most confident mistakes of each {each}, by P({classes[1]}){meaning}",
        fontsize=8,
        loc="left",
    )
    return figure


def _row(pngs: list[bytes], width: int) -> NDArray[np.uint8]:
    """Mistakes side by side on white, with a line's height below for their words."""
    row = np.full((TILE + 18 + GAP, MOST * (width + GAP), 3), 255, np.uint8)
    for column, png in enumerate(pngs):
        for place, tile in enumerate(split_picture(png)[: width // TILE]):
            left = column * (width + GAP) + place * TILE
            row[:TILE, left : left + TILE] = cv2.resize(tile, (TILE, TILE), interpolation=cv2.INTER_AREA)
    return row
