"""Contact sheets of mistakes: which people, which cells, in which order, and that they are drawn."""

import numpy as np
import pytest

from evaluate.gallery import error_picture
from evaluate.mistakes import GAP, MOST, MOST_PEOPLE, TILE, draw_mistakes, worst_people
from evaluate.predictions import Cells, Predictions
from evaluate.rendering import png_bytes


def _found(people: str, labels: list[int], probability: list[float]) -> Predictions:
    names = tuple(map(str, range(len(labels))))
    identities = tuple("A+B" if name in "AB" else None for name in people)
    p = np.array(probability, np.float32)
    return Predictions(
        Cells(names, names, tuple(people), identities, tuple(labels)), None, p, p, (p >= 0.5).astype(int)
    )


FOUND = _found("ABCCD", [0, 0, 1, 1, 1], [0.6, 0.9, 0.4, 0.8, 0.7])


def test_people_with_most_mistakes_first_and_their_most_confident_ones() -> None:
    one, two = worst_people(FOUND)
    assert (one.name, one.n, one.wrong, one.shown) == ("identity A+B", 2, 2, (1, 0))
    assert (two.name, two.n, two.wrong, two.shown) == ("subject C", 2, 1, (2,))


def test_only_so_many_are_shown_of_one_person() -> None:
    (person,) = worst_people(_found("E" * 20, [0] * 20, [0.5 + i / 50 for i in range(20)]))
    assert (person.wrong, person.shown) == (20, tuple(range(19, 19 - MOST, -1)))


def test_of_many_people_those_of_most_mistakes_are_shown() -> None:
    people = "".join(chr(ord("a") + k) * (k + 1) for k in range(MOST_PEOPLE + 2))
    shown = worst_people(_found(people, [0] * len(people), [0.9] * len(people)))
    assert [person.wrong for person in shown] == list(range(MOST_PEOPLE + 2, 2, -1))


@pytest.mark.parametrize("name", ["resnet18", "baseline"])
def test_each_tile_lies_in_the_row_of_its_person_the_cell_left_of_its_map(name: str) -> None:
    def picture(i: int) -> bytes:
        return error_picture(np.full((33, 33, 3), 10 * (i + 1), np.uint8), np.full((33, 33), -1, np.float32))

    figure = draw_mistakes(name, FOUND, "valid", ("normal", "blast"), picture)
    assert figure is not None
    sheet = figure.axes[0].images[0].get_array()
    wide = TILE if name == "baseline" else 2 * TILE
    middle, below = TILE // 2, TILE // 2 + len(sheet) // 2
    for i, y, x in ((1, middle, 0), (0, middle, wide + GAP), (2, below, 0)):  # A+B: the more confident one first
        assert (sheet[y, x + TILE // 2] == 10 * (i + 1)).all()
        red, _, blue = sheet[y, x + TILE + TILE // 2].astype(int)
        assert bool(blue > red + 50) == (name != "baseline")  # the map speaks for a normal cell
    assert ("Right of each cell" in figure.axes[0].get_title(loc="left")) is (name != "baseline")


def test_a_sheet_shows_the_cells_that_are_wrong_and_no_other() -> None:
    asked: list[int] = []

    def picture(i: int) -> bytes:
        asked.append(i)
        return error_picture(np.full((33, 33, 3), 200, np.uint8), np.full((33, 33), i - 1.0, np.float32))

    figure = draw_mistakes("resnet18", FOUND, "valid", ("normal", "blast"), picture)
    assert figure is not None
    assert asked == [1, 0, 2]
    (axes,) = figure.axes
    assert [label.get_text() for label in axes.get_yticklabels()] == [
        "identity A+B\n2 of 2 wrong",
        "subject C\n1 of 2 wrong",
    ]
    words = [text.get_text() for text in axes.texts]
    assert words == ["normal, 0.900", "normal, 0.600", "blast, 0.400"]
    assert png_bytes(figure).startswith(b"\x89PNG")


def test_no_sheet_where_people_are_unknown_or_nothing_is_wrong() -> None:
    right = _found("AC", [1, 0], [0.9, 0.1])
    assert draw_mistakes("resnet18", right, "valid", ("normal", "blast"), lambda _: b"") is None
    cells = Cells(("1",), ("1",), (None,), (None,), (0,))
    p = np.array([0.9], np.float32)
    unknown = Predictions(cells, None, p, p, np.array([1]))
    assert draw_mistakes("resnet18", unknown, "valid", ("normal", "blast"), lambda _: b"") is None
