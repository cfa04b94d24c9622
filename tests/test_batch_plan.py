"""Cutting an epoch into batches and ranks: nothing is lost, nothing comes twice, every rank has the same steps."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from contract.errors import UserError
from train.batch_plan import PAD, Positions, epoch_order, train_parts, valid_parts


@st.composite
def plans(draw: st.DrawFn) -> tuple[Positions, int, int]:
    """An order of up to 60 samples, a global batch size and a number of ranks that it can be cut for."""
    ranks = draw(st.integers(1, 8))
    return epoch_order(draw(st.integers(1, 60)), draw(st.integers(0, 5)), 1), draw(st.integers(ranks, 70)), ranks


def real(parts: list[Positions]) -> list[int]:
    return [int(position) for part in parts for position in part if position != PAD]


@given(plans())
def test_each_training_sample_is_in_one_part_of_its_global_batch(plan: tuple[Positions, int, int]) -> None:
    order, batch_size, ranks = plan
    by_rank = [train_parts(order, batch_size, rank, ranks) for rank in range(ranks)]
    assert {len(parts) for parts in by_rank} == {-(-len(order) // batch_size)}
    for k, batch in enumerate(zip(*by_rank, strict=True)):
        assert real(list(batch)) == order[k * batch_size : (k + 1) * batch_size].tolist()
        sizes = [len(real([part])) for part in batch]
        assert max(sizes) - min(sizes) <= 1
        for part in batch:
            assert PAD not in part or part.tolist() == [PAD]


@given(plans())
def test_validation_parts_are_equally_long_and_hold_each_sample_once(plan: tuple[Positions, int, int]) -> None:
    order, batch_size, ranks = plan
    by_rank = [valid_parts(order, batch_size, rank, ranks) for rank in range(ranks)]
    assert len({tuple(map(len, parts)) for parts in by_rank}) == 1
    assert len(by_rank[0]) == -(-len(order) // batch_size)
    for k, batch in enumerate(zip(*by_rank, strict=True)):
        assert real(list(batch)) == order[k * batch_size : (k + 1) * batch_size].tolist()
        assert sum(map(len, batch)) - len(real(list(batch))) < ranks


@given(plans())
def test_one_rank_is_never_padded(plan: tuple[Positions, int, int]) -> None:
    order, batch_size, _ = plan
    for parts in (train_parts(order, batch_size, 0, 1), valid_parts(order, batch_size, 0, 1)):
        assert np.concatenate(parts).tolist() == order.tolist()


def test_order_is_a_permutation_of_seed_and_epoch_alone() -> None:
    orders = {(seed, epoch): epoch_order(50, seed, epoch) for seed in (0, 1) for epoch in (0, 1, 2)}
    assert all(sorted(order) == list(range(50)) for order in orders.values())
    assert len({tuple(order) for order in orders.values()}) == 6
    assert np.array_equal(epoch_order(50, 1, 2), orders[1, 2])


@pytest.mark.parametrize("parts", [train_parts, valid_parts])
def test_a_batch_smaller_than_the_number_of_ranks_is_refused(parts: type) -> None:
    with pytest.raises(UserError, match=r"--batch-size 3: must be at least the number of processes, 4"):
        parts(np.arange(10), 3, 0, 4)
