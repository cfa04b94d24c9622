"""Pairs of networks, people and votes, ensembles and galleries: against values worked out by hand."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from contract.errors import UserError
from contract.interval import wilson_interval
from evaluate import classify
from evaluate.agreement import compare_pairs, holm, mcnemar
from evaluate.ensemble import average, ensemble_threshold
from evaluate.gallery import MOST, confident_errors
from evaluate.predictions import Cells, Predictions, decide, read_predictions
from evaluate.subjects import majority_vote, subject_rows

LABELS = (0, 0, 0, 1, 1, 1, 1, 0)
SUBJECTS = ("H1", "H1", "H1", "7", "7", "7", "mixed", "mixed")


def _said(probability: list[float], labels: tuple[int, ...] = LABELS, subjects: tuple = SUBJECTS) -> Predictions:
    n = len(labels)
    identities = tuple("7+9" if s == "7" else None for s in subjects)
    cells = Cells(tuple(f"./{i}.bmp" for i in range(n)), tuple(f"k{i}" for i in range(n)), subjects, identities, labels)
    p = np.array(probability, np.float32)
    return Predictions(cells, None, p, p, decide(p, 0.5))


A = _said([0.1, 0.9, 0.2, 0.9, 0.8, 0.1, 0.6, 0.3])  # wrong: 1 (0.9 of a normal cell), 5 (0.1 of a blast)
B = _said([0.1, 0.8, 0.7, 0.9, 0.2, 0.9, 0.6, 0.3])  # wrong: 1, 2, 4


def test_a_pair_is_counted_cell_by_cell() -> None:
    (pair,) = compare_pairs({"a": A, "b": B})
    assert (pair.both_correct, pair.only_a, pair.only_b, pair.both_wrong) == (4, 2, 1, 1)
    assert pair.agreement == pytest.approx(5 / 8)
    assert pair.kappa == pytest.approx((5 / 8 - (4 * 5 + 4 * 3) / 64) / (1 - (4 * 5 + 4 * 3) / 64))
    assert pair.p == pair.p_holm == mcnemar(2, 1) == 1.0


def test_mcnemar_is_the_exact_binomial_test() -> None:
    # 1 of 10: two tails of (1 + 10) / 2^10.
    assert mcnemar(1, 9) == pytest.approx(2 * 11 / 1024)
    assert mcnemar(9, 1) == mcnemar(1, 9)
    assert mcnemar(0, 0) == 1.0


def test_holm_steps_down_and_keeps_the_order() -> None:
    # R: p.adjust(c(0.01, 0.04, 0.03), "holm").
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.6, 0.5]) == [1.0, 1.0]
    assert holm([]) == []


def test_pairs_have_their_corrected_p() -> None:
    labels, found = (0, 1) * 40, {}
    for name, wrong in (("a", 0), ("b", 12), ("c", 30)):
        verdicts = np.array(labels) ^ (np.arange(80) < wrong)
        found[name] = _said(verdicts.tolist(), labels, (None,) * 80)
    pairs = compare_pairs(found)
    assert [pair.p_holm for pair in pairs] == holm([pair.p for pair in pairs])
    assert any(pair.p_holm != pair.p for pair in pairs)


def test_kappa_of_two_that_never_call_a_blast_is_undefined() -> None:
    never = _said([0.1] * 8)
    (pair,) = compare_pairs({"a": never, "b": never})
    assert pair.kappa is None
    assert pair.agreement == 1.0
    (pair,) = compare_pairs({"a": never, "b": A})  # of one that does it is what chance gives
    assert pair.kappa == 0


def test_people_are_listed_the_worst_first_with_vote_and_truth() -> None:
    rows = subject_rows(A)
    assert [row.subject for row in rows] == ["7", "H1", "mixed"]
    seven = rows[0]
    assert (seven.n, seven.blasts, seven.called_blast, seven.correct, seven.identity) == (3, 3, 2, 2, "7+9")
    assert (seven.vote, seven.truth) == (1, 1)
    assert seven.probability == pytest.approx(0.6)
    assert (rows[2].vote, rows[2].truth) == (None, None)
    vote = majority_vote(rows)
    assert vote is not None
    assert (vote.n, vote.correct, vote.ties, vote.mixed) == (2, 2, 0, 1)


def test_of_ids_of_one_accuracy_those_of_more_cells_come_first_and_then_by_name() -> None:
    subjects = ("d", "c", "c", "b", "b", "a")
    rows = subject_rows(_said([0.9, 0.1, 0.9, 0.9, 0.1, 0.1], (1, 1, 1, 1, 1, 1), subjects))
    assert [(row.subject, row.accuracy) for row in rows] == [("a", 0), ("b", 0.5), ("c", 0.5), ("d", 1)]
    more = subject_rows(_said([0.9, 0.1, 0.9, 0.1, 0.9, 0.1], (1,) * 6, ("a", "a", "b", "b", "b", "b")))
    assert [row.subject for row in more] == ["b", "a"]


def test_intervals_of_ids_and_votes_are_of_what_is_right() -> None:
    labels, subjects = (0, 0, 0, 1, 1, 1, 1), ("a", "a", "mixed", "b", "mixed", "b", "c")
    rows = subject_rows(_said([0.9, 0.1, 0.1, 0.9, 0.9, 0.8, 0.7], labels, subjects))  # a is a tie
    assert all(row.interval == wilson_interval(row.correct, row.n) for row in rows)
    vote = majority_vote(rows)
    assert vote is not None
    assert (vote.n, vote.accuracy, vote.interval) == (3, 2 / 3, wilson_interval(2, 3))


def test_a_tie_is_wrong_and_nobody_to_vote_on_is_none() -> None:
    tie = _said([0.1, 0.9], labels=(0, 0), subjects=("x", "x"))
    vote = majority_vote(subject_rows(tie))
    assert vote is not None
    assert (vote.n, vote.correct, vote.ties) == (1, 0, 1)
    unknown = _said([0.1, 0.9], labels=(0, 0), subjects=(None, None))
    assert subject_rows(unknown) == ()
    assert majority_vote(()) is None
    assert unknown.cells.people is None


def test_people_are_identities_else_subjects_else_the_cell_alone() -> None:
    cells = _said([0.1, 0.9, 0.3], labels=(0, 0, 1), subjects=("7", "H1", None)).cells
    assert cells.people == ["identity 7+9", "subject H1", "cell k2"]


def test_the_ensemble_averages_and_refuses_other_cells() -> None:
    both = average([replace(A, uncalibrated=A.probability**2), B], 0.5)
    assert both.probability == pytest.approx((A.probability + B.probability) / 2)
    assert both.uncalibrated == pytest.approx((A.probability**2 + B.probability) / 2)
    assert both.verdicts.tolist() == [0, 1, 0, 1, 1, 1, 1, 0]
    with pytest.raises(UserError, match="did not predict the same cells"):
        average([A, _said([0.5], labels=(1,), subjects=("x",))], 0.5)


@pytest.mark.parametrize("thresholds", [(0.5, 0.5), (0.3, 0.9), (0.7, 0.9)])
def test_the_demo_s_ensemble_is_the_report_s(thresholds: tuple[float, float]) -> None:
    threshold = ensemble_threshold(thresholds)
    rng = np.random.default_rng(0)
    members = [_said(rng.random(len(LABELS)).tolist()) for _ in thresholds]
    both = average(members, threshold)
    for i in range(len(LABELS)):
        opinions = [
            classify.Opinion(0, "normal", float(said.probability[i]), t, 1.0, None, None)
            for said, t in zip(members, thresholds, strict=True)
        ]
        shown = classify._ensemble(opinions, ("normal", "blast"))
        assert shown.label == both.verdicts[i]
        assert shown.probability == pytest.approx(float(both.probability[i]), abs=1e-6)
        assert shown.threshold == threshold


def test_errors_are_listed_by_how_sure_the_network_was() -> None:
    found = confident_errors(_said([0.1, 0.7, 0.2, 0.9, 0.8, 0.05, 0.6, 0.3]), "a")
    assert [(i, error.key, error.verdict, error.label) for i, error in found] == [(5, "k5", 0, 1), (1, "k1", 1, 0)]
    assert found[0][1].picture == "gallery_a_01.png"
    many = confident_errors(_said([0.9] * 30, labels=(0,) * 30, subjects=("s",) * 30), "a")
    assert len(many) == MOST


def test_predictions_come_back_from_their_csv_exactly(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    p = np.concatenate([rng.random(5, np.float32), np.array([1e-30, 0.0, 1.0], np.float32)])
    logits = rng.normal(size=(8, 2)).astype(np.float32)
    given = Predictions(A.cells, logits, p, p[::-1].copy(), decide(p, 0.5))
    (tmp_path / "p.csv").write_text(given.to_csv())
    back = read_predictions(tmp_path / "p.csv")
    assert back.cells == given.cells
    for column in ("logits", "uncalibrated", "probability", "verdicts"):
        assert (getattr(back, column) == getattr(given, column)).all(), column
    (tmp_path / "p.csv").write_text("ID,label\na,1\n")
    with pytest.raises(UserError, match=r"p\.csv: not predictions of a report"):
        read_predictions(tmp_path / "p.csv")
    text, logit = given.to_csv(), str(logits[3, 1])
    for damaged, rule in (
        (text.replace(f",{logit},", ",inf,"), "a logit is not finite"),
        (text.replace(",k1,", ",k2,"), "a key stands there twice"),
        (text.replace(f",{p[0]!s},", ",1.5,", 1), "a value of the column uncalibrated is not between 0 and 1"),
        (text.replace(f",{p[0]!s},", ",nan,", 1), "a value of the column uncalibrated is not between 0 and 1"),
    ):
        assert damaged != text
        (tmp_path / "p.csv").write_text(damaged)
        with pytest.raises(UserError, match=rf"p\.csv: not predictions of a report: {rule}"):
            read_predictions(tmp_path / "p.csv")


def test_putting_predictions_in_order_moves_every_column() -> None:
    rng = np.random.default_rng(0)
    p = rng.random(8, np.float32)
    given = Predictions(A.cells, rng.normal(size=(8, 2)).astype(np.float32), p**2, p, decide(p, 0.5))
    moved = given.in_order(["./3.bmp", "./0.bmp", "./4.bmp"])
    for column in ("logits", "uncalibrated", "probability", "verdicts"):
        np.testing.assert_array_equal(getattr(moved, column), getattr(given, column)[[3, 0, 4]], column)
    for column in ("ids", "keys", "subjects", "identities", "labels"):
        theirs = getattr(given.cells, column)
        assert getattr(moved.cells, column) == (theirs[3], theirs[0], theirs[4]), column
