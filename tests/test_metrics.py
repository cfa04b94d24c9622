"""Scores against values worked out by hand."""

import numpy as np
import pytest

from evaluate.metrics import score, wilson_interval

LABELS = np.array([1, 1, 1, 1, 0, 0, 0, 0, 0, 1])
PROBABILITY = np.array([0.9, 0.8, 0.7, 0.2, 0.6, 0.1, 0.3, 0.4, 0.05, 0.5], np.float32)


def test_scores_of_a_small_example_by_hand() -> None:
    # Predicted at 0.5: 1 1 1 0 | 1 0 0 0 0 | 1, so TP 4, FN 1, FP 1, TN 4.
    found = score(LABELS, PROBABILITY, 0.5)
    assert found.confusion == ((4, 1), (1, 4))
    assert found.n == 10
    assert found.accuracy == pytest.approx(0.8)
    assert found.precision == pytest.approx(4 / 5)
    assert found.sensitivity == pytest.approx(4 / 5)
    assert found.specificity == pytest.approx(4 / 5)
    assert found.f1 == pytest.approx(0.8)
    assert found.f1_weighted == pytest.approx(0.8)
    pairs = [(p, q) for p in PROBABILITY[LABELS == 1] for q in PROBABILITY[LABELS == 0]]
    assert found.auroc == pytest.approx(sum(p > q for p, q in pairs) / len(pairs))


def test_the_threshold_moves_the_decision_and_not_the_ranking() -> None:
    strict, lenient = score(LABELS, PROBABILITY, 0.75), score(LABELS, PROBABILITY, 0.0)
    assert strict.confusion == ((5, 0), (3, 2))
    assert lenient.confusion == ((0, 5), (0, 5))
    assert strict.auroc == lenient.auroc


def test_one_class_alone_leaves_undefined_scores_undefined() -> None:
    blasts = score(np.ones(4, np.int64), np.array([0.9, 0.2, 0.8, 0.7], np.float32), 0.5)
    assert (blasts.auroc, blasts.specificity, blasts.f1_weighted) == (None, None, None)
    assert blasts.sensitivity == pytest.approx(0.75)
    normals = score(np.zeros(3, np.int64), np.zeros(3, np.float32), 0.5)
    assert (normals.precision, normals.sensitivity, normals.f1, normals.auroc) == (None, None, None, None)
    assert normals.accuracy == 1.0


@pytest.mark.parametrize(
    ("successes", "n", "low", "high"),
    # Brown, Cai & DasGupta 2001 and R's prop.test(correct = FALSE) give these.
    [(8, 10, 0.4901625, 0.9433178), (0, 10, 0.0, 0.2775328), (10, 10, 0.7224672, 1.0)],
)
def test_wilson_interval_matches_published_values(successes: int, n: int, low: float, high: float) -> None:
    assert wilson_interval(successes, n) == pytest.approx((low, high), abs=1e-6)
