"""Verification before publishing: a good graph passes, and no wrong one does."""

import copy
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from exported_file import to_onnx
from onnx import numpy_helper

from contract.errors import UserError
from contract.model_card import FORMAT, ModelCard
from contract.recipe import Recipe
from export.graph import OUTPUTS, ExportedNetwork
from export.verify import _fixed, _random, verify
from train.resnet import BasicBlock, ResNet

CARD = ModelCard(
    format=FORMAT,
    arch="resnet18",
    classes=("normal", "blast"),
    dataset="synthetic",
    recipe=Recipe(size=33),
    mean=(160.0, 120.0, 180.0),
    std=(30.0, 40.0, 20.0),
    manifest_digest="0" * 64,
    seed=0,
    epoch=1,
    training={},
    versions={},
    metrics={},
)
NO_CROPS = np.zeros((0, 33, 33, 3), np.uint8)


@pytest.fixture(scope="module")
def network() -> ResNet:
    """One block a stage: the smallest network that has all parts."""
    torch.manual_seed(0)
    network = ResNet(BasicBlock, (1, 1, 1, 1), 2)
    for block in network.modules():
        if isinstance(block, BasicBlock):
            torch.nn.init.uniform_(block.last_norm.weight, 0.2, 0.8)
    torch.nn.init.normal_(network.fc.weight)
    torch.nn.init.normal_(network.fc.bias)
    return network.eval()


@pytest.fixture(scope="module")
def onnx_bytes(network: ResNet) -> bytes:
    return to_onnx(network, CARD)


def test_good_graph_passes_with_small_errors_over_all_images(network: ResNet, onnx_bytes: bytes) -> None:
    crops = np.random.default_rng(1).integers(0, 256, (5, 33, 33, 3), np.uint8)
    comparison = verify(onnx_bytes, copy.deepcopy(network), CARD, crops)
    assert comparison.images == 3 + 1 + 2 + 17 + 5
    assert 0 < comparison.logit_error < 1e-3
    assert 0 < comparison.probability_error < 1e-5


# What can be wrong with a graph: each changes one thing in the good file.
Damage = Callable[[onnx.ModelProto], None]


def change_initializer(model: onnx.ModelProto, name: str, change: Callable[[np.ndarray], np.ndarray]) -> None:
    (tensor,) = [tensor for tensor in model.graph.initializer if tensor.name.endswith(name)]
    tensor.CopyFrom(numpy_helper.from_array(change(numpy_helper.to_array(tensor)).astype(np.float32), tensor.name))


def shift_bias(model: onnx.ModelProto) -> None:
    change_initializer(model, "fc.bias", lambda bias: bias + np.float32([0.5, 0]))


def swap_labels(model: onnx.ModelProto) -> None:
    change_initializer(model, "fc.bias", lambda bias: bias[::-1])


def forget_a_convolution(model: onnx.ModelProto) -> None:
    change_initializer(model, "layer1.0.conv1.weight", lambda weight: weight * 0)


def not_a_number(model: onnx.ModelProto) -> None:
    change_initializer(model, "fc.bias", lambda bias: bias * np.nan)


def replace_output(model: onnx.ModelProto, output: str, operator: str) -> None:
    """Compute ``output`` from itself by one more operator."""
    (node,) = [node for node in model.graph.node if output in node.output]
    for other in model.graph.node:
        other.input[:] = [f"true_{name}" if name == output else name for name in other.input]
    node.output[:] = [f"true_{output}"]
    model.graph.node.append(onnx.helper.make_node(operator, [f"true_{output}"], [output]))


def other_probability(model: onnx.ModelProto) -> None:
    replace_output(model, "probability", "Sqrt")


def other_map(model: onnx.ModelProto) -> None:
    replace_output(model, "cam", "Neg")


def add_where_all_white(model: onnx.ModelProto) -> None:
    """Add 1 to the logits where the darkest pixel of the whole batch is 255."""
    replace_output(model, "logits", "Add")
    nodes = [
        onnx.helper.make_node("Cast", ["images"], ["as_float"], to=onnx.TensorProto.FLOAT),
        onnx.helper.make_node("ReduceMin", ["as_float"], ["darkest"], keepdims=0),
        onnx.helper.make_node("Div", ["darkest", "white"], ["share"]),
        onnx.helper.make_node("Floor", ["share"], ["all_white"]),
    ]
    add = model.graph.node.pop()
    add.input.append("all_white")
    model.graph.node.extend([*nodes, add])
    model.graph.initializer.append(numpy_helper.from_array(np.float32(255), "white"))


DAMAGES = (shift_bias, swap_labels, forget_a_convolution, not_a_number, other_probability, other_map)


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: damage.__name__)
def test_damaged_graph_is_refused(damage: Damage, network: ResNet, onnx_bytes: bytes) -> None:
    model = onnx.load_from_string(onnx_bytes)
    damage(model)
    with pytest.raises(UserError, match=r"resnet18: ONNX and torch differ by .*: not published"):
        verify(model.SerializeToString(), copy.deepcopy(network), CARD, NO_CROPS)


