"""From predictions to the numbers of a column, and what a report says of its people."""

from dataclasses import replace

from drawn_predictions import drawn_predictions

from contract.manifest import Manifest
from evaluate.bootstrap import score_with_intervals
from evaluate.metrics import reliability
from evaluate.predictions import Cells
from evaluate.scoring import Speaker, _bootstrap, _dataset, _notes, score_network


def test_intervals_of_a_column_draw_people_and_its_numbers_are_of_its_own_threshold() -> None:
    found = drawn_predictions()
    column = score_network(Speaker("resnet18", 0.4, "balanced", 2.0), found, {})
    labels, p = found.labels, found.probability
    assert column.scores == score_with_intervals(labels, p, 0.4, found.cells.people)
    assert column.scores != score_with_intervals(labels, p, 0.4, [str(s) for s in found.cells.subjects])
    assert (column.before, column.after) == (reliability(labels, found.uncalibrated), reliability(labels, p))
    assert [row.threshold for row in column.thresholds if row.name == "operating"] == [0.4]


def test_people_of_several_ids_are_counted_and_shared_as_one(manifest: Manifest) -> None:
    joined = replace(manifest, identities={"a": "a+b", "b": "a+b", "c": "c+d", "d": "c+d"})
    names = tuple(map(str, range(4)))
    cells = Cells(names, names, ("a", "b", "c", "e"), ("a+b", "a+b", "c+d", None), (0, 1, 0, 1))
    data = _dataset(joined, "valid", cells, ["d", "f", None])
    assert (data.people, data.people_shared_with_train) == (3, 1)
    notes = " ".join(_notes(data, {}, cells, _bootstrap(cells), 1))
    assert "1 of the 3 people in valid are in train too" in notes
    assert "chosen on valid" in notes
    assert "how well they are remembered" not in notes
    learned = " ".join(_notes(replace(data, split="train"), {}, cells, _bootstrap(cells), 1))
    assert "how well they are remembered" in learned
    assert "are in train too" not in learned
    assert "chosen on" not in learned
