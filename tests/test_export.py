"""The exported file: what is in it, that it agrees with torch, and that a wrong one is never published."""

import copy
import platform
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from as_trained import as_trained
from export_command import run_export
from exported_file import to_onnx
from onnx import numpy_helper

import export.network
from contract.errors import UserError
from contract.manifest import Manifest
from contract.model_card import METADATA_KEY, ModelCard
from contract.model_file import DIGEST_KEY
from contract.shard_reader import SplitReader
from export.card import load_card
from export.graph import OPSET, OUTPUTS
from train.checkpoint import save_checkpoint
from train.resnet import ResNet

ROOT = Path(__file__).resolve().parents[1]


@dataclass(frozen=True)
class Exported:
    """One resnet18 at 40 px: the network, its card, and the artifacts that hold checkpoint and ONNX file."""

    network: ResNet
    card: ModelCard
    artifacts: Path
    printed: str

    @property
    def path(self) -> Path:
        return self.artifacts / "resnet18" / "model.onnx"

    @property
    def model(self) -> onnx.ModelProto:
        return onnx.load(self.path)


@pytest.fixture(scope="module")
def exported(card: ModelCard, shards: Path, tmp_path_factory: pytest.TempPathFactory) -> Exported:
    artifacts = tmp_path_factory.mktemp("exported")
    network = as_trained("resnet18")
    save_checkpoint(artifacts / "resnet18" / "best.pt", card, {"model": network.state_dict()})
    printed: list[str] = []
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr("builtins.print", lambda *words: printed.append(" ".join(map(str, words))))
        run_export(artifacts, shards)
    return Exported(network, card, artifacts, "\n".join(printed))


@pytest.fixture(scope="module")
def session(exported: Exported) -> onnxruntime.InferenceSession:
    return onnxruntime.InferenceSession(exported.path, providers=["CPUExecutionProvider"])


def noise(n: int) -> np.ndarray:
    """uint8 ``[n, 40, 40, 3]``: noise, a quarter of it background."""
    rng = np.random.default_rng(5)
    return rng.integers(0, 256, (n, 40, 40, 3), np.uint8) * (rng.random((n, 40, 40, 1)) < 0.75)


def test_export_prints_its_file_and_how_near_it_is(exported: Exported) -> None:
    # 3 fixed images, 1 + 2 + 17 random ones, and the 12 cells of the validation split.
    assert f"{exported.path}: " in exported.printed
    assert "on 35 images" in exported.printed
    assert "note:" not in exported.printed
    stated = load_card(exported.path)
    loss, uncalibrated, accuracy = (
        stated.metrics[f"valid_{name}"] for name in ("loss", "loss_uncalibrated", "accuracy")
    )
    assert (
        f"temperature {stated.temperature:.3f}, threshold 0.5000 (default 0.5); on the validation split (n = 12): "
        f"accuracy {accuracy:.2%}, cross-entropy {uncalibrated:.4f} -> {loss:.4f}"
    ) in exported.printed
    assert f"{uncalibrated:.4f}" != f"{loss:.4f}"


def test_export_is_one_file_without_external_data(exported: Exported) -> None:
    assert {path.name for path in exported.path.parent.iterdir()} == {"best.pt", "model.onnx"}
    initializers = exported.model.graph.initializer
    assert sum(np.prod(tensor.dims) for tensor in initializers) > 11_000_000
    assert all(tensor.data_location == onnx.TensorProto.DEFAULT for tensor in initializers)
    assert not any(tensor.external_data for tensor in initializers)


def test_graph_uses_one_opset_of_standard_operators_and_no_batch_norm(exported: Exported) -> None:
    model = exported.model
    assert [(opset.domain, opset.version) for opset in model.opset_import] == [("", 18)]
    assert not model.functions
    assert {node.domain for node in model.graph.node} == {""}
    operators = [node.op_type for node in model.graph.node]
    assert "BatchNormalization" not in operators
    assert operators.count("Conv") == 21  # 20 of the network and the class activation map


def test_input_is_the_pixels_of_a_shard_and_only_the_batch_is_free(session: onnxruntime.InferenceSession) -> None:
    (images,) = session.get_inputs()
    assert (images.name, images.type) == ("images", "tensor(uint8)")
    assert isinstance(images.shape[0], str)
    assert images.shape[1:] == [40, 40, 3]
    assert tuple(output.name for output in session.get_outputs()) == OUTPUTS == ("logits", "probability", "cam")


@pytest.mark.parametrize("n", [1, 2, 17])
def test_outputs_have_their_shapes_for_any_batch(session: onnxruntime.InferenceSession, n: int) -> None:
    outputs = session.run(None, {"images": noise(n)})
    assert [output.shape for output in outputs] == [(n, 2), (n,), (n, 2, 2, 2)]
    assert all(output.dtype == np.float32 for output in outputs)


def test_image_does_not_depend_on_its_batch(session: onnxruntime.InferenceSession) -> None:
    together = session.run(None, {"images": noise(5)})
    alone = session.run(None, {"images": noise(5)[3:4]})
    for a, b in zip(together, alone, strict=True):
        assert np.abs(a[3] - b[0]).max() < 1e-4


