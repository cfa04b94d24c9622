"""What a restored checkpoint says of itself, and what is counted over many batches on the way to it."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from int8_network import KINDS, small
from tiny_model import tiny, write
from torch import Tensor, nn

import export.restore
import export.unfold
from contract.errors import UserError
from contract.manifest import Manifest
from contract.model_card import FORMAT, LIMITS, ModelCard
from contract.shard_reader import SplitReader
from export.quantize import calibration_sample
from export.restore import checkpoint_card, on_shards, restore, restore_file
from export.source import Cells
from export.unfold import output_statistics
from train.normalise import Normalise


class MeanColour(nn.Module):
    """Calls a cell a blast where its pixels are brighter than those of the training split on average."""

    def forward(self, x: Tensor) -> Tensor:
        mean = x.mean(dim=(1, 2, 3))
        return torch.stack([torch.zeros_like(mean), mean], dim=1)


def test_accuracy_is_the_restored_network_s_and_agreement_is_with_the_file(
    card: ModelCard, shards: Path, manifest: Manifest, monkeypatch: pytest.MonkeyPatch
) -> None:
    train, valid = (SplitReader(shards, manifest, name) for name in ("train", "valid"))
    monkeypatch.setattr(export.restore, "build_resnet", lambda *_: MeanColour())
    measured: list[Tensor] = []
    monkeypatch.setattr(export.restore, "unfold", lambda *given: measured.append(given[-1]))
    monkeypatch.setattr(export.restore, "BATCH", 5)  # 12 cells are three batches, the last one smaller
    images = torch.from_numpy(np.stack([valid.image(i) for i in range(len(valid))]))
    says = (MeanColour()(Normalise.of(card)(images))[:, 1] > 0).numpy()
    file = np.stack([np.zeros(12), np.where(np.arange(12) < 3, ~says, says) - 0.5], axis=1).astype(np.float32)
    found = restore({}, card, Cells(train, valid, valid.labels, None), file)
    assert 0 < says.sum() < 12
    assert found.agreement == 9 / 12
    assert found.accuracy == np.mean(says == (valid.labels == 1))
    assert found.accuracy != np.mean((file[:, 1] > 0) == (valid.labels == 1))
    chosen = np.stack([train.image(i) for i in calibration_sample(train, 256)])
    np.testing.assert_array_equal(measured[0].numpy(), chosen)  # statistics are of cells of train


def test_a_restored_checkpoint_keeps_nothing_of_what_the_export_had_found(card: ModelCard) -> None:
    exported = replace(
        card,
        variant="int8",
        temperature=2.0,
        threshold=0.3,
        operating_point="balanced",
        samples=12,
        intervals={"valid_accuracy": (0.4, 0.6)},
        calibration=("a",),
        float_layers=("fc",),
        verification={"agreement": 1.0},
        opset=18,
        ir=8,
        limits=("another",),
    )
    found = checkpoint_card(exported, b"the file", 0.75)
    kept = ("arch", "classes", "dataset", "recipe", "mean", "std", "manifest_digest", "seed", "epoch", "versions")
    as_it_was = {name: getattr(card, name) for name in kept}
    metrics = {"valid_accuracy": 0.75}
    assert found == ModelCard(format=FORMAT, training=found.training, metrics=metrics, **as_it_was)
    assert found.limits == LIMITS
    assert found.training["initial"].startswith("int8 file, SHA-256 ")


@pytest.mark.parametrize("arch", ["resnet34", "../elsewhere"])
def test_a_file_of_an_unknown_network_is_refused(
    arch: str, card: ModelCard, shards: Path, manifest: Manifest, tmp_path: Path
) -> None:
    model = tiny(card, arch=arch, training={"source_digest": manifest.source_digest})
    with pytest.raises(UserError, match=rf"model\.onnx: its card says '{arch}': only resnet18, resnet50, resnet152 "):
        restore_file(write(model, tmp_path / "model.onnx"), (shards,), tmp_path / "out")


def test_statistics_are_of_all_batches_together(
    card: ModelCard, shards: Path, manifest: Manifest, monkeypatch: pytest.MonkeyPatch
) -> None:
    train, network = SplitReader(shards, manifest, "train"), small(*KINDS["basic"])
    images = torch.from_numpy(np.stack([train.image(i) for i in range(10)]))
    at_once = output_statistics(network, Normalise.of(card), images)
    monkeypatch.setattr(export.unfold, "BATCH", 4)
    for name, (mean, deviation) in output_statistics(network, Normalise.of(card), images).items():
        assert torch.allclose(mean, at_once[name][0], rtol=1e-4, atol=1e-6), name
        assert torch.allclose(deviation, at_once[name][1], rtol=1e-4, atol=1e-6), name


def test_the_cells_of_its_training_are_found_among_several_folders(
    card: ModelCard, shards: Path, manifest: Manifest, tmp_path: Path
) -> None:
    (tmp_path / "manifest.json").write_text(replace(manifest, source_digest="1" * 64).to_json())
    kept = replace(card, training={"source_digest": manifest.source_digest}, manifest_digest="0" * 64)
    for folders in ((tmp_path, shards), (shards, tmp_path)):
        assert on_shards(kept, folders, tmp_path / "model.onnx") == replace(kept, manifest_digest=manifest.digest)
