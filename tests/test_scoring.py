"""From predictions to the numbers of a column, and what a report says of its people."""

from dataclasses import replace

import pytest
from drawn_predictions import drawn_predictions
from finished_report import network, record

from contract.errors import UserError
from contract.manifest import Manifest
from evaluate.bootstrap import score_with_intervals
from evaluate.metrics import reliability
from evaluate.predictions import Cells
from evaluate.report_record import Bootstrap, Network, Verdicts
from evaluate.scoring import Speaker, _bootstrap, _dataset, _held_out, _notes, score_network, today


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
    assert (_bootstrap(cells).cluster, _bootstrap(cells).clusters) == ("identity", 3)
    notes = " ".join(_notes(data, {}, cells, _bootstrap(cells), 1))
    assert "1 of the 3 people in valid are in train too" in notes
    assert "chosen on valid" in notes
    assert "how well they are remembered" not in notes
    learned = " ".join(_notes(replace(data, split="train"), {}, cells, _bootstrap(cells), 1))
    assert "how well they are remembered" in learned
    assert "are in train too" not in learned
    assert "chosen on" not in learned


def test_a_report_says_of_which_cells_it_is(manifest: Manifest) -> None:
    counted = tuple(replace(split, subjects=7, shared_subjects=2) for split in manifest.splits)
    names = ("1", "2", "3")
    cells = Cells(names, names, ("a", "b", None), (None,) * 3, (0, 1, 1))
    data = _dataset(replace(manifest, splits=counted), "valid", cells, ["b"])
    assert (data.split, data.n, data.class_counts, data.classes) == ("valid", 3, (1, 2), ("normal", "blast"))
    assert (data.subjects, data.subjects_shared_with_train, data.people) == (7, 2, 2)
    assert (_bootstrap(cells).cluster, _bootstrap(cells).clusters) == ("subject", 3)  # the third cell stands alone


def test_verdicts_on_unlabelled_splits_are_counted_by_class() -> None:
    found = drawn_predictions()
    column = score_network(Speaker("resnet18", 0.4, "balanced"), found, {"test": found.in_order(found.cells.ids[:9])})
    blasts = int(found.verdicts[:9].sum())
    assert column.unlabelled == {"test": Verdicts(9, blasts, 9 - blasts)}
    assert 0 < blasts != 9 - blasts


def _noted(split: str = "test", orientations: int = 1, **networks: Network) -> str:
    """The notes on a labelled split of two classes, whose people are known and not in train."""
    cells = Cells(("1", "2"), ("1", "2"), ("a", "b"), ("a", "b"), (0, 1))
    data = replace(record().dataset, split=split, people_shared_with_train=0)
    return " ".join(_notes(data, networks, cells, Bootstrap(0.95, 100, 0, "identity", 2), orientations))


def test_notes_tell_what_holds_and_nothing_else() -> None:
    one = network("resnet18", 0.9)
    assert one.file is not None
    assert _noted(resnet18=one, resnet50=one, ensemble=network("ensemble", 0.9)) == ""
    assert _noted(orientations=8, resnet18=one).startswith("Every network looked at every cell from 8 sides")
    other = replace(one, file=replace(one.file, other_data=True))
    said = _noted(resnet18=one, resnet50=other)
    assert said.startswith("resnet50: trained on other shards than these")
    assert "resnet50: the stain of these cells was normalised to the target of their own shards" in said
    assert other.file is not None
    plain = {**one.file.card, "recipe": {**one.file.card["recipe"], "stain": "none"}}
    assert "the stain of these cells" not in _noted(resnet50=replace(other, file=replace(other.file, card=plain)))
    refit = {**one.file.card, "training": one.file.card["training"] | {"refit": True}}
    said = _noted(resnet18=one, resnet50=replace(one, file=replace(one.file, card=refit)))
    assert said.startswith("resnet50: learned valid too (train --refit); the people of valid are counted as those of")
    elsewhere = {**refit, "training": refit["training"] | {"source_digest": "f" * 64}}
    assert "learned valid" not in _noted(resnet50=replace(one, file=replace(one.file, card=elsewhere)))
    boxed = {**one.file.card, "recipe": {**one.file.card["recipe"], "crop": "box"}}
    said = _noted(resnet18=one, resnet50=replace(one, file=replace(one.file, card=boxed)))
    assert "resnet18 112 px, crop native of 288 px, stain macenko; resnet50 112 px, crop box, stain macenko." in said


def test_a_report_of_valid_names_the_labelled_splits_that_nothing_was_chosen_on(manifest: Manifest) -> None:
    assert _held_out(manifest, "valid") == ()  # its test is unlabelled
    known = tuple(replace(split, labelled=True) for split in manifest.splits)
    [note] = _held_out(replace(manifest, splits=known), "valid")
    assert note.startswith("test is labelled too, and nothing was chosen there: python evaluate/run.py --split test ")
    prelim = replace(known[-1], name="prelim")
    [note] = _held_out(replace(manifest, splits=(*known, prelim)), "valid")
    assert note.startswith("test and prelim are labelled too")
    assert _held_out(replace(manifest, splits=(*known, prelim)), "test") == ()


@pytest.mark.parametrize("epoch", ["yesterday", "1e9", "9" * 30])
def test_a_date_that_is_none_is_refused(epoch: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "951782399")
    assert today() == "2000-02-28"
    monkeypatch.setenv("SOURCE_DATE_EPOCH", epoch)
    with pytest.raises(UserError, match=r"SOURCE_DATE_EPOCH .*: must be seconds since 1970"):
        today()