def test_graph_of_other_weights_is_refused(network: ResNet, onnx_bytes: bytes) -> None:
    other = copy.deepcopy(network)
    torch.nn.init.normal_(other.fc.weight, generator=torch.Generator().manual_seed(1))
    with pytest.raises(UserError, match="not published"):
        verify(onnx_bytes, other, CARD, NO_CROPS)


def test_crops_are_compared(network: ResNet, onnx_bytes: bytes) -> None:
    # Uniform noise and discs cannot meet every case: only a white image tells this graph from the network.
    crops = np.full((1, 33, 33, 3), 255, np.uint8)
    model = onnx.load_from_string(onnx_bytes)
    add_where_all_white(model)
    assert verify(model.SerializeToString(), copy.deepcopy(network), CARD, NO_CROPS).images == 23
    with pytest.raises(UserError, match="not published"):
        verify(model.SerializeToString(), copy.deepcopy(network), CARD, crops)


def test_tie_within_the_error_is_no_other_decision(network: ResNet) -> None:
    # Both labels score alike up to 2e-5, and the graph has them the other way round.
    tied = copy.deepcopy(network)
    with torch.no_grad():
        tied.fc.weight[1] = tied.fc.weight[0]
        tied.fc.bias[1] = tied.fc.bias[0] + 2e-5
    swapped = onnx.load_from_string(to_onnx(tied, CARD))
    swap_labels(swapped)
    found = verify(swapped.SerializeToString(), tied, CARD, NO_CROPS)
    assert (found.images, found.ties) == (23, 23)


def test_another_decision_is_refused_however_near_the_logits_are(network: ResNet) -> None:
    # Logits of a thousand may differ by one; a temperature of as much leaves the probabilities alike.
    card, near = replace(CARD, temperature=1000.0), copy.deepcopy(network)
    with torch.no_grad():
        near.fc.weight *= 1000
        near.fc.weight[1] = near.fc.weight[0]
        near.fc.bias[1] = near.fc.bias[0] + 0.02
    good = to_onnx(near, card)
    assert verify(good, near, card, NO_CROPS).ties == 0
    swapped = onnx.load_from_string(good)
    swap_labels(swapped)
    with pytest.raises(UserError, match="resnet18: ONNX and torch differ in a decision: not published"):
        verify(swapped.SerializeToString(), near, card, NO_CROPS)


def test_network_is_not_changed(network: ResNet, onnx_bytes: bytes) -> None:
    compared = copy.deepcopy(network)
    verify(onnx_bytes, compared, CARD, NO_CROPS)
    assert compared.fc.weight.dtype == torch.float32


def shift_output(model: onnx.ModelProto, output: str, by: float) -> onnx.ModelProto:
    """A copy that adds ``by`` to ``output``."""
    shifted = onnx.ModelProto()
    shifted.CopyFrom(model)
    replace_output(shifted, output, "Add")
    shifted.graph.node[-1].input.append("shift")
    shifted.graph.initializer.append(numpy_helper.from_array(np.float32(by), "shift"))
    return shifted


@pytest.fixture(scope="module")
def wanted(network: ResNet) -> list[tuple[np.ndarray, list[np.ndarray]]]:
    """What the network says in float64 of all images that need no shards: each batch, and its three outputs."""
    reference = ExportedNetwork(copy.deepcopy(network), CARD).eval().double()
    sets = [_fixed(33), *_random(33)]
    with torch.inference_mode():
        return [(images, [output.numpy() for output in reference(torch.from_numpy(images))]) for images in sets]


def test_what_is_stated_is_the_largest_difference_from_float64(
    network: ResNet, onnx_bytes: bytes, wanted: list[tuple[np.ndarray, list[np.ndarray]]]
) -> None:
    session = onnxruntime.InferenceSession(onnx_bytes, providers=["CPUExecutionProvider"])
    largest = np.zeros(3)
    for images, outputs in wanted:
        found = session.run(list(OUTPUTS), {"images": images})
        largest = np.maximum(largest, [np.abs(f - w).max() for f, w in zip(found, outputs, strict=True)])
    comparison = verify(onnx_bytes, copy.deepcopy(network), CARD, NO_CROPS)
    assert comparison.logit_error == max(largest[0], largest[2])
    assert comparison.probability_error == largest[1]


@pytest.mark.parametrize("output", OUTPUTS)
def test_a_difference_is_published_up_to_its_limit_and_stated(
    output: str, network: ResNet, onnx_bytes: bytes, wanted: list[tuple[np.ndarray, list[np.ndarray]]]
) -> None:
    place, model = OUTPUTS.index(output), onnx.load_from_string(onnx_bytes)
    least = min(float(np.abs(outputs[place]).max()) for _, outputs in wanted)
    limit = 1e-4 if output == "probability" else 1e-3 * (1 + least)  # of the batch with the smallest values
    near = shift_output(model, output, 0.9 * limit).SerializeToString()
    found = verify(near, copy.deepcopy(network), CARD, NO_CROPS)
    stated = found.probability_error if output == "probability" else found.logit_error
    assert stated == pytest.approx(0.9 * limit, rel=0.05)
    far = shift_output(model, output, 1.1 * limit).SerializeToString()
    with pytest.raises(UserError, match=f"differ by .* in {output}: not published"):
        verify(far, copy.deepcopy(network), CARD, NO_CROPS)
