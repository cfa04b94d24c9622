"""Folding BatchNorm into the convolutions, for every network."""

import pytest
import torch
from as_trained import as_trained

from export.graph import fold_batch_norm


@pytest.mark.parametrize("arch", ["resnet18", "resnet50", "resnet152"])
def test_folding_batch_norm_changes_no_logit(arch: str) -> None:
    network = as_trained(arch).double()
    before = network.conv1.weight.clone()
    x = torch.randn((2, 3, 33, 33), generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    with torch.inference_mode():
        folded = fold_batch_norm(network)
        wanted, found = network(x), folded(x)
    assert not any(isinstance(module, torch.nn.BatchNorm2d) for module in folded.modules())
    assert (found - wanted).abs().max() < 1e-9 * wanted.abs().max()
    # The network itself goes on as it was.
    assert torch.equal(network.conv1.weight, before)
    assert any(isinstance(module, torch.nn.BatchNorm2d) for module in network.modules())
