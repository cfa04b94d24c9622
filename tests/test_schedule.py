"""Learning rate and size of every epoch, within a cycle and over several."""

import itertools
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from train.config import Config
from train.schedule import Cycle, all_epochs, cycle_of, learning_rate, learning_rate_of_step, size_of_epoch


@pytest.mark.parametrize("warmup", [0, 1, 10, 12.5])
def test_learning_rate_climbs_to_its_peak_and_falls_to_zero(warmup: float) -> None:
    steps, peak = 100, 0.3
    rates = [learning_rate(step, steps, warmup, peak) for step in range(steps + 1)]
    climb = math.ceil(warmup)
    assert all(a < b for a, b in itertools.pairwise(rates[:climb]))
    assert all(a > b for a, b in itertools.pairwise(rates[climb:]))
    assert rates[0] > 0
    assert max(rates) <= peak
    assert max(rates) == pytest.approx(peak, rel=1e-3)
    assert rates[-1] == pytest.approx(0, abs=1e-12)


def test_learning_rate_is_linear_in_warm_up_and_half_a_cosine_after() -> None:
    assert [learning_rate(step, 44, 4, 1.0) for step in range(5)] == pytest.approx([0.2, 0.4, 0.6, 0.8, 1.0])
    assert learning_rate(24, 44, 4, 1.0) == pytest.approx(0.5)
    assert learning_rate(14, 44, 4, 1.0) == pytest.approx(0.5 * (1 + math.sqrt(0.5)))


def test_learning_rate_of_a_run_shorter_than_its_warm_up_stays_below_the_peak() -> None:
    assert max(learning_rate(step, 5, 10, 1.0) for step in range(5)) < 1


def test_size_is_full_where_progress_is_off_or_starts_above() -> None:
    for start in (0, 112, 200):
        assert [size_of_epoch(Config(epochs=5, start_size=start), 112, e) for e in range(1, 6)] == [112] * 5


def test_size_grows_in_steps_of_16_over_four_fifths_of_the_epochs() -> None:
    config = Config(epochs=10, start_size=64)
    assert [size_of_epoch(config, 112, e) for e in range(1, 11)] == [64, 64, 80, 80, 96, 96, 96, 112, 112, 112]


@settings(deadline=None)
@given(st.integers(33, 224), st.integers(33, 224), st.integers(1, 100))
def test_size_never_shrinks_and_ends_at_the_full_size(start: int, full: int, epochs: int) -> None:
    config = Config(epochs=epochs, start_size=start)
    sizes = [size_of_epoch(config, full, e) for e in range(1, epochs + 1)]
    assert sizes == sorted(sizes)
    assert sizes[0] == min(start, full) or epochs == 1
    assert max(sizes) == full
    assert all(size == full for e, size in enumerate(sizes) if e > 0.8 * epochs)


@given(st.integers(1, 50), st.integers(1, 6))
def test_cycles_follow_one_another_and_double(epochs: int, cycles: int) -> None:
    config = Config(epochs=epochs, cycles=cycles)
    found = [cycle_of(config, epoch) for epoch in range(1, all_epochs(config) + 1)]
    runs = [(cycle, len(list(group))) for cycle, group in itertools.groupby(found)]
    assert [cycle.number for cycle, _ in runs] == list(range(cycles))
    lengths = [length for _, length in runs]
    assert [cycle.epochs for cycle, _ in runs] == lengths == [epochs * 2**number for number in range(cycles)]
    assert [cycle.before for cycle, _ in runs] == [0, *itertools.accumulate(lengths)][:-1]


def test_learning_rate_of_every_cycle_climbs_and_falls_anew() -> None:
    config, steps = Config(epochs=3, cycles=2, lr=0.2, warmup_epochs=0.5), 10
    rates = [learning_rate_of_step(config, epoch, step, steps) for epoch in range(1, 10) for step in range(steps)]
    assert rates[:30] == [learning_rate(at, 30, 5, 0.2) for at in range(30)]
    assert rates[30:] == [learning_rate(at, 60, 5, 0.2) for at in range(60)]


def test_sizes_grow_in_the_first_cycle_alone() -> None:
    config = Config(epochs=5, cycles=2, start_size=64)
    assert [size_of_epoch(config, 112, e) for e in range(1, 16)] == [64, 80, 96, 96] + [112] * 11


def test_a_run_of_one_cycle_has_its_epochs() -> None:
    assert all_epochs(Config(epochs=7)) == 7
    assert cycle_of(Config(epochs=7), 7) == Cycle(0, 0, 7)
