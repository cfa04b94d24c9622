"""The int8 and the raw variant of a small network: what is in the files, and that they decide as float32 does."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from int8_network import KINDS, card_for, int8_file, small
from onnx import numpy_helper

from build_shards.preprocess import preprocess, read_image
from contract.errors import UserError
from contract.manifest import load_manifest
from contract.model_card import ModelCard
from contract.model_file import EXACT_INT8
from contract.shard_reader import SplitReader
from evaluate.model_check import read_model
from evaluate.predictor import Predictor
from export.card import card_text, load_card
from export.graph import finish, fold_batch_norm, translate
from export.int8_ranges import equalise, measure_ranges
from export.quantize import Gate, calibration_sample, compare_decisions, quantize
from export.raw_graph import to_raw
from export.raw_verify import compare_raw
from export.source import logits_of
from train.normalise import Normalise
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
def train(shards: Path) -> SplitReader:
    return SplitReader(shards, load_manifest(shards), "train")


@pytest.fixture(scope="module")
def images(train: SplitReader) -> torch.Tensor:
    return torch.from_numpy(np.stack([train.image(i) for i in calibration_sample(train)]))


def outputs(data: bytes, images: np.ndarray, name: str = "images") -> list[np.ndarray]:
    return onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"]).run(None, {name: images})


def test_equalised_network_gives_the_same_outputs(network: ResNet, card: ModelCard, images: torch.Tensor) -> None:
    folded, normalise = fold_batch_norm(network), Normalise.of(card)
    with torch.inference_mode():
        wanted = folded(normalise(images))
        found = equalise(folded, normalise, images)
        assert (found(normalise(images)) - wanted).abs().max() < 1e-4 * wanted.abs().max()
    assert not torch.equal(found.layer1[0].conv2.weight, folded.layer1[0].conv2.weight)


@pytest.mark.parametrize("float_layers", [(), ("conv1",)])
def test_int8_file_is_near_float32_and_holds_int8_weights(
    network: ResNet, graph: onnx.ModelProto, card: ModelCard, images: torch.Tensor, float_layers: tuple[str, ...]
) -> None:
    normalise = Normalise.of(card)
    ranges = measure_ranges(fold_batch_norm(network), normalise, images, float_layers)
    data = finish(quantize(graph, ranges), card, "int8")
    model = onnx.load_from_string(data)
    kinds = [t.data_type for t in model.graph.initializer if len(t.dims) == 4 and t.dims[0] > 1]
    convolutions = sum(node.op_type == "Conv" for node in model.graph.node)
    assert kinds.count(onnx.TensorProto.INT8) == convolutions - 1 - len(float_layers)
    assert kinds.count(onnx.TensorProto.FLOAT) == 1 + len(float_layers)
    (first,) = [numpy_helper.to_array(t) for t in model.graph.initializer if t.dims[2:] == [7, 7]]
    channels = network.conv1.in_channels
    assert first.shape[1] == (channels if float_layers else {3: 4, 6: 8}[channels])  # what is added reads zeros
    assert first[:, :channels].any(axis=(0, 2, 3)).all()
    assert not first[:, channels:].any()
    pixels = images.numpy()[:6]
    wanted, found = outputs(finish(graph, card, "float32"), pixels)[0], outputs(data, pixels)[0]
    spread = np.abs(wanted - wanted.mean(axis=0)).max()
    assert 0 < np.abs(found - wanted).max() < 0.1 * spread + 0.05 * np.abs(wanted).max()


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


def test_ranges_without_mended_biases_would_be_noticed(
    network: ResNet, card: ModelCard, images: torch.Tensor, graph: onnx.ModelProto
) -> None:
    normalise = Normalise.of(card)
    ranges = measure_ranges(fold_batch_norm(network), normalise, images, ())
    wanted = outputs(finish(graph, card, "float32"), images.numpy())[0].mean(axis=0)
    mended = outputs(finish(quantize(graph, ranges), card, "int8"), images.numpy())[0].mean(axis=0)
    for name, conv in ranges.convs.items():
        ranges.convs[name] = replace(conv, bias=fold_batch_norm(network).get_submodule(name).bias)  # type: ignore[arg-type]
    ranges.logit_shift = torch.zeros(2)
    plain = outputs(finish(quantize(graph, ranges), card, "int8"), images.numpy())[0].mean(axis=0)
    assert np.abs(mended - wanted).max() < np.abs(plain - wanted).max()


def test_gate_counts_lost_accuracy_and_other_decisions() -> None:
    labels = np.array([0, 1] * 500)
    right = labels == 1
    one, six = right.copy(), right.copy()
    one[0], six[:6] = True, ~right[:6]
    assert compare_decisions(right, right, labels) == Gate(0.0, 1.0)
    assert compare_decisions(right, one, labels).passed
    assert not compare_decisions(right, six, labels).passed  # 0.6 points of accuracy
    assert not Gate(0.0, 0.989).passed
    assert not Gate(-0.0051, 1.0).passed
    assert Gate(-0.005, 0.99).passed


@pytest.mark.parametrize(("wrong", "passes"), [(5, True), (6, False)])
def test_a_loss_of_exactly_half_a_point_passes(wrong: int, passes: bool) -> None:
    # 0.975 - 0.98 is not -0.005 but a little less.
    labels = np.array([0, 1] * 100)
    float32, int8 = ((labels == 1) ^ (np.arange(200) < n) for n in (4, wrong))
    assert compare_decisions(float32, int8, labels).passed is passes


@pytest.mark.parametrize(("other", "passes"), [(2, True), (3, False)])
def test_exactly_99_of_100_equal_decisions_pass(other: int, passes: bool) -> None:
    labels = np.array([0, 1] * 100)
    float32 = labels == 1
    float32[:100] ^= True  # half of them wrong: what differs can be a gain
    assert compare_decisions(float32, float32 ^ (np.arange(200) < other), labels).passed is passes


def test_calibration_sample_is_fixed_and_balanced(train: SplitReader) -> None:
    sample = calibration_sample(train)
    assert sample == calibration_sample(train) == sorted(set(sample))
    labels = [train.samples[i].label for i in sample]
    assert labels.count(0) == labels.count(1) >= 4


def test_raw_file_agrees_with_builder_and_network_and_the_predictor_runs_it(
    graph: onnx.ModelProto, card: ModelCard, synthetic_data: Path, shards: Path, tmp_path: Path
) -> None:
    float32, raw = finish(graph, card, "float32"), finish(to_raw(graph, card), card, "raw")
    valid = SplitReader(shards, load_manifest(shards), "valid")
    logits = outputs(float32, np.stack([valid.image(i) for i in range(len(valid))]))[0]
    found = compare_raw(raw, float32, card, valid, logits, synthetic_data)
    assert found.passed, str(found)
    assert found.cells == 12 + len(valid)
    (tmp_path / "model.raw.onnx").write_bytes(raw)
    image = read_image(synthetic_data / valid.info(0)["source"])[0]
    predictor = Predictor(tmp_path / "model.raw.onnx", "cpu")
    prediction = predictor.predict_raw(image)
    assert prediction.box == preprocess(image, card.recipe, "cell").box
    np.testing.assert_allclose(prediction.logits[0], logits[0], atol=1e-3)
    with pytest.raises(Exception, match="finds no cell"):
        predictor.predict_raw(np.zeros((50, 60, 3), np.uint8))
    swapped = compare_raw(
        raw, float32, replace(card, temperature=card.temperature / 50), valid, logits[:, ::-1], synthetic_data
    )
    assert not swapped.passed


@pytest.mark.parametrize(("side", "pixels", "refused"), [(4, 15, True), (4, 16, False), (40, 15, True), (1, 1, True)])
def test_the_raw_file_refuses_as_many_pixels_as_the_builder_does(
    side: int, pixels: int, refused: bool, graph: onnx.ModelProto, card: ModelCard, tmp_path: Path
) -> None:
    boxed = replace(card, recipe=replace(card.recipe, crop="box"))  # which enlarges a speck to a whole image
    path = tmp_path / "model.raw.onnx"
    path.write_bytes(finish(to_raw(graph, boxed), boxed, "raw"))
    image = np.zeros((90, 90, 3), np.uint8)
    rows, columns = np.divmod(np.arange(pixels), side)
    image[30 + rows, 20 + columns] = (0, 7, 0)
    predictor = Predictor(path, "cpu")
    if refused:
        with pytest.raises(UserError, match="fewer than 16 are no cell"):
            preprocess(image, boxed.recipe, "cell")
        with pytest.raises(UserError, match="finds no cell in the image, or too small a one"):
            predictor.predict_raw(image)
    else:
        assert predictor.predict_raw(image).box == preprocess(image, boxed.recipe, "cell").box


def test_card_text_names_what_a_user_must_know(card: ModelCard, graph: onnx.ModelProto, tmp_path: Path) -> None:
    stated = replace(card, temperature=1.5, threshold=0.25, operating_point="sensitivity 0.95")
    (tmp_path / "model.onnx").write_bytes(finish(graph, stated, "float32"))
    text = card_text(load_card(tmp_path / "model.onnx"), "model.onnx")
    for word in (
        "not a medical device",
        "sensitivity 0.95",
        "0.25",
        "temperature 1.5",
        "opset 18",
        "10.7937",
        "normal",
    ):
        assert word in text, word
    assert "drawn cells" not in text  # only the raw variant is compared on them
