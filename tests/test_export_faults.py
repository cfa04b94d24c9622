"""An export that breaks off, or a variant that fails its gate: what was published before stays."""

import itertools
import shutil
from dataclasses import replace
from pathlib import Path

import onnx
import pytest
from exported_file import to_onnx
from int8_network import small

import export.network
from contract.errors import UserError
from contract.model_card import ModelCard
from export.calibrate import OperatingPoint
from export.card import load_card
from export.network import Plan, export_network
from export.quantize import Gate
from export.raw_verify import RawComparison
from export.variants import ATTEMPTS, Attempt
from train.checkpoint import load_checkpoint, save_checkpoint
from train.resnet import BasicBlock


@pytest.fixture(scope="module")
def trained(card: ModelCard, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A network of one block a stage, its checkpoint and its exported file. Read only."""
    folder, network = tmp_path_factory.mktemp("trained"), small(BasicBlock, 3)
    save_checkpoint(folder / "resnet18" / "best.pt", card, {"model": network.state_dict()})
    (folder / "resnet18" / "model.onnx").write_bytes(to_onnx(network, card))
    return folder


@pytest.fixture
def plan(trained: Path, shards: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Plan:
    """To export the network of ``trained`` again, with another threshold; its graph is not translated anew."""
    shutil.copytree(trained, tmp_path / "artifacts")
    graph = onnx.load(trained / "resnet18" / "model.onnx")
    monkeypatch.setattr(export.network, "translate", lambda *_: graph)
    monkeypatch.setattr(export.network, "build_resnet", lambda *_: small(BasicBlock, 3))
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
    monkeypatch.setattr("export.variants.ATTEMPTS", (Attempt(6, ()),))  # three of each class
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


def test_an_int8_file_of_an_earlier_export_is_named_where_its_cells_are_not(
    plan: Plan, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    earlier = plan.artifacts / "resnet18" / "model.int8.onnx"
    earlier.unlink(missing_ok=True)
    without = replace(plan, shards=(tmp_path / "nowhere",), point=OperatingPoint("default 0.5"), int8=True)
    said = f"{earlier}: not made without the network's own shards"
    export_network("resnet18", without)
    assert f"{said}\n" in capsys.readouterr().out
    earlier.write_bytes(b"earlier")
    export_network("resnet18", without)
    assert earlier.read_bytes() == b"earlier"
    assert f"{said}; the file of an earlier export stays there\n" in capsys.readouterr().out


def test_an_int8_file_that_fails_its_gate_every_time_is_not_published(
    plan: Plan, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, gates = plan.artifacts / "resnet18", iter([Gate(-0.0051, 1.0), Gate(0.0, 0.98), Gate(0.0, 0.97)])
    (folder / "model.int8.onnx").write_bytes(b"earlier")
    monkeypatch.setattr("export.variants.compare_decisions", lambda *_: next(gates))
    export_network("resnet18", replace(plan, int8=True))
    assert (folder / "model.int8.onnx").read_bytes() == b"earlier"
    assert load_card(folder / "model.onnx").operating_point == "balanced"  # it is published all the same
    assert (
        "model.int8.onnx: not published: against float32 on valid, n = 12: accuracy -0.51 points, 100.00% of decisions "
        "agree; accuracy +0.00 points, 98.00% of decisions agree; accuracy +0.00 points, 97.00% of decisions agree; "
        "the file of an earlier export stays there\n"
    ) in capsys.readouterr().out


def test_an_int8_file_that_fails_its_gate_once_has_its_first_layer_in_float32(
    plan: Plan, monkeypatch: pytest.MonkeyPatch
) -> None:
    gates = iter([Gate(0.0, 0.98), Gate(-0.001, 0.995)])
    monkeypatch.setattr("export.variants.compare_decisions", lambda *_: next(gates))
    export_network("resnet18", replace(plan, int8=True))
    stated = load_card(plan.artifacts / "resnet18" / "model.int8.onnx")
    assert stated.float_layers == ("conv1", "fc")
    assert (stated.verification["accuracy_change"], stated.verification["agreement"]) == (-0.001, 0.995)
    assert 8 <= len(stated.calibration) == len(set(stated.calibration))


def test_an_int8_file_that_fails_its_gate_twice_has_its_ranges_of_more_cells(
    plan: Plan, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    attempts = Attempt(8, ()), Attempt(8, ("conv1",)), Attempt(20, ("conv1",))
    gates = iter([Gate(-0.01, 1.0), Gate(0.0, 0.98), Gate(0.0, 0.99)])
    monkeypatch.setattr("export.variants.ATTEMPTS", attempts)
    monkeypatch.setattr("export.variants.compare_decisions", lambda *_: next(gates))
    export_network("resnet18", replace(plan, int8=True))
    stated = load_card(plan.artifacts / "resnet18" / "model.int8.onnx")
    assert (stated.float_layers, len(set(stated.calibration))) == (("conv1", "fc"), 20)
    assert "float32 layers: conv1, fc; 20 cells for the ranges\n" in capsys.readouterr().out


def test_later_attempts_leave_more_in_float32_or_measure_more_cells() -> None:
    pairs = itertools.pairwise((attempt.cells, len(attempt.float_layers)) for attempt in ATTEMPTS)
    assert all(earlier != later and earlier[0] <= later[0] and earlier[1] <= later[1] for earlier, later in pairs)


def test_a_raw_file_that_differs_from_the_builder_is_not_published(
    plan: Plan, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("export.variants.compare_raw", lambda *_: RawComparison(1000, 12, 0.994, 1.0, 0.2))
    export_network("resnet18", replace(plan, raw=True))
    assert _files(plan).keys() == {"best.pt", "model.onnx"}
    printed = capsys.readouterr().out
    assert "model.raw.onnx: not published: against the builder and model.onnx: 1000 cells (12 drawn)" in printed
    assert "stays there" not in printed


def test_a_stain_that_is_not_written_in_onnx_is_refused_by_name(
    plan: Plan, card: ModelCard, capsys: pytest.CaptureFixture[str]
) -> None:
    path = plan.artifacts / "resnet18" / "best.pt"
    stained = replace(card.recipe, stain="vahadane", target=(0.6, 0.6, 0.5) * 2 + (1.0, 1.0), version=0)
    vahadane = replace(card, recipe=stained)
    save_checkpoint(path, vahadane, {"model": load_checkpoint(path)[1]["model"]})
    export_network("resnet18", replace(plan, raw=True))
    assert _files(plan).keys() == {"best.pt", "model.onnx"}
    assert "model.raw.onnx: not made: stain vahadane is not supported there, only none" in capsys.readouterr().out
