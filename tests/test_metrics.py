"""Scores against values worked out by hand."""

import warnings

import numpy as np
import pytest

from contract.calibration import calibration_error
from contract.interval import wilson_interval
from evaluate.metrics import (
    NAMES,
    confusion,
    net_benefit,
    reliability,
    score,
    threshold_table,
)
from evaluate.predictions import decide

LABELS = np.array([1, 1, 1, 1, 0, 0, 0, 0, 0, 1])
PROBABILITY = np.array([0.9, 0.8, 0.7, 0.2, 0.6, 0.1, 0.3, 0.4, 0.05, 0.5], np.float32)


def test_scores_of_a_small_example_by_hand() -> None:
    # Called at 0.5: 1 1 1 0 | 1 0 0 0 0 | 1, so TP 4, FN 1, FP 1, TN 4.
    found = score(LABELS, PROBABILITY, 0.5)
    assert tuple(found) == NAMES
    assert confusion(LABELS, decide(PROBABILITY, 0.5)) == ((4, 1), (1, 4))
    for name in ("accuracy", "balanced_accuracy", "sensitivity", "specificity", "ppv", "npv", "f1", "f1_weighted"):
        assert found[name] == pytest.approx(0.8), name
    assert found["mcc"] == pytest.approx((4 * 4 - 1 * 1) / np.sqrt(5 * 5 * 5 * 5))
    pairs = [(p, q) for p in PROBABILITY[LABELS == 1] for q in PROBABILITY[LABELS == 0]]
    assert found["auroc"] == pytest.approx(sum(p > q for p, q in pairs) / len(pairs))
    # Ranked: blast, blast, blast, normal, blast, normal, normal, blast, ...: precision where a blast is found.
    assert found["auprc"] == pytest.approx((1 + 1 + 1 + 4 / 5 + 5 / 8) / 5)
    assert found["brier"] == pytest.approx(np.mean((PROBABILITY.astype(float) - LABELS) ** 2))


def test_the_threshold_moves_the_decision_and_not_the_ranking() -> None:
    strict, lenient = score(LABELS, PROBABILITY, 0.75), score(LABELS, PROBABILITY, 0.0)
    assert confusion(LABELS, decide(PROBABILITY, 0.75)) == ((5, 0), (3, 2))
    assert confusion(LABELS, decide(PROBABILITY, 0.0)) == ((0, 5), (0, 5))
    assert strict["auroc"] == lenient["auroc"]
    assert (lenient["npv"], lenient["mcc"]) == (None, None)


def test_a_probability_at_the_threshold_is_a_blast() -> None:
    # 0.7 in single precision is a little less than 0.7 in double.
    assert decide(np.array([0.7], np.float32), 0.7).tolist() == [1]


def test_one_class_alone_leaves_undefined_scores_undefined() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        blasts = score(np.ones(4, np.int64), np.array([0.9, 0.2, 0.8, 0.7], np.float32), 0.5)
        normals = score(np.zeros(3, np.int64), np.zeros(3, np.float32), 0.5)
    undefined = {name for name, value in blasts.items() if value is None}
    assert undefined == {"balanced_accuracy", "specificity", "f1_weighted", "mcc", "auroc", "auprc"}
    assert blasts["sensitivity"] == pytest.approx(0.75)
    undefined = {name for name, value in normals.items() if value is None}
    assert undefined == {"balanced_accuracy", "sensitivity", "ppv", "f1", "f1_weighted", "mcc", "auroc", "auprc"}
    assert (normals["accuracy"], normals["npv"], normals["brier"], normals["ece"]) == (1.0, 1.0, 0.0, 0.0)


def test_calibration_error_by_hand() -> None:
    # Two bins: 0.95 x 2 with one blast (off by 0.45), 0.05 x 2 with none (off by 0.05).
    labels = np.array([1, 0, 0, 0])
    probability = np.array([0.95, 0.95, 0.05, 0.05], np.float32)
    assert calibration_error(labels, probability) == pytest.approx((2 * 0.45 + 2 * 0.05) / 4)
    found = reliability(labels, probability)
    assert [(b.n, b.blasts) for b in found.bins] == [(2, 0.0), (2, 0.5)]
    assert found.brier == pytest.approx(np.mean((probability - labels) ** 2))
    assert calibration_error(np.array([1]), np.array([1.0], np.float32)) == 0.0
    # 1.0 lies in the bin of 0.95, where the two cancel: they are 0.975 on average, and half of them are blasts.
    assert calibration_error(np.array([0, 1]), np.array([1.0, 0.95])) == pytest.approx(0.475)
    # 0.95 x 2 with one blast and 0.05 x 2 with one: the one is too sure, the other too little, and they do not cancel.
    assert calibration_error(np.array([1, 0, 1, 0]), np.array([0.95, 0.95, 0.05, 0.05])) == pytest.approx(0.45)
    # Of ten bins 0.62 and 0.68 lie in one, of 15 they would lie in two.
    assert calibration_error(np.array([0, 1]), np.array([0.62, 0.68])) == pytest.approx(0.15)


