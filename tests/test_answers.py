"""Networks that learned valid too: no report scores them, their answers stand alone, publishing puts them in place."""

import csv
import shutil
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from blank_pictures import blank_pictures
from two_networks import HISTORY, recard, write_network

from contract.errors import UserError
from contract.manifest import Manifest
from contract.model_card import ModelCard
from contract.record import to_json
from evaluate.answers import Answers, answer, load_answers
from evaluate.kaggle import Submit, submit
from evaluate.publish import Publish, publish
from evaluate.report import Report, _refuse_refits, report
from evaluate.report_record import load_record
from train.baseline import Config, run


@pytest.fixture(scope="module", autouse=True)
def _blank_pictures() -> Iterator[None]:
    with blank_pictures():
        yield


@pytest.fixture(scope="module")
def learned(card: ModelCard, manifest: Manifest) -> ModelCard:
    """The card of a ResNet18 that learned train and valid of ``shards``."""
    training = card.training | {"refit": True, "source_digest": manifest.source_digest}
    return replace(card, training=training, temperature=1.5)


@pytest.fixture(scope="module")
def artifacts(card: ModelCard, learned: ModelCard, shards: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A report of two networks and the baseline; below refit/ the first network's refit, answered. Read only."""
    folder = tmp_path_factory.mktemp("answers")
    write_network(folder, card, 1)
    write_network(folder, replace(card, arch="resnet50", threshold=0.4), 2)
    run(Config(shards=(shards,), artifacts=folder, resamples=100))
    for arch in ("resnet18", "resnet50"):
        (folder / arch / "history.csv").write_text(HISTORY)
    report(Report(shards=(shards,), artifacts=folder, device="cpu", workers=1))
    write_network(folder / "refit", learned, 3)
    (folder / "refit" / "resnet18" / "history.csv").write_text("of the refit\n")
    counterpart = folder / "refit" / "counterpart" / "resnet18"
    counterpart.mkdir(parents=True)
    (counterpart / "history.csv").write_text("of its counterpart\n")
    answer(Answers(shards=(shards,), artifacts=folder / "refit", device="cpu", workers=1))
    return folder


@pytest.fixture
def copied(artifacts: Path, tmp_path: Path) -> Path:
    return shutil.copytree(artifacts, tmp_path / "artifacts")


def probabilities(path: Path) -> dict[str, float]:
    with path.open(newline="") as file:
        return {row["ID"]: float(row["probability"]) for row in csv.DictReader(file)}


@pytest.mark.parametrize("split", ["valid", "train"])
def test_no_report_scores_it_on_cells_that_it_learned(split: str, copied: Path, shards: Path) -> None:
    with pytest.raises(UserError, match=rf"model.onnx: resnet18 learned valid too .*its score on {split} would only"):
        report(Report(shards=(shards,), artifacts=copied / "refit", split=split, device="cpu"))
    assert not (copied / "refit" / "report").exists()


def test_a_refit_that_does_not_say_of_which_cells_is_taken_for_one_of_these() -> None:
    card = SimpleNamespace(refit=True, training={"refit": True})
    folders = (SimpleNamespace(manifest=SimpleNamespace(source_digest="a")),)
    columns: Any = SimpleNamespace(
        folders=folders, networks={"resnet18": SimpleNamespace(card=card, path="model.onnx")}
    )
    with pytest.raises(UserError, match=r"model\.onnx: resnet18 learned valid too"):
        _refuse_refits(columns, "valid")
    _refuse_refits(columns, "ward")


def test_it_may_be_scored_on_cells_of_other_data(learned: ModelCard, shards: Path, tmp_path: Path) -> None:
    write_network(tmp_path, replace(learned, training=learned.training | {"source_digest": "f" * 64}), 3)
    (tmp_path / "resnet18" / "history.csv").write_text("epoch,train_accuracy,valid_accuracy\n1,0.9,nan\n")
    report(Report(shards=(shards,), artifacts=tmp_path, device="cpu", workers=1))
    record = load_record(tmp_path / "report")
    assert record.networks["resnet18"].scores.accuracy.value is not None
    assert record.history == {}  # a refit has no testing phase to draw


def test_answers_are_those_that_a_report_would_give(
    artifacts: Path, card: ModelCard, shards: Path, tmp_path: Path
) -> None:
    write_network(
        tmp_path, replace(card, temperature=1.5), 3
    )  # the same weights, of a network that learned train alone
    report(Report(shards=(shards,), artifacts=tmp_path, device="cpu", workers=1))
    names = {"predictions_test_resnet18.csv", "submission_resnet18.csv"}
    assert {path.name for path in (artifacts / "refit" / "answers").iterdir()} == names | {"answers.json"}
    for name in names:
        assert (artifacts / "refit" / "answers" / name).read_bytes() == (tmp_path / "report" / name).read_bytes()
    record = load_answers(artifacts / "refit")
    assert (set(record.files), record.orientations, list(record.networks)) == (names, 1, ["resnet18"])


def test_answering_again_removes_what_is_no_longer_answered(
    artifacts: Path, copied: Path, learned: ModelCard, shards: Path
) -> None:
    command = Answers(shards=(shards,), artifacts=copied / "refit", device="cpu", workers=1)
    write_network(copied / "refit", replace(learned, arch="resnet152"), 4)
    answer(command)
    assert (copied / "refit" / "answers" / "submission_ensemble.csv").is_file()
    shutil.rmtree(copied / "refit" / "resnet152")
    answer(command)
    for name in ("answers.json", "submission_resnet18.csv"):
        assert (copied / "refit" / "answers" / name).read_bytes() == (
            artifacts / "refit" / "answers" / name
        ).read_bytes()
    assert len(list((copied / "refit" / "answers").iterdir())) == 3


def test_published_are_the_refit_s_answers_and_an_ensemble_that_has_them(artifacts: Path, tmp_path: Path) -> None:
    out, plain, refit = tmp_path / "with", tmp_path / "without", artifacts / "refit"
    publish(Publish(artifacts=artifacts, out=plain, incomplete=True))
    publish(Publish(artifacts=artifacts, out=out, incomplete=True, refit=refit))
    added = {"history_resnet18_refit.csv", "history_resnet18_counterpart.csv"}
    assert {path.name for path in out.iterdir()} == {path.name for path in plain.iterdir()} | added
    changed = {path.name for path in plain.iterdir() if path.read_bytes() != (out / path.name).read_bytes()}
    assert {"predictions_resnet18.csv", "predictions_ensemble.csv"} <= changed
    assert changed <= {
        f"{kind}_{name}.csv" for kind in ("predictions", "submission") for name in ("resnet18", "ensemble")
    }
    assert (out / "submission_resnet18.csv").read_bytes() == (
        refit / "answers" / "submission_resnet18.csv"
    ).read_bytes()
    assert (out / "history_resnet18_refit.csv").read_text() == "of the refit\n"
    assert (out / "history_resnet18_counterpart.csv").read_text() == "of its counterpart\n"
    each = [probabilities(out / f"predictions_{name}.csv") for name in ("resnet18", "resnet50")]
    mean = {cell: np.mean([said[cell] for said in each]) for cell in each[0]}
    assert probabilities(out / "predictions_ensemble.csv") == pytest.approx(mean, abs=2e-6)
    publish(Publish(artifacts=artifacts, out=out, incomplete=True))
    assert {path.name for path in out.iterdir()} == {path.name for path in plain.iterdir()}


def test_the_counterpart_may_be_the_report_s_own_network(
    copied: Path, learned: ModelCard, shards: Path, tmp_path: Path
) -> None:
    shutil.rmtree(copied / "refit" / "counterpart")
    recard(copied / "resnet18" / "model.onnx", training=learned.training | {"refit": False})
    report(Report(shards=(shards,), artifacts=copied, device="cpu", workers=1))
    out, refit = tmp_path / "out", copied / "refit"
    publish(Publish(artifacts=copied, out=out, incomplete=True, refit=refit))
    assert {path.name for path in out.glob("history_resnet18*")} == {
        "history_resnet18.csv",
        "history_resnet18_refit.csv",
    }
    recard(refit / "resnet18" / "model.onnx", training=learned.training | {"lr": 0.7})
    answer(Answers(shards=(shards,), artifacts=refit, device="cpu", workers=1))
    with pytest.raises(UserError, match=r"counterpart/resnet18/history.csv: no such file"):
        publish(Publish(artifacts=copied, out=out, incomplete=True, refit=refit))


def test_the_answer_of_a_refit_can_be_submitted(copied: Path, shards: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = Submit("resnet18", "a-board", "refit", shards, copied / "refit", answers=True, dry_run=True)
    submit(command)
    said = capsys.readouterr().out
    assert f"{copied / 'refit' / 'answers' / 'submission_resnet18.csv'}\n" in said
    assert "threshold 0.500 (default 0.5), learned train and valid, resnet18/model.onnx, sha256 " in said
    with pytest.raises(UserError, match=r"answers/submission_resnet50\.csv: no such file: answer anew"):
        submit(replace(command, arch="resnet50"))
    path = copied / "refit" / "answers" / "submission_resnet18.csv"
    path.write_text(path.read_text().replace(",0\n", ",1\n", 1))  # still what the board asks for
    with pytest.raises(UserError, match=r"submission_resnet18\.csv: not the file that answers\.json lists"):
        submit(command)


def _not_a_refit(artifacts: Path) -> None:
    record = load_answers(artifacts / "refit")
    network = record.networks["resnet18"]
    card = network.card | {"training": {}}
    record = replace(record, networks={"resnet18": replace(network, card=card)})
    (artifacts / "refit" / "answers" / "answers.json").write_text(to_json(record))


def _without(key: str, artifacts: Path) -> None:
    record = load_answers(artifacts / "refit")
    network = record.networks["resnet18"]
    card = {name: value for name, value in network.card.items() if name != key}
    record = replace(record, networks={"resnet18": replace(network, card=card)})
    (artifacts / "refit" / "answers" / "answers.json").write_text(to_json(record))


def _of_another_network(artifacts: Path) -> None:
    record = load_answers(artifacts / "refit")
    record = replace(record, networks={"resnet152": record.networks["resnet18"]})
    (artifacts / "refit" / "answers" / "answers.json").write_text(to_json(record))


def _of_eight_sides(artifacts: Path) -> None:
    record = replace(load_answers(artifacts / "refit"), orientations=8)
    (artifacts / "refit" / "answers" / "answers.json").write_text(to_json(record))


def _of_other_cells(artifacts: Path) -> None:
    record = replace(load_answers(artifacts / "refit"), source_digest="f" * 64)
    (artifacts / "refit" / "answers" / "answers.json").write_text(to_json(record))


def _changed(artifacts: Path, name: str) -> None:
    path = artifacts / "refit" / name
    path.write_bytes(path.read_bytes() + b"\n")


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (_not_a_refit, r"answers\.json: resnet18 is no refit"),
        (partial(_without, "threshold"), r"answers\.json: networks\.resnet18\.card: must be a network's: answer anew"),
        (partial(_without, "training"), r"answers\.json: networks\.resnet18\.card: must be a network's: answer anew"),
        (partial(_without, "recipe"), r"answers\.json: networks\.resnet18\.card: must be a network's: answer anew"),
        (_of_another_network, r"answers\.json: answers for resnet152, which the report is not of: resnet18, resnet50"),
        (
            _of_eight_sides,
            r"answers\.json: looked from 8 orientations, the report 1: answer anew with --orientations 1",
        ),
        (_of_other_cells, r"answers\.json: of other cells, or of another split, than the report"),
        (lambda a: _changed(a, "answers/predictions_test_resnet18.csv"), "not the file that answers.json lists"),
        (lambda a: _changed(a, "resnet18/model.onnx"), r"model.onnx: not the file that .*answers\.json is of"),
        (lambda a: (a / "refit" / "counterpart" / "resnet18" / "history.csv").unlink(), "history.csv: no such file"),
        (lambda a: shutil.rmtree(a / "refit" / "answers"), r"answers\.json: no such file: answer anew"),
    ],
)
def test_answers_that_do_not_fit_are_refused_before_anything_is_written(
    damage: object, message: str, copied: Path, tmp_path: Path
) -> None:
    damage(copied)  # type: ignore[operator]
    with pytest.raises(UserError, match=message):
        publish(Publish(artifacts=copied, out=tmp_path / "out", incomplete=True, refit=copied / "refit"))
    assert not (tmp_path / "out").exists()
