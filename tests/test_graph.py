"""Folding BatchNorm into the convolutions, for every network."""

import pytest
import torch

from export.graph import fold_batch_norm
from train.resnet import ResNet, build_resnet


def network_of(arch: str) -> ResNet:
    """A network as if trained: no BatchNorm is at its start, so folding has work to do."""
    torch.manual_seed(0)
    network = build_resnet(arch)
    for norm in network.modules():
        if isinstance(norm, torch.nn.BatchNorm2d):
            torch.nn.init.uniform_(norm.weight, 0.2, 0.8)
            torch.nn.init.normal_(norm.bias, std=0.2)
            torch.nn.init.normal_(norm.running_mean, std=0.2)
            torch.nn.init.uniform_(norm.running_var, 0.5, 2.0)
    return network.eval()


@pytest.mark.parametrize("arch", ["resnet18", "resnet50", "resnet152"])
def test_folding_batch_norm_changes_no_logit(arch: str) -> None:
    network = network_of(arch).double()
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