def test_the_threshold_table_reaches_the_sensitivities_that_it_names() -> None:
    rows = {row.name: row for row in threshold_table(LABELS, PROBABILITY, 0.45)}
    assert [row.threshold for row in rows.values()] == sorted(row.threshold for row in rows.values())
    assert rows["0.5"].called_blast == 5
    assert rows["operating"].threshold == 0.45
    # 5 blasts: 90 % of them are all 5, and the lowest has 0.2.
    assert rows["sensitivity 90 %"].threshold == pytest.approx(0.2)
    assert rows["sensitivity 95 %"].sensitivity == 1.0
    assert rows["sensitivity 95 %"].specificity == pytest.approx(2 / 5)
    assert rows["sensitivity 95 %"].ppv == pytest.approx(5 / 8)


def test_the_threshold_table_has_nine_tenths_the_operating_point_and_two_sensitivities() -> None:
    names = [row.name for row in threshold_table(LABELS, PROBABILITY, 0.45)]
    tenths = [f"0.{tenth}" for tenth in range(1, 10)]
    assert sorted(names) == [*tenths, "operating", "sensitivity 90 %", "sensitivity 95 %"]
    assert names.index("operating") == names.index("0.4") + 1


def test_there_are_ten_bins_of_equal_width() -> None:
    probability = np.array([0.0, 0.05, 0.1, 0.11, 0.19, 0.21, 0.89, 0.91, 0.92, 0.99, 1.0], np.float32)
    found = reliability(np.arange(11) % 2, probability).bins
    assert [b.n for b in found] == [2, 3, 1, 1, 4]
    assert [b.probability for b in found] == pytest.approx([0.025, 0.4 / 3, 0.21, 0.89, 0.955], abs=1e-6)


def test_a_row_of_the_threshold_table_by_hand() -> None:
    labels = np.array([1, 1, 1, 0, 0, 0, 0, 0, 0, 0])
    probability = np.array([0.9, 0.8, 0.1, 0.7, 0.6, 0.1, 0.1, 0.1, 0.1, 0.1], np.float32)
    (row,) = [row for row in threshold_table(labels, probability, 0.45) if row.name == "0.5"]  # TP 2, FN 1, FP 2, TN 5
    assert (row.called_blast, row.sensitivity, row.specificity) == (4, 2 / 3, 5 / 7)
    assert (row.ppv, row.npv) == (2 / 4, 5 / 6)


def test_a_sensitivity_that_is_reached_exactly_is_reached() -> None:
    labels = np.array([0] + [1] * 10)
    rows = threshold_table(labels, np.array([0.05, *(np.arange(1, 11) / 10)], np.float32), 0.5)
    (row,) = [row for row in rows if row.name == "sensitivity 90 %"]
    assert row.threshold == pytest.approx(0.2)


def test_the_threshold_table_of_one_class_names_no_sensitivity() -> None:
    rows = threshold_table(np.zeros(3, np.int64), np.array([0.1, 0.2, 0.8], np.float32), 0.5)
    assert not any("sensitivity" in row.name for row in rows)
    assert all(row.sensitivity is None for row in rows)


def test_net_benefit_by_hand() -> None:
    # At 0.5 of 10 cells TP 4, FP 1; at 0.25 TP 4, FP 3.
    found = net_benefit(LABELS, PROBABILITY, np.array([0.5, 0.25]))
    assert found == pytest.approx([0.4 - 0.1, 0.4 - 0.3 / 3])
    everyone = net_benefit(LABELS, np.ones(10, np.float32), np.array([0.2]))
    assert everyone == pytest.approx([0.5 - 0.5 * 0.25])


@pytest.mark.parametrize(
    ("successes", "n", "low", "high"),
    # Brown, Cai & DasGupta 2001 and R's prop.test(correct = FALSE) give these.
    [(8, 10, 0.4901625, 0.9433178), (0, 10, 0.0, 0.2775328), (10, 10, 0.7224672, 1.0)],
)
def test_wilson_interval_matches_published_values(successes: int, n: int, low: float, high: float) -> None:
    assert wilson_interval(successes, n) == pytest.approx((low, high), abs=1e-6)