def reference(network: ResNet, card: ModelCard, images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Logits and probability of a blast in float64, by the plain network on pixels normalised by numpy."""
    tissue = images.any(axis=3, keepdims=True)
    x = np.where(tissue, (images.astype(np.float64) - card.mean) / card.std, 0).transpose(0, 3, 1, 2)
    with torch.inference_mode():
        logits = copy.deepcopy(network).double()(torch.from_numpy(x))
    return logits.numpy(), torch.softmax(logits / card.temperature, dim=1)[:, 1].numpy()


def test_file_agrees_with_the_plain_network_in_float64(
    exported: Exported, session: onnxruntime.InferenceSession, shards: Path, manifest: Manifest
) -> None:
    reader = SplitReader(shards, manifest, "valid")
    images = np.concatenate([noise(4), np.stack([reader.image(i) for i in range(len(reader))])])
    logits, probability, _ = session.run(None, {"images": images})
    wanted, wanted_probability = reference(exported.network, load_card(exported.path), images)
    assert np.ptp(wanted, axis=0).min() > 0.1  # images that all score the same would prove little
    assert np.abs(logits - wanted).max() < 1e-4 * (1 + np.abs(wanted).max())
    assert np.abs(probability - wanted_probability).max() < 1e-4


def test_mean_of_a_map_and_the_bias_are_the_logit(exported: Exported, session: onnxruntime.InferenceSession) -> None:
    logits, _, cam = session.run(None, {"images": noise(6)})
    bias = exported.network.fc.bias.detach().numpy()
    assert np.abs(cam.mean(axis=(2, 3)) + bias - logits).max() < 1e-4
    assert np.abs(cam.std(axis=(2, 3))).min() > 0


def test_card_in_the_metadata_comes_back(exported: Exported) -> None:
    entries = {entry.key: entry.value for entry in exported.model.metadata_props}
    assert entries.keys() == {METADATA_KEY, DIGEST_KEY}
    stated = ModelCard.from_json(entries[METADATA_KEY])
    assert (stated.variant, stated.opset, stated.ir, stated.samples) == ("float32", OPSET, 8, 12)
    kept = {field: getattr(exported.card, field) for field in ("arch", "recipe", "mean", "std", "training", "epoch")}
    assert {field: getattr(stated, field) for field in kept} == kept


def test_nothing_of_the_exporting_machine_is_in_the_file(exported: Exported) -> None:
    assert str(ROOT).encode() not in exported.path.read_bytes()
    model = exported.model
    for tensor in model.graph.initializer:
        tensor.ClearField("raw_data")  # weights may spell any short word by chance
    rest = model.SerializeToString()
    assert b"resnet18" in rest
    for word in (str(ROOT), "site-packages", ".py", 'File "', str(Path.home()), platform.node()):
        assert word.encode() not in rest, word


def test_second_export_gives_the_same_bytes(exported: Exported) -> None:
    stated = load_card(exported.path)
    assert to_onnx(exported.network, stated) == exported.path.read_bytes()


def test_card_has_intervals_of_subject_ids_and_auroc(exported: Exported) -> None:
    stated = load_card(exported.path)
    names = {f"valid_{name}{kind}" for name in ("accuracy", "auroc") for kind in ("", "_subjects")}
    assert names <= set(stated.intervals)
    assert not any("_people" in name or "_identities" in name for name in stated.intervals), "identities are unknown"
    for name in ("valid_accuracy", "valid_auroc"):
        low, high = stated.intervals[f"{name}_subjects"]
        assert low <= stated.metrics[name] <= high


def test_wrong_graph_is_refused_and_the_earlier_file_stays(
    exported: Exported, shards: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, earlier = exported.model, exported.path.read_bytes()
    (bias,) = [tensor for tensor in model.graph.initializer if tensor.name.endswith("fc.bias")]
    bias.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(bias) + np.float32([0.5, 0]), bias.name))
    monkeypatch.setattr(export.network, "translate", lambda *_: model)
    with pytest.raises(UserError, match=r"resnet18: ONNX and torch differ by .*: not published"):
        run_export(exported.artifacts, shards, "resnet18")
    assert exported.path.read_bytes() == earlier
    assert {path.name for path in exported.path.parent.iterdir()} == {"best.pt", "model.onnx"}


def test_shards_of_another_build_are_not_compared(
    exported: Exported, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.setattr(export.network, "translate", lambda *_: exported.model)
    run_export(exported.artifacts, tmp_path, "resnet18")
    printed = capsys.readouterr().out
    assert "note: " in printed
    assert "on 23 images" in printed


def test_data_without_the_shards_of_the_network_is_refused(exported: Exported, tmp_path: Path) -> None:
    wanted = f"--data {tmp_path}: needs --shards of this network, which say what valid is: not in {tmp_path}"
    with pytest.raises(UserError, match=f"^{re.escape(wanted)}$"):
        run_export(exported.artifacts, tmp_path, "resnet18", "--data", str(tmp_path))
    with pytest.raises(UserError, match=r"--operating-point sensitivity 0\.9: is chosen on valid: --shards"):
        run_export(exported.artifacts, tmp_path, "resnet18", "--operating-point", "0.9")
