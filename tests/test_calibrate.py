"""Temperature, threshold and the card's scores: each beside a plain reference, and where there is nothing to choose."""

import itertools

import numpy as np
import pytest
from drawn_logits import N, drawn
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize_scalar
from scipy.special import expit
from sklearn.metrics import log_loss, recall_score, roc_auc_score

from contract.calibration import calibration_error
from contract.errors import UserError
from contract.interval import wilson_interval
from evaluate.bootstrap import score_with_intervals
from export.calibrate import (
    OperatingPoint,
    People,
    choose_threshold,
    cross_entropy,
    fit_temperature,
    probabilities,
    read_operating_point,
    score,
)

SEEDS = st.integers(0, 10_000)
SENSITIVITIES = (0.01, 0.5, 0.9, 0.95, 1.0)


def with_ties(seed: int, n: int = 40, levels: int = 9) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities of both classes, many of them equal; zero and one among them."""
    rng = np.random.default_rng(seed)
    labels = np.r_[0, 1, rng.integers(0, 2, n - 2)]
    return np.clip(np.round(rng.normal(0.4 + 0.2 * labels, 0.3) * levels) / levels, 0, 1), labels


@settings(max_examples=25, deadline=None)
@given(seed=SEEDS, temperature=st.floats(0.2, 8))
def test_temperature_is_the_one_that_scipy_finds(seed: int, temperature: float) -> None:
    logits, labels = drawn(seed, temperature)
    margin = logits[:, 1].astype(np.float64) - logits[:, 0]

    def loss(log_temperature: float) -> float:
        return log_loss(labels, expit(margin / np.exp(log_temperature)))

    wanted = np.exp(minimize_scalar(loss, bounds=np.log((0.05, 20)), method="bounded", options={"xatol": 1e-9}).x)
    assert fit_temperature(logits, labels) == pytest.approx(wanted, rel=1e-4)


def test_temperature_of_overconfident_logits_is_found_back_and_lowers_the_loss() -> None:
    logits, labels = drawn(0, temperature=3.0, n=20_000)
    found = fit_temperature(logits, labels)
    assert found == pytest.approx(3.0, rel=0.05)
    assert cross_entropy(logits, labels, found) < cross_entropy(logits, labels, 1.0) - 0.05
    grid = [cross_entropy(logits, labels, t) for t in np.geomspace(0.05, 20, 400)]
    assert cross_entropy(logits, labels, found) <= min(grid)


def two(margins: list[float]) -> np.ndarray:
    return np.array([[0, margin] for margin in margins], np.float32)


@pytest.mark.parametrize(
    ("margins", "labels"),
    [
        ([-30, -9, 8, 40], [0, 0, 1, 1]),
        ([-0.01, 0.01], [0, 1]),
        ([3, 9], [1, 1]),
        ([-3, -9], [0, 0]),
        ([-3, 4], [1, 0]),
        ([0, 0], [0, 1]),
        ([-800, 800], [0, 1]),
    ],
    ids=["wide margin", "narrow margin", "only blasts", "only normal", "all wrong", "says nothing", "overflow"],
)
def test_temperature_is_one_where_there_is_nothing_to_fit(margins: list[float], labels: list[int]) -> None:
    assert fit_temperature(two(margins), np.array(labels)) == 1.0


def test_temperature_of_one_class_with_errors_is_still_the_best() -> None:
    logits, labels = two([-2, 3, 4, 5]), np.ones(4, np.int64)
    found = fit_temperature(logits, labels)
    grid = [cross_entropy(logits, labels, t) for t in np.geomspace(0.05, 20, 400)]
    assert cross_entropy(logits, labels, found) <= min(grid)


def rates(probability: np.ndarray, labels: np.ndarray, threshold: float) -> tuple[float, float]:
    """Sensitivity and specificity by scikit-learn."""
    called = (probability >= threshold).astype(int)
    return recall_score(labels, called), recall_score(labels, called, pos_label=0)


def every_rate(probability: np.ndarray, labels: np.ndarray) -> list[tuple[float, float]]:
    """Those of all thresholds between 0 and 1 that tell cells apart in different ways."""
    edges = np.unique(np.r_[0, probability, 1])
    return [rates(probability, labels, (low + high) / 2) for low, high in itertools.pairwise(edges)]


@settings(max_examples=40, deadline=None)
@given(seed=SEEDS, wanted=st.sampled_from(SENSITIVITIES), levels=st.sampled_from([3, 9, 1000]))
def test_threshold_reaches_its_sensitivity_and_none_that_does_is_more_specific(
    seed: int, wanted: float, levels: int
) -> None:
    probability, labels = with_ties(seed, levels=levels)
    reached = [s for s in every_rate(probability, labels) if s[0] >= wanted]
    point = read_operating_point(str(wanted))
    if not reached:
        with pytest.raises(UserError, match=f"--operating-point {wanted:g}: no threshold on valid reaches"):
            choose_threshold(probability, labels, point)
        return
    threshold = choose_threshold(probability, labels, point)
    assert 0 < threshold < 1
    sensitivity, specificity = rates(probability, labels, threshold)
    assert sensitivity >= wanted
    assert specificity == max(s[1] for s in reached)


@settings(max_examples=40, deadline=None)
@given(seed=SEEDS, levels=st.sampled_from([3, 9, 1000]))
def test_balanced_threshold_has_the_largest_mean_of_both_rates(seed: int, levels: int) -> None:
    probability, labels = with_ties(seed, levels=levels)
    threshold = choose_threshold(probability, labels, read_operating_point("balanced"))
    assert 0 < threshold < 1
    found = sum(rates(probability, labels, threshold))
    assert found == pytest.approx(max(map(sum, every_rate(probability, labels))))


def test_of_equally_balanced_thresholds_the_one_nearest_to_a_half_is_chosen() -> None:
    probability, labels = np.array([0.1, 0.45, 0.6, 0.95]), np.array([0, 0, 1, 1])
    point = read_operating_point("balanced")
    assert choose_threshold(probability, labels, point) == pytest.approx(0.525)
    probability, labels = np.array([0.1, 0.3, 0.6, 0.7]), np.array([0, 1, 0, 1])  # 0.2 and 0.65 have 0.75 each
    assert choose_threshold(probability, labels, point) == pytest.approx(0.65)


@settings(max_examples=20, deadline=None)
@given(seed=SEEDS, name=st.sampled_from(["balanced", "0.5", "0.95", "1"]), confidence=st.sampled_from([1, 5, 12]))
def test_single_precision_moves_no_cell_over_the_threshold(seed: int, name: str, confidence: int) -> None:
    logits, labels = drawn(seed, n=400)  # multiplied, many probabilities are 1 in single precision
    probability = probabilities(confidence * logits, fit_temperature(logits, labels))
    threshold = choose_threshold(probability, labels, read_operating_point(name))
    rounded = probability.astype(np.float32) >= np.float32(threshold)
    assert np.array_equal(rounded, probability >= threshold)
    assert 0 < threshold < 1


def test_default_threshold_is_a_half_whatever_the_cells() -> None:
    assert choose_threshold(np.array([0.1, 0.2]), np.array([1, 1]), read_operating_point("default")) == 0.5


@pytest.mark.parametrize("name", ["balanced", "0.95"])
@pytest.mark.parametrize("label", [0, 1])
def test_one_class_alone_has_no_operating_point(name: str, label: int) -> None:
    with pytest.raises(UserError, match="the validation split has one class only"):
        choose_threshold(np.array([0.2, 0.7]), np.array([label, label]), read_operating_point(name))


def test_operating_points_are_named_as_the_card_states_them() -> None:
    assert read_operating_point("default") == OperatingPoint("default 0.5")
    assert read_operating_point("balanced") == OperatingPoint("balanced")
    assert read_operating_point("0.950") == OperatingPoint("sensitivity 0.95", 0.95)
    assert read_operating_point("1") == OperatingPoint("sensitivity 1", 1.0)


@pytest.mark.parametrize(
    "text", ["", "0", "-0.5", "1.01", "95", "95%", "nan", "inf", "-inf", "Balanced", "specificity"]
)
def test_nonsense_is_no_operating_point(text: str) -> None:
    with pytest.raises(UserError, match=r"must be default, balanced, or a sensitivity such as 0\.95"):
        read_operating_point(text)


def test_scores_and_their_intervals_are_those_of_the_report() -> None:
    logits, labels = drawn(4)
    people = [f"p{i % 9}" for i in range(N)]
    found = score(logits, labels, 2.0, 0.4, People(people, True))
    probability = probabilities(logits, 2.0)
    report = score_with_intervals(labels, probability.astype(np.float32), 0.4, people)
    for name in ("accuracy", "sensitivity", "specificity", "auroc"):
        wanted = getattr(report, name)
        assert found.metrics[f"valid_{name}"] == pytest.approx(wanted.value)
        assert found.intervals[f"valid_{name}_identities"] == pytest.approx(wanted.clustered)
    assert found.intervals["valid_auroc"] == pytest.approx(report.auroc.by_image)
    assert found.metrics["valid_calibration_error"] == pytest.approx(report.ece.value)
    assert found.metrics["valid_auroc"] == roc_auc_score(labels, probability)
    assert found.metrics["valid_loss"] == pytest.approx(log_loss(labels, probability))


def test_intervals_over_people_are_left_out_where_there_are_none_to_draw() -> None:
    logits, labels = drawn(4)
    shares = {f"valid_{name}" for name in ("accuracy", "sensitivity", "specificity", "auroc")}
    for people in (None, People(["one"] * N, True)):
        assert set(score(logits, labels, 1.0, 0.5, people).intervals) == shares
    one_class = score(logits, np.ones(N, np.int64), 1.0, 0.5, People([str(i) for i in range(N)], True))
    names = {f"valid_{name}{kind}" for name in ("accuracy", "sensitivity") for kind in ("", "_identities")}
    assert set(one_class.intervals) == names
    assert "valid_auroc" not in one_class.metrics


def test_intervals_say_whether_people_or_subject_ids_were_drawn() -> None:
    logits, labels = drawn(4)
    of_cells = [f"p{i % 9}" for i in range(N)]
    people, ids = (score(logits, labels, 1.0, 0.5, People(of_cells, known)).intervals for known in (True, False))
    assert people["valid_accuracy_identities"] == ids["valid_accuracy_subjects"]
    assert {name for name in ids if "identities" in name} == {name for name in people if "subjects" in name} == set()


def test_scores_before_and_after_temperature_and_intervals_of_shares() -> None:
    logits, labels = drawn(0, temperature=3.0, n=300)
    found, p = score(logits, labels, 3.0, 0.4), probabilities(logits, 3.0)
    for name, label in (("sensitivity", 1), ("specificity", 0)):
        right = ((p >= 0.4) == (labels == 1))[labels == label]
        assert found.intervals[f"valid_{name}"] == wilson_interval(int(right.sum()), len(right))
    assert found.metrics["valid_calibration_error"] == calibration_error(labels, p)
    assert found.metrics["valid_calibration_error_uncalibrated"] == calibration_error(
        labels, probabilities(logits, 1.0)
    )
    assert found.metrics["valid_loss_uncalibrated"] == cross_entropy(logits, labels, 1.0)
    assert found.metrics["valid_loss"] == cross_entropy(logits, labels, 3.0)


def test_a_cell_whose_probability_is_the_threshold_is_called_a_blast() -> None:
    found = score(np.zeros((3, 2), np.float32), np.array([1, 1, 0]), 1.0, 0.5).metrics
    assert (found["valid_sensitivity"], found["valid_specificity"]) == (1.0, 0.0)
