"""Columns of a report beside plain networks: the classical baseline, and networks that see other recipes."""

import csv
import json
import shutil
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from blank_pictures import blank_pictures
from sklearn.metrics import accuracy_score, roc_auc_score
from two_networks import write_network

from build_shards.dataset import read_dataset
from build_shards.shards import build
from build_shards.synthetic import write_synthetic
from contract.errors import UserError
from contract.manifest import Manifest, load_manifest
from contract.model_card import ModelCard
from contract.recipe import Recipe
from contract.shard_reader import SplitReader
from evaluate.predictor import Predictor
from evaluate.report import Page, Report, page, report
from evaluate.report_record import load_record
from train.baseline import Config, run


@pytest.fixture(scope="module")
def box_shards(synthetic_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The cells of ``shards`` under another recipe: 48 px of the bounding box, in two shards a split. Read only."""
    folder = tmp_path_factory.mktemp("box") / "shards"
    dataset = read_dataset(synthetic_data, "subject", 0)
    build(dataset, Recipe(size=48, crop="box"), folder, workers=1, force=False, multiple_of=2)
    return folder


@pytest.fixture(scope="module")
def unreported(card: ModelCard, shards: Path, box_shards: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A network of ``shards``, one of ``box_shards``, and the baseline. Read only."""
    folder = tmp_path_factory.mktemp("columns")
    other = load_manifest(box_shards)
    write_network(folder, card, 1)
    theirs = replace(card, arch="resnet50", recipe=other.recipe, manifest_digest=other.digest, threshold=0.4)
    write_network(folder, replace(theirs, mean=other.pixels.mean, std=other.pixels.std), 2)
    run(Config(shards=(shards,), artifacts=folder, resamples=100))
    return folder


@pytest.fixture(scope="module")
def artifacts(unreported: Path, shards: Path, box_shards: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The finished report of all of them. Read only."""
    folder = shutil.copytree(unreported, tmp_path_factory.mktemp("reported") / "artifacts")
    report(Report(shards=(shards, box_shards), artifacts=folder, device="cpu", workers=1))
    return folder


@pytest.fixture
def copied(unreported: Path, tmp_path: Path) -> Path:
    """A copy of ``unreported`` to damage."""
    return shutil.copytree(unreported, tmp_path / "artifacts")


def _rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def _by_id(folder: Path, name: str, split: str = "valid") -> dict[str, dict[str, str]]:
    return {row["ID"]: row for row in _rows(folder / "report" / f"predictions_{split}_{name}.csv")}


def test_the_baseline_is_a_column_of_everything(artifacts: Path) -> None:
    record, folder = load_record(artifacts / "report"), artifacts / "report"
    assert list(record.networks) == ["resnet18", "resnet50", "baseline", "ensemble"]
    theirs = _rows(artifacts / "baseline" / "predictions_valid.csv")
    labels, probability = ([float(row[column]) for row in theirs] for column in ("label", "probability"))
    column = record.networks["baseline"]
    assert column.scores.accuracy.value == accuracy_score(labels, np.array(probability) >= 0.5)
    assert column.scores.auroc.value == pytest.approx(roc_auc_score(labels, probability))
    assert column.scores.accuracy.clustered is not None
    assert column.baseline is not None
    assert len(column.baseline.features) == 16
    assert {(pair.a, pair.b) for pair in record.pairs} >= {("resnet18", "baseline"), ("baseline", "ensemble")}
    html = (folder / "index.html").read_text(encoding="utf-8")
    assert '<article class="card baseline">' in html
    assert column.baseline.model.replace("'", "&#39;") in html
    assert {"confusion_baseline.png", "submission_baseline.csv", "predictions_test_baseline.csv"} <= set(record.files)


def test_the_ensemble_is_the_mean_of_the_networks_without_the_baseline(artifacts: Path) -> None:
    members = load_record(artifacts / "report").networks["ensemble"].members
    assert members == ("resnet18", "resnet50")
    each = [_by_id(artifacts, name) for name in members]
    for cell, row in _by_id(artifacts, "ensemble").items():
        mean = sum(float(said[cell]["probability"]) for said in each) / 2
        assert float(row["probability"]) == pytest.approx(mean, abs=1e-7)


def test_the_baseline_submits_in_the_order_of_the_first_network_s_csv(artifacts: Path) -> None:
    submitted = _rows(artifacts / "report" / "submission_baseline.csv")
    assert [row["ID"] for row in submitted] == [
        row["ID"] for row in _rows(artifacts / "report" / "submission_resnet18.csv")
    ]
    found = {row["ID"]: row["verdict"] for row in _rows(artifacts / "baseline" / "predictions_test.csv")}
    assert [row["label"] for row in submitted] == [found[row["ID"]] for row in submitted]


@pytest.mark.parametrize("split", ["valid", "test"])
def test_each_network_is_shown_the_pixels_of_its_own_shards(
    artifacts: Path, shards: Path, box_shards: Path, split: str
) -> None:
    orders = []
    for name, folder in (("resnet18", shards), ("resnet50", box_shards)):
        reader = SplitReader(folder, load_manifest(folder), split)
        orders.append([str(reader.info(i)["source"]) for i in range(len(reader))])
        found = Predictor(artifacts / name / "model.onnx", "cpu").predict(
            np.stack([reader.image(i) for i in range(len(reader))])
        )
        said = _by_id(artifacts, name, split)
        assert len(said) == len(reader)
        for cell, probability in zip(orders[-1], found.probability, strict=True):
            assert float(said[cell]["probability"]) == pytest.approx(float(probability), abs=1e-6)
    assert orders[0] != orders[1], "the two builds must differ in order, else nothing is joined here"


def test_differing_recipes_are_said_on_the_page(artifacts: Path) -> None:
    record = load_record(artifacts / "report")
    (note,) = [note for note in record.notes if "different recipes" in note]
    assert "resnet18 40 px, crop native of 288 px" in note
    assert "resnet50 48 px, crop box" in note
    assert note in (artifacts / "report" / "index.html").read_text(encoding="utf-8")


def test_a_network_whose_shards_are_not_named_is_refused(copied: Path, shards: Path) -> None:
    words = r"resnet50.*takes 48 px, crop box, stain none, the shards hold: .* 40 px, crop native of 288 px"
    with pytest.raises(UserError, match=words):
        report(Report(shards=(shards,), artifacts=copied, device="cpu"))
    assert not (copied / "report").exists()


def test_shards_of_other_cells_are_refused(copied: Path, shards: Path, tmp_path: Path) -> None:
    write_synthetic(tmp_path / "data", cells=20, seed=1)
    build(read_dataset(tmp_path / "data", "subject", 0), Recipe(size=48), tmp_path / "other", workers=1, force=False)
    with pytest.raises(UserError, match=r"other: holds other cells or other splits than"):
        report(Report(shards=(shards, tmp_path / "other"), artifacts=copied, device="cpu"))


def test_a_baseline_of_other_shards_is_refused_in_one_line_or_left_out(
    copied: Path, shards: Path, box_shards: Path
) -> None:
    path = copied / "baseline" / "card.json"
    path.write_text(path.read_text().replace(load_manifest(shards).digest, "0" * 64))
    command = Report(shards=(shards, box_shards), artifacts=copied, device="cpu", workers=1)
    with pytest.raises(UserError, match=r"card\.json: was trained on other shards than .*make baseline") as caught:
        report(command)
    assert "\n" not in str(caught.value)
    assert not (copied / "report").exists()
    with blank_pictures():
        report(replace(command, baseline=False))
    assert list(load_record(copied / "report").networks) == ["resnet18", "resnet50", "ensemble"]


def _older(folder: Path, _: Manifest) -> None:
    (folder / "card.json").unlink()


def _of_two_folds(folder: Path, manifest: Manifest) -> None:
    text = json.loads((folder / "card.json").read_text())
    text["manifests"] = [manifest.digest, "1" * 64]
    (folder / "card.json").write_text(json.dumps(text))


def _changed(folder: Path, _: Manifest) -> None:
    path = folder / "predictions_valid.csv"
    path.write_text(path.read_text().replace(",1\n", ",0\n", 1))


def _gone(folder: Path, _: Manifest) -> None:
    (folder / "predictions_test.csv").unlink()


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (_older, "has no card.json"),
        (_of_two_folds, "was trained on 2 folds"),
        (_changed, r"predictions_valid\.csv: is not the file that card\.json lists"),
        (_gone, r"predictions_test\.csv: no such file"),
    ],
)
def test_a_damaged_baseline_is_refused(
    copied: Path, shards: Path, box_shards: Path, manifest: Manifest, damage: object, words: str
) -> None:
    damage(copied / "baseline", manifest)  # type: ignore[operator]
    with pytest.raises(UserError, match=words):
        report(Report(shards=(shards, box_shards), artifacts=copied, device="cpu", workers=1))
    assert not (copied / "report" / "metrics.json").exists()


def test_contact_sheets_are_drawn_again_from_the_shards_and_networks_of_the_report(
    artifacts: Path, shards: Path, box_shards: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    copied = shutil.copytree(artifacts, tmp_path / "artifacts")
    sheets = sorted((copied / "report").glob("mistakes_*.png"))
    assert "mistakes_baseline.png" in [path.name for path in sheets]
    assert len(sheets) > 2
    for path in sheets:
        path.write_bytes(b"an older drawing")
    with blank_pictures():
        page(Page(copied))
    assert {path.read_bytes() for path in sheets} == {b"an older drawing"}
    assert "mistakes_*.png) stay as they are: --shards" in capsys.readouterr().out
    page(Page(copied, (shards, box_shards), "cpu"))
    assert "stay as they are" not in capsys.readouterr().out
    for path in sheets:
        again, first = (cv2.imread(str(p)).astype(int) for p in (path, artifacts / "report" / path.name))
        assert np.abs(again - first).max() <= 2, path.name  # other batches round otherwise, in the last bit
    assert (copied / "report" / "index.html").read_bytes() == (artifacts / "report" / "index.html").read_bytes()


def test_contact_sheets_of_other_shards_or_networks_are_refused(
    artifacts: Path, shards: Path, box_shards: Path, card: ModelCard, tmp_path: Path
) -> None:
    copied = shutil.copytree(artifacts, tmp_path / "artifacts")
    with pytest.raises(UserError, match="not the shards that the report is of"):
        page(Page(copied, (box_shards, shards), "cpu"))
    shutil.rmtree(copied / "resnet18")
    with pytest.raises(
        UserError, match="holds resnet50, baseline, the report is of resnet18, resnet50, baseline, ensemble"
    ):
        page(Page(copied, (shards, box_shards), "cpu"))
    write_network(copied, card, 3)
    with pytest.raises(UserError, match=r"model\.onnx: not the file that the report is of"):
        page(Page(copied, (shards, box_shards), "cpu"))
