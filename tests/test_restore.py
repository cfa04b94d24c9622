"""From an exported file back to a checkpoint: the same function, BatchNorm at work, and a card that names the file."""

import hashlib
from copy import deepcopy
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from as_trained import as_trained
from int8_network import small
from onnx import numpy_helper

import export.cli
import export.restore
from contract.errors import UserError
from contract.manifest import Manifest
from contract.model_card import LIMITS, REFIT_LIMIT, ModelCard
from contract.shard_reader import SplitReader
from export.graph import finish, fold_batch_norm, translate
from export.int8_ranges import measure_ranges
from export.quantize import calibration_sample, quantize
from export.restore import restore_file
from export.unfold import folded_weights, norms_of, output_statistics, unfold
from train.checkpoint import load_checkpoint, load_weights
from train.config import Config
from train.initial import load_initial
from train.normalise import Normalise
from train.resnet import Bottleneck, ResNet, build_resnet


@pytest.fixture(scope="module", params=[3, 6], ids=["standardised", "with colours"])
def network(request: pytest.FixtureRequest) -> ResNet:
    return as_trained("resnet18", request.param)


@pytest.fixture(scope="module")
def trained(card: ModelCard, manifest: Manifest, network: ResNet) -> ModelCard:
    """The card of a training of ``network`` on ``shards``, which another version of the project wrote."""
    return card_of_training(card, manifest, network.conv1.in_channels)


def card_of_training(card: ModelCard, manifest: Manifest, channels: int) -> ModelCard:
    training = {"source_digest": manifest.source_digest, "initial": f"epoch 2 at 32 px, SHA-256 {'a' * 64}"}
    training |= {"standardise": True, "colours": channels == 6}
    return replace(card, training=training, manifest_digest="0" * 64, temperature=0.7, threshold=0.4, samples=12)


@pytest.fixture(scope="module")
def graph(network: ResNet, trained: ModelCard) -> onnx.ModelProto:
    """``network`` as a graph, translated once. Read only: copy it before changing it."""
    return translate(network, trained)


@pytest.fixture
def copied(graph: onnx.ModelProto) -> onnx.ModelProto:
    """A copy of ``graph`` that a test may damage."""
    return deepcopy(graph)


@pytest.fixture(scope="module")
def images(shards: Path, manifest: Manifest) -> torch.Tensor:
    train = SplitReader(shards, manifest, "train")
    return torch.from_numpy(np.stack([train.image(i) for i in calibration_sample(train)]))


