"""int8 for matrix tiles: integers and zero points one lower, the same outputs to the bit, and where it is done."""

from itertools import combinations
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import numpy_helper

import benchmarks.inference_chains
import evaluate.predictor
from benchmarks.inference_chains import make_chains
from contract.manifest import load_manifest
from contract.model_card import ModelCard
from contract.model_file import EXACT_INT8, check_seal, int8_entries
from contract.shard_reader import SplitReader
from evaluate.matrix_tiles import LEAST_PRODUCTS, for_tiles, has_tiles
from evaluate.predictor import Predictor
from export.graph import finish, fold_batch_norm, translate
from export.int8_ranges import measure_ranges
from export.quantize import calibration_sample, quantize
from train.normalise import Normalise
from train.resnet import Bottleneck, ResNet


def opened(data: bytes, *entries: tuple[str, str]) -> onnxruntime.InferenceSession:
    """A session on the CPU with entries of onnxruntime's configuration."""
    options = onnxruntime.SessionOptions()
    for entry in entries:
        options.add_session_config_entry(*entry)
    return onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])


@pytest.fixture(scope="module")
def data(card: ModelCard, shards: Path) -> bytes:
    """The int8 file of a small network with convolutions on both sides of the bound."""
    torch.manual_seed(0)
    network = ResNet(Bottleneck, (1, 1, 1, 1), 2)
    for norm in network.modules():
        if isinstance(norm, torch.nn.BatchNorm2d):
            torch.nn.init.uniform_(norm.weight, 0.2, 0.8)
    network.eval()
    train = SplitReader(shards, load_manifest(shards), "train")
    images = torch.from_numpy(np.stack([train.image(i) for i in calibration_sample(train)]))
    ranges = measure_ranges(fold_batch_norm(network), Normalise.of(card), images, ())
    return finish(quantize(translate(network, card), ranges), card, "int8")


