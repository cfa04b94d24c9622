"""Intervals by bootstrap: the fast weighted scores beside scikit-learn on explicit resamples."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contract.bootstrap import IMAGES, PEOPLE, draw_weights, people_of, percentile_interval, resamples
from evaluate.bootstrap import score_with_intervals, weighted_scores
from evaluate.metrics import NAMES, score

N = 60


def _cells(seed: int, n: int = N, levels: int = 12) -> tuple[np.ndarray, np.ndarray]:
    """Labels, and probabilities with ties that tell the labels apart somewhat."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 2, n)
    raw = np.clip(rng.normal(0.4 + 0.25 * labels, 0.25), 0, 1)
    return labels, (np.round(raw * levels) / levels).astype(np.float32)


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 10_000), threshold=st.sampled_from([0.0, 0.25, 0.5, 0.9, 1.0]), levels=st.integers(1, 30))
def test_weighted_scores_are_scikit_learn_s_on_the_same_resample(seed: int, threshold: float, levels: int) -> None:
    labels, probability = _cells(seed, n=25, levels=levels)
    (weights,) = draw_weights(np.arange(25) // 3, 4, np.random.default_rng(seed))
    fast = weighted_scores(labels, probability, threshold, weights)
    for row, counts in enumerate(weights.astype(int)):
        drawn = np.repeat(np.arange(25), counts)
        slow = score(labels[drawn], probability[drawn], threshold)
        for name in NAMES:
            expected = np.nan if slow[name] is None else slow[name]
            assert fast[name][row] == pytest.approx(expected, abs=1e-12, nan_ok=True), name


def test_one_class_alone_gives_nan_and_no_warning() -> None:
    probability = np.array([0.2, 0.9, 0.7], np.float32)
    found = weighted_scores(np.ones(3, np.int64), probability, 0.5, np.ones((2, 3)))
    assert np.isnan(found["auroc"]).all()
    assert np.isnan(found["specificity"]).all()
    assert found["sensitivity"] == pytest.approx([2 / 3, 2 / 3])


def test_a_cluster_is_drawn_whole_and_as_many_are_drawn_as_there_are() -> None:
    clusters = np.array([0, 0, 1, 2, 2, 2, 3])
    weights = np.concatenate(list(draw_weights(clusters, 600, np.random.default_rng(0))))
    assert weights.shape == (600, 7)
    for members in (clusters == 0, clusters == 2):
        assert (np.ptp(weights[:, members], axis=1) == 0).all()
    first_of_each = weights[:, [0, 2, 3, 6]]
    assert (first_of_each.sum(axis=1) == 4).all()
    assert first_of_each.mean() == pytest.approx(1.0)


def test_the_interval_is_that_of_an_explicit_bootstrap() -> None:
    labels, probability = _cells(3)
    found = score_with_intervals(labels, probability, 0.5, None, number=4000)
    rng = np.random.default_rng(7)
    drawn = rng.integers(0, N, (4000, N))
    accuracies = ((probability >= 0.5) == labels)[drawn].mean(axis=1)
    assert found.accuracy.by_image == pytest.approx(tuple(np.quantile(accuracies, [0.025, 0.975])), abs=0.018)
    assert found.accuracy.clustered is None


def test_people_whose_cells_stand_and_fall_together_widen_the_interval() -> None:
    # 12 people of 10 cells; a person's cells are all right or all wrong.
    people = [f"p{i // 10}" for i in range(120)]
    labels = np.repeat(np.arange(12) % 2, 10)
    right = np.repeat(np.arange(12) % 4 != 3, 10)
    probability = np.where(right == (labels == 1), 0.9, 0.1).astype(np.float32)
    accuracy = score_with_intervals(labels, probability, 0.5, people, number=1000).accuracy
    assert accuracy.clustered is not None
    assert accuracy.by_image is not None
    width, by_image = np.diff(accuracy.clustered)[0], np.diff(accuracy.by_image)[0]
    assert width > 2 * by_image
    assert accuracy.clustered[0] < accuracy.value < accuracy.clustered[1]  # type: ignore[operator]


def test_the_same_cells_give_the_same_intervals_and_one_person_none() -> None:
    labels, probability = _cells(1)
    people = [str(i % 7) for i in range(N)]
    assert score_with_intervals(labels, probability, 0.5, people, 300) == score_with_intervals(
        labels, probability, 0.5, people, 300
    )
    alone = score_with_intervals(labels, probability, 0.5, ["one"] * N, 300)
    assert alone.accuracy.clustered is None
    assert alone.accuracy.by_image is not None


def test_an_interval_is_undefined_where_too_many_resamples_are() -> None:
    values = np.linspace(0, 1, 1001)
    assert percentile_interval(values) == pytest.approx((0.025, 0.975))
    values[:60] = np.nan
    assert percentile_interval(values) is None
    values[:60] = 0.5
    values[:40] = np.nan
    assert percentile_interval(values) is not None
    assert percentile_interval(np.zeros(0)) is None


def test_cells_of_unknown_people_are_a_person_each() -> None:
    assert people_of(["a", None, None], [None] * 3, ["1", "2", "3"]) == ["subject a", "cell 2", "cell 3"]


def test_two_ids_of_one_identity_are_one_person() -> None:
    assert people_of(["a", "b"], ["a+b", "a+b"], ["1", "2"]) == ["identity a+b"] * 2


def test_one_resample_in_twenty_may_leave_a_score_undefined() -> None:
    values = np.linspace(0, 1, 1000)
    values[:50] = np.nan
    assert percentile_interval(values) is not None
    values[50] = np.nan
    assert percentile_interval(values) is None


def test_two_thousand_are_drawn_of_people_and_of_images_with_numbers_of_their_own() -> None:
    people = [f"{i:02}" for i in range(40)]  # of one cell each: only the numbers tell the two apart
    by_people, by_images = (np.concatenate(list(resamples(people, 40, stream))) for stream in (PEOPLE, IMAGES))
    assert by_people.shape == by_images.shape == (2000, 40)
    for stream, weights in ((PEOPLE, by_people), (IMAGES, by_images)):
        first = np.random.default_rng([0, stream]).multinomial(40, np.full(40, 1 / 40))
        np.testing.assert_array_equal(weights[0], first)  # the same in every report
    assert (by_people != by_images).any()


def test_an_identity_and_a_subject_of_one_name_are_two_people() -> None:
    assert len(set(people_of(["7", "7"], ["7", None], ["1", "2"]) or [])) == 2


def test_two_people_can_be_drawn_anew_and_one_cannot() -> None:
    assert {tuple(weights) for part in resamples(["a", "b"], 2, PEOPLE) for weights in part} == {(2, 0), (1, 1), (0, 2)}
    assert list(resamples(["a", "a"], 2, PEOPLE)) == []
    assert list(resamples(None, 1, IMAGES)) == []