@pytest.fixture(scope="module", params=["float32", "int8"])
def file(
    request: pytest.FixtureRequest,
    network: ResNet,
    graph: onnx.ModelProto,
    trained: ModelCard,
    images: torch.Tensor,
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:
    """The network's exported file."""
    if request.param == "int8":
        graph = quantize(graph, measure_ranges(fold_batch_norm(network), Normalise.of(trained), images, ()))
    path = tmp_path_factory.mktemp(request.param) / f"model.{request.param}.onnx"
    path.write_bytes(finish(graph, trained, request.param))
    return path


def restored(graph: onnx.ModelProto, trained: ModelCard, images: torch.Tensor) -> ResNet:
    made = build_resnet("resnet18", channels=trained.channels).eval()
    unfold(made, folded_weights(graph), Normalise.of(trained), images)
    return made


def test_the_network_says_what_the_float32_file_says(
    network: ResNet, graph: onnx.ModelProto, trained: ModelCard, images: torch.Tensor
) -> None:
    x = Normalise.of(trained)(images)
    with torch.inference_mode():
        wanted, found = network(x), restored(graph, trained, images)(x)
    assert (found - wanted).abs().max() < 1e-4 * wanted.abs().max()


def test_batch_norm_is_at_work(graph: onnx.ModelProto, trained: ModelCard, images: torch.Tensor) -> None:
    made, normalise = restored(graph, trained, images), Normalise.of(trained)
    for name, (mean, deviation) in output_statistics(made, normalise, images).items():
        conv, norm = dict(norms_of(made))[name]
        assert norm.running_mean is not None
        assert norm.running_var is not None
        assert torch.allclose(norm.running_mean.double(), mean, atol=1e-3 * float(deviation.mean())), name
        alive = deviation > 1e-3 * deviation.mean()
        assert alive.any()
        assert torch.allclose(norm.running_var.double()[alive].sqrt(), deviation[alive], rtol=1e-2), name
        fresh = (2 * conv.in_channels) ** 0.5  # the expected length of weights drawn after He et al., fan-out
        assert float(conv.weight.detach().norm()) == pytest.approx(fresh, rel=1e-3)
    with torch.inference_mode():
        wanted, made = made(normalise(images)), made.train()
        assert (made(normalise(images)) - wanted).abs().max() < 0.02 * wanted.abs().max()  # its own statistics


def test_a_channel_that_never_changes_stays(
    network: ResNet, copied: onnx.ModelProto, trained: ModelCard, images: torch.Tensor
) -> None:
    silent = build_resnet("resnet18", channels=trained.channels).eval()
    silent.load_state_dict(network.state_dict())
    silent.layer1[0].conv1.weight.data[3] = 0
    (tensor,) = [t for t in copied.graph.initializer if t.name == "network.layer1.0.conv1.weight"]
    weight = numpy_helper.to_array(tensor).copy()
    weight[3] = 0
    tensor.CopyFrom(numpy_helper.from_array(weight, tensor.name))
    x = Normalise.of(trained)(images)
    with torch.inference_mode():
        wanted, found = silent(x), restored(copied, trained, images)(x)
    assert (found - wanted).abs().max() < 1e-4 * wanted.abs().max()


def test_checkpoint_can_be_started_from(
    file: Path, trained: ModelCard, shards: Path, manifest: Manifest, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = restore_file(file, (shards,), tmp_path)
    assert path == tmp_path / "resnet18" / "best.pt"
    assert "of decisions as in" in capsys.readouterr().out
    card, state = load_checkpoint(path)
    load_weights(build_resnet("resnet18", channels=trained.channels), state, path)
    sha256 = hashlib.sha256(file.read_bytes()).hexdigest()
    variant = file.name.split(".")[1]
    initial = f"{variant} file, SHA-256 {sha256}; before: {trained.training['initial']}"
    assert card.training == trained.training | {"initial": initial}
    assert (card.variant, card.temperature, card.threshold, card.samples) == ("checkpoint", 1.0, 0.5, 0)
    assert card.manifest_digest == manifest.digest
    assert 0 <= card.metrics["valid_accuracy"] <= 1
    config = Config(shards=shards, artifacts=tmp_path / "next", initial=path)
    said = load_initial(build_resnet("resnet18", channels=trained.channels), config, manifest)
    assert said.endswith(f"; before: {initial}")


def test_a_restored_refit_stays_one_and_claims_no_accuracy(
    graph: onnx.ModelProto, trained: ModelCard, shards: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    refit = replace(trained, training=trained.training | {"refit": True}, limits=("a", REFIT_LIMIT, "c"))
    (tmp_path / "model.onnx").write_bytes(finish(graph, refit, "float32"))
    card, _ = load_checkpoint(restore_file(tmp_path / "model.onnx", (shards,), tmp_path / "out"))
    assert (card.refit, card.metrics, card.limits) == (True, {}, LIMITS)
    assert "accuracy on valid (which it learned) " in capsys.readouterr().out


def test_another_split_recipe_or_variant_is_refused(
    graph: onnx.ModelProto, trained: ModelCard, shards: Path, tmp_path: Path
) -> None:
    others = {
        "not of the cells, split and recipe": replace(trained, training={"source_digest": "1" * 64}),
        "none, crop box, 40 px, version 1": replace(trained, recipe=replace(trained.recipe, crop="box")),
    }
    for sentence, card in others.items():
        path = tmp_path / "model.onnx"
        path.write_bytes(finish(graph, card, "float32"))
        with pytest.raises(UserError, match=sentence):
            restore_file(path, (shards,), tmp_path / "out")
    path.write_bytes(finish(graph, trained, "raw"))
    with pytest.raises(UserError, match="takes raw images"):
        restore_file(path, (shards,), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_foreign_weights_are_refused(card: ModelCard, manifest: Manifest, shards: Path, tmp_path: Path) -> None:
    path, says = tmp_path / "model.onnx", card_of_training(card, manifest, 3)
    path.write_bytes(finish(translate(small(Bottleneck, 3), says), says, "float32"))
    with pytest.raises(UserError, match=r"model\.onnx: .* do not fit the network"):
        restore_file(path, (shards,), tmp_path / "out")


@pytest.mark.parametrize("name", ["network.layer1.0.conv1.weight", "network.fc.bias"])
def test_a_graph_without_its_tensors_is_refused(copied: onnx.ModelProto, name: str) -> None:
    (tensor,) = [t for t in copied.graph.initializer if t.name == name]
    copied.graph.initializer.remove(tensor)
    with pytest.raises(UserError, match=f"the tensor '{name}' is missing"):
        folded_weights(copied)


@pytest.mark.parametrize("place", ["initializer", "attribute"])
def test_external_data_is_refused(place: str, copied: onnx.ModelProto) -> None:
    if place == "attribute":
        tensor = onnx.helper.make_tensor("one", onnx.TensorProto.FLOAT, [1], [1])
        copied.graph.node.append(onnx.helper.make_node("Constant", [], ["unused"], value=tensor))
        tensor = copied.graph.node[-1].attribute[0].t
    else:
        tensor = copied.graph.initializer[0]
    tensor.external_data.add(key="location", value="weights.bin")
    with pytest.raises(UserError, match="lies in another file: external data is refused"):
        folded_weights(copied)


def test_a_checkpoint_that_is_there_stays(
    graph: onnx.ModelProto, trained: ModelCard, shards: Path, tmp_path: Path
) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(finish(graph, trained, "float32"))
    there = tmp_path / "out" / "resnet18" / "best.pt"
    there.parent.mkdir(parents=True)
    there.write_bytes(b"a training's own")
    with pytest.raises(UserError, match="is there already"):
        restore_file(path, (shards,), tmp_path / "out")
    assert there.read_bytes() == b"a training's own"


def test_another_decision_writes_nothing(
    graph: onnx.ModelProto, trained: ModelCard, shards: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(finish(graph, trained, "float32"))
    real = export.restore.folded_weights

    def turned(model: onnx.ModelProto) -> dict[str, tuple[torch.Tensor, torch.Tensor]]:
        found = real(model)
        return found | {"fc": (-found["fc"][0], -found["fc"][1])}

    monkeypatch.setattr(export.restore, "folded_weights", turned)
    with pytest.raises(UserError, match=r"only 0\.00% of its decisions on valid stay: nothing written"):
        restore_file(path, (shards,), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_the_command_writes_the_checkpoint(
    graph: onnx.ModelProto, trained: ModelCard, shards: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(finish(graph, trained, "float32"))
    words = ["export", "restore", str(path), "--shards", str(shards), "--out", str(tmp_path / "out")]
    monkeypatch.setattr("sys.argv", words)
    export.cli.main()
    assert (tmp_path / "out" / "resnet18" / "best.pt").is_file()