def weights(data: bytes) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Integers and zero points of every convolution, by the name of the integers."""
    model = onnx.load_from_string(data)
    held = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    nodes = [n for n in model.graph.node if n.op_type == "DequantizeLinear" and n.input[0].endswith("weight.integers")]
    return {n.input[0]: (held[n.input[0]], held[n.input[2]]) for n in nodes}


def test_weights_and_zero_points_of_large_convolutions_are_one_lower(data: bytes) -> None:
    moved = weights(for_tiles(data))
    sizes = set()
    for name, (integers, zero) in weights(data).items():
        large = integers[0].size >= LEAST_PRODUCTS
        sizes.add(large)
        assert integers.dtype == moved[name][0].dtype == moved[name][1].dtype == np.int8
        assert (moved[name][0].astype(int) == integers.astype(int) - large).all()
        assert (moved[name][1].astype(int) == zero.astype(int) - large).all()
    assert sizes == {True, False}
    assert moved.keys() == weights(data).keys()


def test_outputs_are_the_same_to_the_bit(data: bytes) -> None:
    images = np.random.default_rng(0).integers(0, 256, (17, 40, 40, 3), np.uint8)
    sessions = [opened(d, EXACT_INT8) for d in (data, for_tiles(data))]
    for batch in (1, 2, 17):
        plain, tiled = (session.run(None, {"images": images[:batch]}) for session in sessions)
        for wanted, found in zip(plain, tiled, strict=True):
            np.testing.assert_array_equal(found, wanted)


def test_weights_that_would_leave_int8_stay(data: bytes) -> None:
    model = onnx.load_from_string(data)
    name = next(name for name, (integers, _) in weights(data).items() if integers[0].size >= LEAST_PRODUCTS)
    tensor = next(tensor for tensor in model.graph.initializer if tensor.name == name)
    lowest = numpy_helper.to_array(tensor).copy()
    lowest.flat[0] = -128
    tensor.CopyFrom(numpy_helper.from_array(lowest, name))
    moved = weights(for_tiles(model.SerializeToString()))
    assert (moved[name][0] == lowest).all()
    assert not moved[name][1].any()
    assert sum(bool(zero.any()) for _, zero in moved.values()) > 1


def test_weights_that_share_their_zero_point_stay(data: bytes) -> None:
    """One lower for the one would be one lower for the other."""
    model, held = onnx.load_from_string(data), weights(data)
    nodes = [n for n in model.graph.node if n.op_type == "DequantizeLinear" and n.input[0] in held]
    large = [n for n in nodes if held[n.input[0]][0][0].size >= LEAST_PRODUCTS]
    pairs = ((a, b) for a, b in combinations(large, 2) if held[a.input[0]][1].shape == held[b.input[0]][1].shape)
    one, other = next(pairs)
    other.input[2] = one.input[2]
    moved = weights(for_tiles(model.SerializeToString()))
    for name in (one.input[0], other.input[0]):
        np.testing.assert_array_equal(moved[name][0], held[name][0])
        assert not moved[name][1].any()


def test_a_float32_file_has_nothing_to_move(exported: Path) -> None:
    file = (exported / "resnet18" / "model.onnx").read_bytes()
    assert onnx.load_from_string(for_tiles(file)) == onnx.load_from_string(file)


@pytest.mark.parametrize("tiles", [True, False])
def test_a_predictor_opens_it_so_where_there_are_tiles_and_the_file_stays(
    tiles: bool, data: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[bytes] = []
    session = onnxruntime.InferenceSession

    def noted(given: bytes, *rest: object, **more: object) -> onnxruntime.InferenceSession:
        seen.append(given)
        return session(given, *rest, **more)

    monkeypatch.setattr(evaluate.predictor.onnxruntime, "InferenceSession", noted)
    monkeypatch.setattr(evaluate.predictor, "has_tiles", lambda: tiles)
    path = tmp_path / "model.int8.onnx"
    path.write_bytes(data)
    predictor = Predictor(path)  # auto: onnxruntime may list CUDA where there is none
    assert predictor.predict(np.full((1, 40, 40, 3), 9, np.uint8)).logits.shape == (1, 2)
    assert seen == [for_tiles(data) if tiles else data]
    assert path.read_bytes() == data
    check_seal(path.read_bytes(), "the file")


def test_the_benchmark_times_what_a_predictor_opens(
    data: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Weights one lower may pass the bound of ``EXACT_INT8``, a slow setting that no processor with tiles needs."""
    assert not int8_entries(onnx.load_from_string(data))
    assert int8_entries(onnx.load_from_string(for_tiles(data)))
    seen: list[tuple[bytes, list[tuple[str, str]]]] = []
    session = onnxruntime.InferenceSession

    class Noted(onnxruntime.SessionOptions):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.entries: list[tuple[str, str]] = []

        def add_session_config_entry(self, *entry: str) -> None:
            self.entries.append(entry)  # type: ignore[arg-type]

    def noted(given: bytes, options: Noted, **more: object) -> onnxruntime.InferenceSession:
        seen.append((given, options.entries))
        return session(given, options, **more)

    monkeypatch.setattr(onnxruntime, "SessionOptions", Noted)
    monkeypatch.setattr(onnxruntime, "InferenceSession", noted)
    for module in (evaluate.predictor, benchmarks.inference_chains):
        monkeypatch.setattr(module, "has_tiles", lambda: True)
    monkeypatch.setattr(benchmarks.inference_chains, "find_spec", lambda _: None)
    (tmp_path / "model.int8.onnx").write_bytes(data)
    Predictor(tmp_path / "model.int8.onnx", "cpu")
    make_chains({"ours int8": data}, torch.nn.Identity(), 1, compiled=False)
    assert seen == [(for_tiles(data), []), (for_tiles(data), []), (data, [])]


def test_float32_files_are_opened_as_they_are(exported: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evaluate.predictor, "has_tiles", lambda: True)
    monkeypatch.setattr(evaluate.predictor, "for_tiles", lambda _: pytest.fail("a float32 file was changed"))
    assert Predictor(exported / "resnet18" / "model.onnx", "cpu").card.variant == "float32"


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("processor : 0\nflags\t\t: fpu amx_tile amx_int8 sse\n", True),
        ("flags\t\t: fpu amx_tile amx_bf16\n", False),
        ("model name : not amx_int8 at all\nflags : fpu\n", False),
        ("", False),
    ],
)
def test_tiles_are_what_the_kernel_says(text: str, found: bool, tmp_path: Path) -> None:
    (tmp_path / "cpuinfo").write_text(text)
    assert has_tiles(tmp_path / "cpuinfo") is found
    assert has_tiles(tmp_path / "nowhere") is False
