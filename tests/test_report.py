"""A whole report from synthetic shards and an exported network."""

import csv
import json
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
from sklearn.metrics import accuracy_score, confusion_matrix

from contract.errors import UserError
from contract.manifest import Manifest
from contract.shard_reader import SplitReader
from evaluate.figures import draw_activation
from evaluate.predictor import Predictor
from evaluate.report import Report, load_record, report, summarise


@pytest.fixture
def artifacts(exported: Path, tmp_path: Path) -> Path:
    shutil.copytree(exported, tmp_path / "artifacts")
    return tmp_path / "artifacts"


def _rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_metrics_are_those_of_the_predictions_on_the_split(artifacts: Path, shards: Path, manifest: Manifest) -> None:
    folder = report(Report(shards=shards, artifacts=artifacts, device="cpu"))
    reader = SplitReader(shards, manifest, "valid")
    labels = [sample.label for sample in reader.samples]
    found = Predictor(artifacts / "resnet18" / "model.onnx", "cpu").predict(
        np.stack([reader.image(i) for i in range(len(reader))])
    )
    written = json.loads((folder / "metrics.json").read_text())
    assert written["dataset"].startswith("synthetic")
    assert written["n"] == len(labels) == 12
    assert written["metrics"]["resnet18"]["accuracy"] == accuracy_score(labels, found.labels)
    assert written["metrics"]["resnet18"]["confusion"] == confusion_matrix(labels, found.labels, labels=[0, 1]).tolist()
    assert written["networks"]["resnet18"]["card"]["manifest_digest"] == manifest.digest


def test_the_csvs_follow_the_network_s_own_test_csv(
    artifacts: Path, shards: Path, manifest: Manifest, synthetic_data: Path
) -> None:
    folder = report(Report(shards=shards, artifacts=artifacts, device="cpu"))
    wanted = [row["Path"] for row in _rows(synthetic_data / "resnet_18_test.csv")]
    submission, predictions = _rows(folder / "submission_resnet18.csv"), _rows(folder / "predictions_resnet18.csv")
    assert [row["ID"] for row in submission] == wanted == [row["ID"] for row in predictions]
    assert (folder / "submission_resnet18.csv").read_text().splitlines()[0] == "ID,label"
    reader = SplitReader(shards, manifest, "test")
    predictor = Predictor(artifacts / "resnet18" / "model.onnx", "cpu")
    of_source = {reader.info(i)["source"]: i for i in range(len(reader))}
    for row, short in zip(predictions[:4], submission[:4], strict=True):
        alone = predictor.predict(reader.image(of_source[row["ID"]])[None])
        assert float(row["probability"]) == pytest.approx(float(alone.probability[0]), abs=1e-4)
        assert int(row["label"]) == int(short["label"]) == int(float(row["probability"]) >= 0.5)


def test_pictures_can_be_opened_and_the_table_printed_again(
    artifacts: Path, shards: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = report(Report(shards=shards, artifacts=artifacts, device="cpu"))
    picture = cv2.imread(str(folder / "confusion_resnet18.png"))
    assert picture is not None
    assert picture.std() > 10
    summarise(folder)
    printed = capsys.readouterr().out
    assert "synthetic cells (drawn, not real): valid, n = 12" in printed
    assert "confusion_resnet18.png" in printed
    assert load_record(folder).networks["resnet18"]["card"]["threshold"] == 0.5


def test_a_network_of_other_shards_is_refused(artifacts: Path, shards: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    shutil.copytree(shards, other)
    text = (other / "manifest.json").read_text().replace("drawn, not real", "drawn elsewhere")
    (other / "manifest.json").write_text(text)
    with pytest.raises(UserError, match="trained on other shards"):
        report(Report(shards=other, artifacts=artifacts, device="cpu"))
    assert not (artifacts / "report").exists()


def test_an_unlabelled_split_cannot_be_scored_and_an_unknown_one_lists_the_splits(
    artifacts: Path, shards: Path
) -> None:
    with pytest.raises(UserError, match="labels are unknown"):
        report(Report(shards=shards, artifacts=artifacts, split="test"))
    with pytest.raises(UserError, match="there are train, valid, test"):
        report(Report(shards=shards, artifacts=artifacts, split="tset"))


def test_no_report_yet_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"python evaluate/run\.py"):
        summarise(tmp_path)


def test_an_activation_picture_has_a_panel_for_each_network(tmp_path: Path) -> None:
    crop = np.zeros((40, 40, 3), np.uint8)
    crop[10:30, 10:30] = (120, 60, 140)
    cam = np.random.default_rng(0).normal(size=(2, 2, 2)).astype(np.float32)
    draw_activation(crop, {"one": cam}, "a cell", tmp_path / "1.png")
    draw_activation(crop, {"one": cam, "two": -cam}, "a cell", tmp_path / "2.png")
    one, two = cv2.imread(str(tmp_path / "1.png")), cv2.imread(str(tmp_path / "2.png"))
    assert one is not None
    assert two is not None
    assert two.shape[1] == pytest.approx(1.5 * one.shape[1], rel=0.02)
