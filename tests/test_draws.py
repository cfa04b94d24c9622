"""Random numbers of a batch: distributions, streams of their own, and independence of how a batch is cut."""

import numpy as np
import pytest
import torch

from train.draws import Draws


def test_numbers_are_uniform_signed_or_of_the_beta_distribution() -> None:
    draws = Draws(0, 0, 4000)
    uniform, signed, beta = draws.uniform("a"), draws.signed("a"), draws.beta("b", 0.4)
    assert uniform.dtype == signed.dtype == beta.dtype == torch.float32
    assert 0 <= uniform.min() < 0.01
    assert 0.99 < uniform.max() < 1
    assert torch.equal(signed, 2 * uniform - 1)
    assert beta.mean() == pytest.approx(0.5, abs=0.03)
    assert beta.var() == pytest.approx(1 / (4 * (2 * 0.4 + 1)), abs=0.01)  # of Beta(a, a)
    assert len(draws.chosen("c", 0.25)) == pytest.approx(1000, abs=100)
    assert len(draws.chosen("c", 0.0)) == 0
    assert len(draws.chosen("c", 1.0)) == 4000


def test_seed_step_and_purpose_give_streams_of_their_own_and_the_same_again() -> None:
    streams = [Draws(*place, 64).uniform(purpose) for place, purpose in (((0, 0), "a"), ((1, 0), "a"), ((0, 1), "a"))]
    streams.append(Draws(0, 0, 64).uniform("b"))
    correlations = np.corrcoef(torch.stack(streams).numpy())
    assert np.abs(correlations - np.eye(4)).max() < 0.5
    assert torch.equal(streams[0], Draws(0, 0, 64).uniform("a"))


@pytest.mark.parametrize("cut", [1, 3, 6])
def test_parts_of_a_batch_draw_together_what_the_whole_draws(cut: int) -> None:
    whole, parts = Draws(4, 2, 7), [Draws(4, 2, 7, rows) for rows in (slice(0, cut), slice(cut, 7))]
    assert torch.equal(torch.cat([part.uniform("a", 3) for part in parts]), whole.uniform("a", 3))
    assert torch.equal(torch.cat([part.beta("b", 0.2) for part in parts]), whole.beta("b", 0.2))
