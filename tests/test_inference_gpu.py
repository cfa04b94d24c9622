"""The chains of a GPU in the inference benchmark: on the CPU they say the same, and float16 is where it should be."""

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from exported_file import to_onnx
from int8_network import small
from onnx import TensorProto, numpy_helper

import benchmarks.inference
from benchmarks.inference import Bench
from benchmarks.inference_gpu import make_gpu_chains, to_float16
from contract.errors import UserError
from contract.model_card import ModelCard
from export.graph import ExportedNetwork
from train.resnet import BasicBlock

NO_GPU = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no usable GPU")


@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=NO_GPU)])
def test_every_chain_says_what_float32_says(device: str, card: ModelCard) -> None:
    network = small(BasicBlock, 3)
    module = ExportedNetwork(network, card).eval()
    chains, starts = make_gpu_chains(to_onnx(network, card), module, False, device)
    assert list(chains) == list(starts)
    # Noise of five brightnesses: the logits of drawn cells lie nearer together than those of two arithmetics may.
    noise = np.random.default_rng(0).integers(1, 256, (5, 40, 40, 3), np.uint8)
    images = (noise * np.linspace(0.2, 1, 5)[:, None, None, None]).astype(np.uint8)
    wanted = chains["ours float32"](images)
    assert wanted.shape == (5, 2)
    spread = np.ptp(wanted, axis=0).min()
    near = {"ours TF32": 5e-2, "ours float16": 5e-2, "torch eager": 5e-2, "torch bf16 channels_last": 0.2}
    assert {"ours float32", *near} == set(chains)
    for name, share in near.items():
        found = chains[name](images)
        assert found.dtype == np.float32
        assert np.abs(found - wanted).max() < share * spread, name
    assert np.abs(chains["ours float16"](images) - wanted).max() > 0  # it is another arithmetic


def test_float16_is_what_lies_between_the_first_convolution_and_the_classifier(exported: Path) -> None:
    data = (exported / "resnet18" / "model.onnx").read_bytes()
    plain, half = onnx.load_from_string(data), onnx.load_from_string(to_float16(data))
    onnx.checker.check_model(half, full_check=True)
    held = {tensor.name: tensor for tensor in half.graph.initializer}
    kinds = [held[node.input[1]].data_type for node in half.graph.node if node.op_type == "Conv"]
    assert kinds == [TensorProto.FLOAT16] * (len(kinds) - 1) + [TensorProto.FLOAT]  # the last one draws the map
    for tensor in plain.graph.initializer:
        values, found = numpy_helper.to_array(tensor), numpy_helper.to_array(held[tensor.name])
        np.testing.assert_array_equal(found, values.astype(found.dtype))


def test_the_raw_file_is_not_timed_on_a_gpu() -> None:
    with pytest.raises(UserError, match=r"--data cells: model\.raw\.onnx is timed with --device cpu alone"):
        benchmarks.inference._refuse_on_gpu(Bench(device="cuda", data=Path("cells")))


def test_a_gpu_that_there_is_not_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(UserError, match="--device cuda: torch has no usable GPU here"):
        benchmarks.inference._refuse_on_gpu(Bench(device="cuda"))
