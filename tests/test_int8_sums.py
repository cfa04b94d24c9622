"""Sums of int8 products: exact on every processor, in files of now and in those of earlier versions."""

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from int8_network import KINDS, card_for, int8_file, small
from onnx import numpy_helper

from contract.manifest import load_manifest
from contract.model_card import ModelCard
from contract.model_file import EXACT_INT8, LARGEST_PAIR, int8_entries
from contract.shard_reader import SplitReader
from evaluate.model_check import read_model
from evaluate.predictor import Predictor
from export.graph import translate
from export.int8_ranges import weight_scale
from export.quantize import calibration_sample
from export.source import logits_of
from train.resnet import ResNet


@pytest.fixture(scope="module", params=KINDS.values(), ids=KINDS)
def network(request: pytest.FixtureRequest) -> ResNet:
    return small(*request.param)


@pytest.fixture(scope="module")
def card(card: ModelCard, network: ResNet) -> ModelCard:
    return card_for(card, network)


@pytest.fixture(scope="module")
def graph(network: ResNet, card: ModelCard) -> onnx.ModelProto:
    return translate(network, card)


@pytest.fixture(scope="module")
def images(shards: Path) -> torch.Tensor:
    train = SplitReader(shards, load_manifest(shards), "train")
    return torch.from_numpy(np.stack([train.image(i) for i in calibration_sample(train)]))


def plain_scale(weight: torch.Tensor) -> torch.Tensor:
    """As earlier versions had it: every weight within int8, whatever its neighbour is."""
    return weight.abs().amax(dim=(1, 2, 3)).clamp(min=1e-12) / 127


@pytest.mark.parametrize("earlier", [False, True], ids=["as now", "as earlier versions wrote it"])
def test_int8_sums_are_exact_as_export_and_evaluate_open_the_file(
    earlier: bool,
    graph: onnx.ModelProto,
    network: ResNet,
    card: ModelCard,
    images: torch.Tensor,
    shards: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # On x86 without VNNI onnxruntime adds in 16 bits unless it is told otherwise; the same graph, node by node in
    # float32, knows no such sums. Between the two a value may round to the next integer.
    if earlier:
        monkeypatch.setattr("export.int8_ranges.weight_scale", plain_scale)
    path = tmp_path / "model.int8.onnx"
    path.write_bytes(int8_file(graph, network, card, images))
    assert read_model(path).entries == ((EXACT_INT8,) if earlier else ())
    valid = SplitReader(shards, load_manifest(shards), "valid")
    pixels = np.stack([valid.image(i) for i in range(len(valid))])
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    plain = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    wanted = plain.run(["logits"], {"images": pixels})[0]
    for found in (Predictor(path, "cpu").predict(pixels).logits, logits_of(path.read_bytes(), valid)):
        assert np.abs(found - wanted).mean() < 0.005 * wanted.std()


def test_int8_sums_need_no_setting_to_be_exact(
    graph: onnx.ModelProto, network: ResNet, card: ModelCard, images: torch.Tensor
) -> None:
    data = int8_file(graph, network, card, images)
    options = onnxruntime.SessionOptions()
    options.add_session_config_entry(*EXACT_INT8)
    exact = onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    plain = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])
    noise = np.random.default_rng(0).integers(0, 256, images.shape, np.uint8)  # large values, which cells have rarely
    for pixels in (images.numpy(), noise):
        for wanted, found in zip(*(session.run(None, {"images": pixels}) for session in (exact, plain)), strict=True):
            np.testing.assert_array_equal(found, wanted)


@pytest.mark.parametrize("channels", [3, 4, 6, 64])
def test_int8_weights_of_neighbours_sum_to_what_fits_16_bits(channels: int) -> None:
    weight = torch.randn(200, channels, 3, 3, generator=torch.Generator().manual_seed(0))
    scale = weight_scale(weight)
    integers = torch.round(weight / scale[:, None, None, None]).int().numpy()
    found = [0, 0]
    for channel in range(0, channels, 2):  # the pairs, written out
        pair = integers[:, channel : channel + 2]
        for row in range(3):
            for column in range(3):
                values = pair[:, :, row, column]
                found[0] = max(found[0], max(sum(v for v in both if v > 0) for both in values))
                found[1] = max(found[1], max(-sum(v for v in both if v < 0) for both in values))
    assert max(found) in (LARGEST_PAIR - 1, LARGEST_PAIR)  # as wide as it may be
    assert 255 * max(found) < 2**15
    assert np.abs(integers).max() <= 127
    lone = torch.tensor([[1.0, -1.0, 0.0, 1.0]])[..., None, None]  # no two of one sign beside one another
    assert weight_scale(lone) == 1 / 127


@pytest.mark.parametrize(
    ("pair", "fits"),
    [
        ((64, 64), True),
        ((64, 65), False),
        ((-64, -64), True),
        ((-64, -65), False),
        ((127, -128), True),
        ((1, 127), True),
    ],
)
def test_a_pair_of_weights_that_may_saturate_is_seen(pair: tuple[int, int], fits: bool) -> None:
    for place in range(3):  # of a middle pair of channels, and of the last, behind which one is left over
        weights = np.zeros((2, 5, 1, 3), np.int8)
        weights[1, 2:4, 0, place] = pair
        tensor = numpy_helper.from_array(weights, "w")
        graph = onnx.helper.make_graph([], "g", [], [], [tensor])
        assert int8_entries(onnx.helper.make_model(graph)) == (() if fits else (EXACT_INT8,))
    apart = np.zeros((1, 5, 1, 1), np.int8)
    apart[0, 1:3, 0, 0] = pair  # neighbours, but of two pairs
    other = onnx.helper.make_model(onnx.helper.make_graph([], "g", [], [], [numpy_helper.from_array(apart, "w")]))
    assert int8_entries(other) == ()


def test_weights_that_are_stored_otherwise_count_as_such_that_may_saturate() -> None:
    tensor = onnx.helper.make_tensor("w", onnx.TensorProto.INT8, [1, 2, 1, 1], [1, 1])  # as int32_data
    assert not tensor.raw_data
    model = onnx.helper.make_model(onnx.helper.make_graph([], "g", [], [], [tensor]))
    assert int8_entries(model) == (EXACT_INT8,)
