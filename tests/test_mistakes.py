"""Contact sheets of mistakes: which people, which cells, in which order, and that they are drawn."""

import numpy as np

from evaluate.gallery import error_picture
from evaluate.mistakes import MOST, draw_mistakes, worst_people
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
