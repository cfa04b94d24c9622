"""What a command names reaches the networks that it opens: device, threads, orientations; and their shards."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from finished_report import network, record

from contract.errors import UserError
from contract.manifest import Manifest
from evaluate.answers import Answers, answer
from evaluate.columns import Columns, Opening, model_file
from evaluate.demo import Demo, demo
from evaluate.predictor import Predictor
from evaluate.report import Report, report
from evaluate.sheets import redraw_sheets
from evaluate.web import Web, web

Open = Callable[[Path, Path], object]  # artifacts, shards


@pytest.mark.parametrize(
    "run",
    [
        pytest.param(lambda a, s: report(Report((s,), a, device="cuda", workers=3)), id="report"),
        pytest.param(lambda a, s: answer(Answers((s,), a, device="cuda", workers=3)), id="answers"),
        pytest.param(lambda a, s: web(Web(a, (s,), device="cuda", workers=3, port=0)), id="web"),
    ],
)
def test_device_and_threads_reach_every_network(
    run: Open, three: Path, shards: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[str, int]] = []

    def note(_: Path, device: str = "auto", threads: int = 0) -> None:
        asked.append((device, threads))
        raise UserError("enough")

    for module in ("columns", "classify"):
        monkeypatch.setattr(f"evaluate.{module}.Predictor", note)
    with pytest.raises(UserError, match="enough"):
        run(three, shards)
    assert set(asked) == {("cuda", 3)}


def test_a_demonstration_opens_the_networks_that_it_is_told_to_on_the_device_that_it_is_told(
    synthetic_data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[object, ...]] = []

    def note(*given: object) -> None:
        asked.append(given)
        raise UserError("enough")

    monkeypatch.setattr("evaluate.demo.open_or_pretrained", note)
    monkeypatch.setattr("evaluate.web.open_or_pretrained", note)
    image, artifacts, shards = synthetic_data / "synthetic" / "valid" / "1.bmp", Path("a"), (Path("s"),)
    with pytest.raises(UserError, match="enough"):
        demo(Demo((image,), artifacts, shards, "cuda", 3, int8=True))
    with pytest.raises(UserError, match="enough"):
        web(Web(artifacts, shards, "cuda", 3, int8=True, port=0))
    assert asked == [(artifacts, shards, "cuda", 3, True)] * 2


def test_reports_answers_and_sheets_look_from_the_sides_that_are_named(
    shards: Path, manifest: Manifest, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Opening] = []

    def note(_: Path, __: object, how: Opening) -> None:
        asked.append(how)
        raise UserError("enough")

    for module in ("report", "answers", "sheets"):
        monkeypatch.setattr(f"evaluate.{module}.open_columns", note)
    with pytest.raises(UserError, match="enough"):
        report(Report((shards,), Path("a"), "valid", "cuda", 3, 8, baseline=False, allow_other_data=True))
    with pytest.raises(UserError, match="enough"):
        answer(Answers((shards,), Path("a"), "cuda", 3, 8))
    one = network("resnet18", 0.9)
    assert one.file is not None
    other = replace(one, file=replace(one.file, other_data=True))
    data = replace(record().dataset, manifest_digest=manifest.digest)
    made = record(dataset=data, orientations=8, networks={"resnet18": one, "resnet50": other, "baseline": one})
    with pytest.raises(UserError, match="enough"):
        redraw_sheets(made, {}, Path("a"), (shards,), "cuda")
    assert asked == [
        Opening("cuda", 3, 8, baseline=False, allow_other_data=True),
        Opening("cuda", 3, 8, baseline=False, allow_other_data=False),
        Opening("cuda", 0, 8, baseline=True, allow_other_data=True),
    ]


def test_a_network_s_own_shards_are_no_other_data_although_they_are_not_the_first(three: Path) -> None:
    predictor = Predictor(three / "resnet50" / "model.onnx", "cpu", 1)
    first, own = (SimpleNamespace(manifest=SimpleNamespace(digest=d)) for d in ("f", predictor.card.manifest_digest))
    for shown, other in ((own, False), (first, True)):
        columns = Columns((first, own), {"resnet50": predictor}, {"resnet50": shown}, None)  # type: ignore[arg-type]
        assert model_file(columns, "resnet50", three).other_data is other
