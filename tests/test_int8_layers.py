"""What an int8 network is made of, layer by layer, without a file: mended biases, even channels, stored integers."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from int8_network import KINDS, small
from onnx import TensorProto, helper, numpy_helper
from torch import nn

from contract.manifest import Manifest
from contract.model_card import ModelCard
from contract.shard_reader import SplitReader
from export import int8_ranges
from export.graph import fold_batch_norm
from export.int8_ranges import Int8Conv, Pair, Range, Ranges, _Walk, equalise, measure_ranges
from export.quantize import _quantise_weights, _shift_logits
from train.normalise import Normalise


@pytest.fixture(scope="module")
def images(shards: Path, manifest: Manifest) -> torch.Tensor:
    train = SplitReader(shards, manifest, "train")
    return torch.from_numpy(np.stack([train.image(i) for i in range(6)]))


@torch.inference_mode()
def test_no_channel_s_mean_moves_where_weights_inputs_and_shortcut_are_rounded() -> None:
    torch.manual_seed(0)
    conv, exact, past = nn.Conv2d(6, 8, 3, padding=1), torch.rand(5, 6, 9, 9), torch.rand(5, 8, 9, 9)
    coarse, walk = Range(0.3, 0), _Walk(Ranges(), ())
    pair, shortcut = Pair(exact, coarse.rounded(exact)), Pair(past, coarse.rounded(past) - 0.1)
    found = walk.convolve("block.conv2", conv, pair, shortcut)
    assert torch.equal(found.exact, conv(exact))
    wanted = (found.exact + shortcut.exact).mean(dim=(0, 2, 3))
    assert torch.allclose((found.rounded + shortcut.rounded).mean(dim=(0, 2, 3)), wanted, atol=1e-5)
    stored = walk.ranges.convs["block.conv2"]
    weight = stored.weight * stored.scale[:, None, None, None]
    assert torch.allclose(nn.functional.conv2d(pair.rounded, weight, stored.bias, padding=1), found.rounded, atol=1e-5)
    assert (stored.weight.float() - conv.weight / stored.scale[:, None, None, None]).abs().max() <= 0.5001


def test_the_classifier_gets_back_what_rounding_took_from_its_inputs(
    card: ModelCard, images: torch.Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    network, walked, through_block = fold_batch_norm(small(*KINDS["basic"])), [], int8_ranges._through_block

    def note(*arguments: Any) -> tuple[Pair, Range]:
        walked.append(through_block(*arguments))
        return walked[-1]

    monkeypatch.setattr(int8_ranges, "_through_block", note)
    ranges, (pair, last) = measure_ranges(network, Normalise.of(card), images, ()), walked[-1]
    with torch.inference_mode():
        exact, rounded = (network.fc(side.mean(dim=(2, 3))).mean(dim=0) for side in pair)
        assert torch.allclose(exact, network(Normalise.of(card)(images)).mean(dim=0), atol=1e-4)
        assert torch.allclose(rounded + ranges.logit_shift, exact, atol=1e-4)
    assert ranges.logit_shift.abs().max() > 1e-3
    assert ranges.inputs["fc"] == last


@pytest.mark.parametrize("kind", ["basic", "bottleneck"])
@torch.inference_mode()
def test_channels_inside_a_block_reach_equally_far_for_the_weights_that_read_them(
    kind: str, card: ModelCard, images: torch.Tensor
) -> None:
    folded, normalise = fold_batch_norm(small(*KINDS[kind])), Normalise.of(card)
    network = equalise(folded, normalise, images)
    for stage in ("layer1", "layer2", "layer3", "layer4"):
        before, after = (getattr(one, stage)[0].conv2.weight for one in (folded, network))
        assert not torch.equal(after, before), stage
    block = network.layer1[0]
    convs = [getattr(block, name) for name in ("conv1", "conv2", "conv3") if hasattr(block, name)]
    x = network.maxpool(network.relu(network.conv1(normalise(images))))
    for conv in convs[:-1]:
        x = conv(x).relu()
    reach, width = x.amax(dim=(0, 2, 3)), convs[-1].weight.abs().amax(dim=(0, 2, 3))
    alive = reach > 1e-3 * reach.max()
    assert alive.sum() > 10
    ratio = (reach / width)[alive]
    assert ratio.max() < 1.01 * ratio.min()


def test_integers_of_weights_and_bias_are_the_nearest() -> None:
    rng = np.random.default_rng(0)
    integers, bias = rng.integers(-127, 128, (5, 3, 3, 3)).astype(np.int8), rng.normal(size=5).astype(np.float32)
    scale, source = rng.uniform(0.01, 0.1, 5).astype(np.float32), Range(0.05, 3)
    conv = Int8Conv(*map(torch.from_numpy, (integers, scale, bias)))
    node = helper.make_node("Conv", ["x", "network.conv1.weight", "network.conv1.bias"], ["y"])
    graph = helper.make_graph([], "g", [], [])
    _quantise_weights(graph, node, conv, source)
    found = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    np.testing.assert_array_equal(found["network.conv1.weight.integers"][:, :3], integers)
    np.testing.assert_array_equal(found["network.conv1.weight.scale"], scale)
    steps = found["network.conv1.bias.scale"]  # a product of an input and a weight is counted in these
    np.testing.assert_allclose(steps, scale * 0.05, rtol=1e-6)
    error = found["network.conv1.bias.integers"] * steps.astype(np.float64) - bias
    assert (np.abs(error) <= 0.5001 * steps).all()
    assert found["network.conv1.bias.integers"].dtype == np.int32


@pytest.mark.parametrize("length", [1e-9, 1e-6, 0.0])
@torch.inference_mode()
def test_a_channel_of_next_to_no_weights_keeps_its_bias(length: float) -> None:
    # In int32, counted in steps of a weight's scale times an input's, its bias would be beyond what there is.
    torch.manual_seed(0)
    conv, exact = nn.Conv2d(4, 3, 1), torch.rand(5, 4, 9, 9)
    conv.weight[1] *= length
    assert conv.bias is not None
    conv.bias[1] = -0.5
    walk = _Walk(Ranges(), ())
    pair = walk.quantise("conv2", Pair(exact, exact))
    walk.convolve("conv2", conv, pair)
    node = helper.make_node("Conv", ["x", "network.conv2.weight", "network.conv2.bias"], ["y"])
    graph = helper.make_graph([], "g", [], [])
    _quantise_weights(graph, node, walk.ranges.convs["conv2"], walk.ranges.inputs["conv2"])
    found = {tensor.name.removeprefix("network.conv2."): numpy_helper.to_array(tensor) for tensor in graph.initializer}
    weight, bias = (
        torch.from_numpy(found[f"{name}.integers"] * found[f"{name}.scale"].reshape(shape).astype(np.float64)).float()
        for name, shape in (("weight", (-1, 1, 1, 1)), ("bias", (-1,)))
    )
    assert torch.allclose(nn.functional.conv2d(pair.rounded, weight, bias), conv(exact), atol=0.02)
    assert float(bias[1]) == pytest.approx(-0.5, abs=1e-3)
    assert np.abs(found["bias.integers"].astype(np.int64)).max() <= 2**30 + 1  # beside it products are added in 32 bits


def test_the_shift_is_added_to_the_classifier_s_bias() -> None:
    bias = numpy_helper.from_array(np.float32([1, 2]), "network.fc.bias")
    graph = helper.make_graph([], "g", [], [helper.make_tensor_value_info("y", TensorProto.FLOAT, [2])], [bias])
    _shift_logits(graph, np.float32([0.5, -1]))
    assert numpy_helper.to_array(graph.initializer[0]).tolist() == [1.5, 1.0]


def test_a_range_has_levels_of_0_to_255_and_zero_among_its_values() -> None:
    values = torch.tensor([-9.0, -1.4, 0.1, 100.0, 500.0])
    assert Range(0.5, 3).rounded(values).tolist() == [-1.5, -1.5, 0.0, 100.0, 126.0]
    assert int8_ranges.range_of(torch.tensor([1.0, 2.0])) == Range(2 / 255, 0)
    assert int8_ranges.range_of(torch.tensor([-1.0, 2.0])) == Range(3 / 255, 85)
    assert int8_ranges.range_of(torch.tensor([-3.0, -1.0])).zero_point == 255
