"""The loss of a batch beside torch's own, and class weights."""

from dataclasses import replace

import pytest
import torch
from torch.nn import functional

from contract.errors import UserError
from contract.manifest import Manifest
from train.objective import class_weights, cross_entropy, targets_of


def batch(n: int = 12) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return 3 * torch.randn((n, 2), generator=generator), torch.randint(2, (n,), generator=generator)


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 1.0])
@pytest.mark.parametrize("weights", [None, torch.tensor([0.4, 2.5])])
def test_loss_of_plain_labels_is_torchs(smoothing: float, weights: torch.Tensor | None) -> None:
    logits, labels = batch()
    found = cross_entropy(logits, targets_of(labels, 2), weights, smoothing)
    wanted = functional.cross_entropy(logits, labels, weights, label_smoothing=smoothing, reduction="sum")
    torch.testing.assert_close(found, wanted)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_loss_of_mixed_labels_is_the_mix_of_the_losses(smoothing: float) -> None:
    logits, labels = batch()
    other = 1 - labels
    mixed = 0.7 * targets_of(labels, 2) + 0.3 * targets_of(other, 2)
    losses = [functional.cross_entropy(logits, y, label_smoothing=smoothing, reduction="sum") for y in (labels, other)]
    found = cross_entropy(logits, mixed, None, smoothing)
    torch.testing.assert_close(found, 0.7 * losses[0] + 0.3 * losses[1])


def test_padding_sample_has_no_part_in_the_loss() -> None:
    logits, labels = batch()
    padded = torch.cat([labels, torch.tensor([-100])])
    found = cross_entropy(torch.cat([logits, torch.ones(1, 2)]), targets_of(padded, 2), None, 0.1)
    torch.testing.assert_close(found, cross_entropy(logits, targets_of(labels, 2), None, 0.1))


def labelled_counts(manifest: Manifest, normal: int, blast: int) -> Manifest:
    """A manifest whose training shards hold ``normal`` and ``blast`` cells in all, the test split untouched."""
    others = [shard for shard in manifest.shards if shard.split != "train"]
    first = next(shard for shard in manifest.shards if shard.split == "train")
    halves = [(normal // 2, blast // 2), (normal - normal // 2, blast - blast // 2)]
    return replace(manifest, shards=(*others, *(replace(first, class_counts=counts) for counts in halves)))


def test_class_weights_are_inverse_frequencies_with_mean_one(manifest: Manifest) -> None:
    weights = class_weights(labelled_counts(manifest, 10, 40))
    assert weights.tolist() == pytest.approx([50 / 20, 50 / 80])
    assert (10 * weights[0] + 40 * weights[1]).item() / 50 == pytest.approx(1)


def test_class_weights_of_a_class_without_cells_are_refused(manifest: Manifest) -> None:
    with pytest.raises(UserError, match="normal"):
        class_weights(labelled_counts(manifest, 0, 40))
