"""Groups of weight decay, and the averaged weights against a plain loop."""

import copy

import pytest
import torch
from torch import nn

from train.config import Config
from train.optimize import ExponentialMovingAverage, make_optimizer

OPTIMIZERS = ("sgd", "adamw")


def small_network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(4 * 6 * 6, 2))


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_only_weights_of_two_or_more_dimensions_decay(name: str) -> None:
    network = small_network()
    optimizer = make_optimizer(network, Config(optimizer=name, weight_decay=0.25))
    decay = {id(p): group["weight_decay"] for group in optimizer.param_groups for p in group["params"]}
    assert sum(len(group["params"]) for group in optimizer.param_groups) == len(decay)
    wanted = {id(p): 0.25 if p.ndim > 1 else 0.0 for p in network.parameters()}
    assert decay == wanted
    assert set(decay.values()) == {0.0, 0.25}


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_step_without_gradient_shrinks_decayed_weights_only(name: str) -> None:
    network = small_network()
    before = {key: value.clone() for key, value in network.named_parameters()}
    optimizer = make_optimizer(network, Config(optimizer=name, lr=0.1, weight_decay=0.5))
    for parameter in network.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    for key, value in network.named_parameters():
        # Nesterov's first step on a gradient g is lr * (1 + momentum) * g; AdamW decays apart from its momentum.
        factor = 1 if value.ndim <= 1 else 1 - 0.1 * 0.5 * (1.9 if name == "sgd" else 1)
        torch.testing.assert_close(value.detach(), before[key] * factor)


def test_optimizers_are_those_that_the_flag_names() -> None:
    sgd, adamw = (make_optimizer(small_network(), Config(optimizer=name, lr=0.3)) for name in OPTIMIZERS)
    assert isinstance(sgd, torch.optim.SGD)
    assert isinstance(adamw, torch.optim.AdamW)
    assert all(group["momentum"] == 0.9 and group["nesterov"] for group in sgd.param_groups)
    assert all(group["lr"] == 0.3 and group["fused"] for group in sgd.param_groups + adamw.param_groups)


def averaged(network: nn.Module, decay: float) -> ExponentialMovingAverage:
    return ExponentialMovingAverage(network, copy.deepcopy(network), decay)


def train_a_little(network: nn.Module, generator: torch.Generator) -> None:
    """Change the weights and, by a forward pass, the BatchNorm statistics."""
    with torch.no_grad():
        network(torch.randn((5, 3, 8, 8), generator=generator))
        for parameter in network.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator))


def test_average_follows_a_plain_loop_over_weights_and_statistics() -> None:
    network, generator = small_network().train(), torch.Generator().manual_seed(0)
    average = averaged(network, 0.6)
    wanted = {key: value.double().clone() for key, value in network.state_dict().items()}
    for t in range(20):
        train_a_little(network, generator)
        average.update()
        decay = min(0.6, (1 + t) / (10 + t))  # reaches 0.6 at t = 13
        for key, value in network.state_dict().items():
            wanted[key] = decay * wanted[key] + (1 - decay) * value.double()
    wanted["1.num_batches_tracked"] = torch.tensor(20.0, dtype=torch.float64)
    found = average.model.state_dict()
    assert found.keys() == wanted.keys()
    for key, value in found.items():
        torch.testing.assert_close(value.double(), wanted[key], rtol=1e-5, atol=1e-6)
    assert found["1.num_batches_tracked"].dtype == torch.int64
    assert average.updates == 20


def test_first_update_keeps_a_tenth_of_the_start() -> None:
    network = nn.Linear(1, 1, bias=False)
    nn.init.zeros_(network.weight)
    average = averaged(network, 0.998)
    nn.init.ones_(network.weight)
    average.update()
    assert average.model.weight.item() == pytest.approx(0.9)


def test_average_of_a_low_decay_has_no_warm_up() -> None:
    network = nn.Linear(1, 1, bias=False)
    nn.init.zeros_(network.weight)
    average = averaged(network, 0.0)
    nn.init.ones_(network.weight)
    average.update()
    assert average.model.weight.item() == 1


def test_averaged_model_is_a_frozen_copy_in_evaluation_mode() -> None:
    network = small_network().train()
    average = averaged(network, 0.9)
    assert not average.model.training
    assert network.training
    assert not any(parameter.requires_grad for parameter in average.model.parameters())
    before = average.model[0].weight.clone()
    nn.init.zeros_(network[0].weight)
    assert torch.equal(average.model[0].weight, before)
