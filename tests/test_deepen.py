"""A deeper network from the weights of a shallower one: the same function, and blocks that can learn."""

import copy
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from equality import assert_equal

from contract.errors import UserError
from contract.publish import file_sha256
from train.checkpoint import load_checkpoint, save_checkpoint
from train.config import Config
from train.deepen import can_deepen, deepened
from train.resnet import ResNet, build_apart, build_resnet
from train.run import Run

MANY = {"layer1": 3, "layer2": 8, "layer3": 36, "layer4": 3}
OLD = {"layer1": [0, 1, 2], "layer2": [0, 2, 4, 6], "layer3": [0, 6, 12, 18, 24, 30], "layer4": [0, 1, 2]}


@pytest.fixture(scope="module")
def shallow() -> ResNet:
    """A ResNet50 none of whose weights is what a fresh network has. Read only."""
    torch.manual_seed(1)
    network = build_resnet("resnet50", channels=6)
    generator = torch.Generator().manual_seed(2)
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            for value in (module.weight, module.running_var):
                value.data.uniform_(0.5, 1.5, generator=generator)
            for value in (module.bias, module.running_mean):
                value.data.normal_(0, 0.1, generator=generator)
    return network.eval()


@pytest.fixture(scope="module")
def deep(shallow: ResNet) -> ResNet:
    torch.manual_seed(3)
    network = build_resnet("resnet152", channels=6)
    network.load_state_dict(deepened(shallow.state_dict(), "resnet50", "resnet152", network.state_dict()))
    return network.eval()


@pytest.mark.parametrize("size", [33, 70])
def test_the_deeper_network_computes_the_same_to_the_bit(shallow: ResNet, deep: ResNet, size: int) -> None:
    images = torch.randn(3, 6, size, size, generator=torch.Generator().manual_seed(size))
    with torch.no_grad():
        features = shallow.features(images)
        assert features.std() > 0.01  # not everything was cut off by a ReLU
        assert_equal(deep.features(images), features)
        assert_equal(deep(images), shallow(images))


def test_blocks_keep_their_order_and_are_spread_over_their_stage(shallow: ResNet, deep: ResNet) -> None:
    for stage, many in MANY.items():
        blocks = getattr(deep, stage)
        assert len(blocks) == many
        for i, block in enumerate(getattr(shallow, stage)):
            assert_equal(blocks[OLD[stage][i]].state_dict(), block.state_dict())
        for place in set(range(many)) - set(OLD[stage]):
            assert not blocks[place].bn3.weight.any()
            assert blocks[place].conv2.weight.any()


def test_new_blocks_learn(deep: ResNet) -> None:
    network = build_resnet("resnet152", channels=6)
    network.load_state_dict(deep.state_dict())
    images = torch.randn(4, 6, 48, 48, generator=torch.Generator().manual_seed(0))
    optimizer = torch.optim.SGD(network.parameters(), lr=0.01)
    for _ in range(2):  # gammas of zero let the first step reach themselves alone
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(network(images), torch.tensor([0, 1, 0, 1])).backward()
        optimizer.step()
    new, before = network.layer3[1], deep.layer3[1]
    assert (new.bn3.weight != 0).float().mean() > 0.5
    assert not torch.equal(new.conv2.weight, before.conv2.weight)


def test_only_a_shallower_network_of_the_same_blocks_can_be_deepened(shallow: ResNet) -> None:
    names = ("resnet18", "resnet50", "resnet152", "other")
    assert [(a, b) for a in names for b in names if can_deepen(a, b)] == [("resnet50", "resnet152")]
    with pytest.raises(ValueError, match="resnet50 is not resnet152 with blocks put in"):
        deepened({}, "resnet152", "resnet50", shallow.state_dict())


def test_a_network_built_apart_leaves_the_global_generator_alone() -> None:
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    build_apart("resnet18")
    assert_equal(torch.rand(3), expected)


def test_a_run_starts_from_a_shallower_network_and_its_card_says_so(
    shallow: ResNet, shards: Path, tmp_path: Path
) -> None:
    config = Config(shards=shards, artifacts=tmp_path, arch="resnet152", device="cpu")
    card = Run(replace(config, arch="resnet50")).card()
    path = tmp_path / "shallow.pt"
    save_checkpoint(path, replace(card, epoch=7), {"model": shallow.state_dict()})
    run = Run(replace(config, initial=path))
    images = torch.from_numpy(np.random.default_rng(0).standard_normal((2, 6, 64, 64)).astype(np.float32))
    with torch.no_grad():
        logits = copy.deepcopy(shallow).to(memory_format=torch.channels_last)(images)  # rounds as the run's does
        torch.testing.assert_close(run.model.eval()(images), logits)
        torch.testing.assert_close(run.ema.model.eval()(images), logits)
    size = card.recipe.size
    expected = f"resnet50 deepened: epoch 7 at {size} px, SHA-256 {file_sha256(path)}"
    assert run.card().training["initial"] == expected
    with pytest.raises(UserError, match="these differ: arch resnet50 -> resnet18"):
        Run(replace(config, arch="resnet18", initial=path))


@pytest.mark.parametrize("damage", ["lacks a weight", "no weights", "not a dict"])
def test_weights_that_are_not_whole_are_refused(shallow: ResNet, shards: Path, tmp_path: Path, damage: str) -> None:
    config = Config(shards=shards, artifacts=tmp_path, arch="resnet152", device="cpu")
    path = tmp_path / "shallow.pt"
    weights = dict(shallow.state_dict())
    del weights["layer3.2.conv1.weight"]
    state = {"lacks a weight": {"model": weights}, "no weights": {}, "not a dict": {"model": 3}}[damage]
    save_checkpoint(path, Run(replace(config, arch="resnet50")).card(), state)
    assert load_checkpoint(path)[0].arch == "resnet50"
    with pytest.raises(UserError, match=r"shallow\.pt: its weights 'model' do not fit the network"):
        Run(replace(config, initial=path))
