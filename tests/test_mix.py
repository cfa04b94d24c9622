"""Mixup and cutmix: shares of pixels and of labels agree, and zero is off."""

import pytest
import torch

from train.draws import Draws
from train.mix import mix


def batch(n: int = 64, size: int = 24) -> tuple[torch.Tensor, torch.Tensor]:
    """Image i is i + 1 all over its cell, a square; its target is class i."""
    x = torch.zeros(n, 3, size, size)
    x[:, :, 4:20, 4:20] = torch.arange(1.0, n + 1).view(-1, 1, 1, 1)
    return x, torch.eye(n)


def test_nothing_is_mixed_at_zero() -> None:
    x, targets = batch()
    found, mixed = mix(x, targets, 0.0, 0.0, Draws(0, 0, 64))
    assert torch.equal(found, x)
    assert torch.equal(mixed, targets)


@pytest.mark.parametrize("alpha", [0.2, 1.0])
def test_mixup_mixes_neighbours_by_the_share_of_their_labels(alpha: float) -> None:
    x, targets = batch()
    found, mixed = mix(x, targets, alpha, 0.0, Draws(0, 0, 64))
    values = torch.arange(1.0, 65)
    torch.testing.assert_close(found[:, 0, 10, 10], mixed @ values)
    assert (found[:, :, 0, 0] == 0).all()
    own = mixed.diagonal()
    assert (own >= 0.5).all()
    assert own.unique().numel() > 50
    for i in range(64):
        assert set(torch.nonzero(mixed[i]).flatten().tolist()) <= {i, i ^ 1}
    torch.testing.assert_close(mixed.sum(dim=1), torch.ones(64))
    # The share is the lesser one of two of Beta(alpha, alpha): its mean tells alpha.
    torch.manual_seed(0)
    drawn = torch.distributions.Beta(alpha, alpha).sample((20000,))
    assert (1 - own).mean() == pytest.approx(torch.minimum(drawn, 1 - drawn).mean().item(), abs=0.06)


def test_cutmix_labels_by_cell_pixels() -> None:
    x, targets = batch()
    found, mixed = mix(x, targets, 0.0, 1.0, Draws(0, 0, 64))
    assert not torch.equal(found, x)
    for i in range(64):
        cell = found[i, 0, 4:20, 4:20]
        shares = [(cell == value + 1).float().mean().item() for value in (i, i ^ 1)]
        assert sum(shares) == pytest.approx(1)
        assert [mixed[i, i].item(), mixed[i, i ^ 1].item()] == pytest.approx(shares, abs=1e-5)
    assert (found[:, :, :4] == 0).all()


def test_both_share_the_batch_by_a_coin_and_labels_stay_whole() -> None:
    x, targets = batch()
    found, mixed = mix(x, targets, 1.0, 1.0, Draws(0, 0, 64))
    torch.testing.assert_close(mixed.sum(dim=1), torch.ones(64))
    blended = [(image[0][image[0] != 0].unique() % 1 != 0).any().item() for image in found]
    assert 10 < sum(blended) < 54


def test_last_sample_of_an_odd_batch_stays_itself() -> None:
    x, targets = batch(5)
    found, mixed = mix(x, targets, 1.0, 0.0, Draws(0, 0, 5))
    assert torch.equal(found[4], x[4])
    assert torch.equal(mixed[4], targets[4])


def test_halves_are_mixed_as_the_whole() -> None:
    x, targets = batch(8)
    whole = mix(x, targets, 0.4, 0.4, Draws(1, 2, 8))
    parts = [mix(x[r], targets[r], 0.4, 0.4, Draws(1, 2, 8, r)) for r in (slice(0, 4), slice(4, 8))]
    for k in (0, 1):
        torch.testing.assert_close(torch.cat([part[k] for part in parts]), whole[k])


def test_cutmix_pastes_areas_that_are_even_between_nothing_and_half() -> None:
    x = torch.arange(1.0, 513).view(-1, 1, 1, 1).expand(-1, 1, 32, 32)
    found, _ = mix(x, torch.ones(512, 2), 0.0, 1.0, Draws(0, 0, 512))
    pasted = (found != x).flatten(1).float().mean(dim=1)
    assert pasted.mean().item() == pytest.approx(0.25, abs=0.02)  # Beta(1, 1) is even, and the lesser share is taken
    assert pasted.max() < 0.54


def test_a_padding_sample_has_no_label_after_cutmix_either() -> None:
    black, none = torch.zeros(1, 3, 24, 24), torch.zeros(1, 2)
    found, mixed = mix(black, none, 0.0, 1.0, Draws(0, 0, 5, slice(0, 1)))
    assert torch.equal(found, black)
    assert torch.equal(mixed, none)


def test_cutmix_counts_cell_pixels_below_the_mean_too() -> None:
    x, targets = batch()
    x[:, :, 4:20, 4:12] *= -1  # normalised pixels are of both signs
    x[:, :, 12:20, 4:20] = -x[:, :, 12:20, 4:20].abs()
    found, mixed = mix(x, targets, 0.0, 1.0, Draws(0, 0, 64))
    for i in range(64):
        cell = found[i, 0, 4:20, 4:20].abs()
        shares = [(cell == value + 1).float().mean().item() for value in (i, i ^ 1)]
        assert [mixed[i, i].item(), mixed[i, i ^ 1].item()] == pytest.approx(shares, abs=1e-5)


def test_where_both_are_on_the_coin_says_which_images_are_pasted_into_and_which_are_blended() -> None:
    x, targets = batch()
    draws = Draws(0, 0, 64)
    found, _ = mix(x, targets, 1.0, 1.0, draws)
    cut = (draws.uniform("mix") < 0.5).tolist()
    for i, image in enumerate(found[:, 0, 4:20, 4:20]):
        values = set(image.unique().tolist())
        if cut[i]:
            assert values <= {i + 1.0, (i ^ 1) + 1.0}
        elif not cut[i ^ 1]:  # else what was pasted into the partner is blended in
            assert len(values) == 1


def test_cutmix_labels_by_cell_pixels_where_cells_lie_apart() -> None:
    x, targets = batch()
    x[::2, :, :, :10] = 0  # every other cell is smaller than its partner and lies further right
    found, mixed = mix(x, targets, 0.0, 1.0, Draws(0, 0, 64))
    for i in range(64):
        own, theirs = ((found[i, 0] == value + 1).sum().item() for value in (i, i ^ 1))
        assert mixed[i, i ^ 1].item() == pytest.approx(theirs / (own + theirs), abs=1e-5)


def test_cutmix_pastes_anywhere_and_not_along_a_diagonal() -> None:
    x = torch.arange(1.0, 513).view(-1, 1, 1, 1).expand(-1, 1, 32, 32)
    pasted = mix(x, torch.ones(512, 2), 0.0, 1.0, Draws(0, 0, 512))[0][:, 0] != x[:, 0]
    pasted = pasted[pasted.flatten(1).any(dim=1)].double()
    down, right = ((pasted.sum(axis) @ torch.arange(32.0).double()) / pasted.sum((1, 2)) for axis in (2, 1))
    assert torch.corrcoef(torch.stack([down, right]))[0, 1].abs() < 0.15
    assert min(down.std(), right.std()) > 3
