"""An export that breaks off: what was published before stays, all of it."""

import shutil
from dataclasses import replace
from pathlib import Path

import onnx
import pytest
import torch

import export.network
from contract.errors import UserError
from contract.model_card import ModelCard
from export.calibrate import OperatingPoint
from export.card import load_card
from export.network import Plan, export_network
from train.checkpoint import save_checkpoint
from train.resnet import build_resnet


@pytest.fixture
def plan(exported: Path, card: ModelCard, shards: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Plan:
    """To export the network of ``exported`` again, with another threshold; its graph is not translated anew."""
    shutil.copytree(exported, tmp_path / "artifacts")
    torch.manual_seed(0)
    network = build_resnet("resnet18")
    save_checkpoint(tmp_path / "artifacts" / "resnet18" / "best.pt", card, {"model": network.state_dict()})
    graph = onnx.load(exported / "resnet18" / "model.onnx")
    monkeypatch.setattr(export.network, "translate", lambda *_: graph)
    return Plan(tmp_path / "artifacts", (shards,), None, OperatingPoint("balanced"), False, False)


def _files(plan: Plan) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (plan.artifacts / "resnet18").iterdir()}


def test_raw_images_that_are_not_there_leave_the_earlier_files(plan: Plan, tmp_path: Path) -> None:
    before = _files(plan)
    with pytest.raises(UserError, match="does not hold"):
        export_network("resnet18", replace(plan, raw=True, data=tmp_path))
    assert _files(plan) == before


def test_too_few_cells_for_int8_leave_the_earlier_files(plan: Plan, monkeypatch: pytest.MonkeyPatch) -> None:
    before = _files(plan)
    monkeypatch.setattr("export.quantize.CELLS", 6)  # three of each class
    with pytest.raises(UserError, match="ranges need four of each"):
        export_network("resnet18", replace(plan, int8=True))
    assert _files(plan) == before


def test_model_onnx_is_the_last_file_to_be_published(plan: Plan, monkeypatch: pytest.MonkeyPatch) -> None:
    published: list[str] = []
    monkeypatch.setattr(export.network, "publish_bytes", lambda path, _: published.append(path.name))
    export_network("resnet18", replace(plan, raw=True))
    assert published == ["model.raw.onnx", "model.onnx"]


def test_an_export_that_ends_well_replaces_the_file(plan: Plan) -> None:
    export_network("resnet18", plan)
    assert load_card(plan.artifacts / "resnet18" / "model.onnx").operating_point == "balanced"
