"""Reports of what does not fit, cannot be scored, or cannot be written."""

import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from blank_pictures import blank_pictures
from two_networks import recard, write_networks, write_sealed

from build_shards.dataset import read_dataset
from build_shards.shards import build
from contract.errors import UserError
from contract.manifest import Manifest
from contract.model_card import ModelCard
from contract.recipe import Recipe
from contract.shard_reader import SplitReader
from evaluate.predictor import Predictor
from evaluate.report import Report, report
from evaluate.report_record import load_record


@pytest.fixture(autouse=True)
def _blank_pictures() -> Iterator[None]:
    with blank_pictures():
        yield


@pytest.fixture
def unreported(card: ModelCard, tmp_path: Path) -> Path:
    """Two networks before their report; a test may damage them."""
    write_networks(tmp_path / "artifacts", card)
    return tmp_path / "artifacts"


def test_a_network_of_other_shards_is_refused_and_leaves_no_folder(unreported: Path, shards: Path) -> None:
    recard(unreported / "resnet18" / "model.onnx", manifest_digest="0" * 64)
    with pytest.raises(UserError, match=r"trained on other shards .*--allow-other-data"):
        report(Report(shards=(shards,), artifacts=unreported, device="cpu"))
    assert not (unreported / "report").exists()


def test_one_network_of_other_shards_over_an_older_report(unreported: Path, shards: Path, tmp_path: Path) -> None:
    # Allowed, the page says so; what only the older report had is removed, and nothing else.
    report(Report(shards=(shards,), artifacts=unreported, device="cpu", workers=1))
    (unreported / "report" / "report.pdf").write_text("another's")
    (tmp_path / "outside.txt").write_text("kept")
    metrics = unreported / "report" / "metrics.json"
    metrics.write_text(metrics.read_text().replace('"files": [', '"files": [\n    "../../outside.txt",'))
    shutil.rmtree(unreported / "resnet50")
    recard(unreported / "resnet18" / "model.onnx", manifest_digest="0" * 64)
    folder = report(Report(shards=(shards,), artifacts=unreported, device="cpu", workers=1, allow_other_data=True))
    record, html = load_record(folder), (folder / "index.html").read_text(encoding="utf-8")
    assert record.networks["resnet18"].file is not None
    assert record.networks["resnet18"].file.other_data
    assert "trained on other shards" in html
    assert "0" * 64 in html
    assert list(record.networks) == ["resnet18"]
    assert record.pairs == ()
    names = {path.name for path in folder.iterdir()}
    assert names == {*record.files, "metrics.json", "report.pdf"}
    assert "submission_resnet50.csv" not in names
    assert (tmp_path / "outside.txt").exists()


def test_one_class_and_unknown_people_are_said_and_nothing_divides_by_zero(
    unreported: Path, synthetic_data: Path, tmp_path: Path
) -> None:
    data = tmp_path / "data"
    shutil.copytree(synthetic_data, data)
    (data / "subjects.csv").unlink()
    rows = (data / "valid.csv").read_text().splitlines(keepends=True)
    (data / "valid.csv").write_text(rows[0] + "".join(row for row in rows if row.strip().endswith(",1")))
    build(read_dataset(data, "given", 0), Recipe(size=40), tmp_path / "shards", workers=1, force=False)
    shutil.rmtree(unreported / "resnet50")
    command = Report(shards=(tmp_path / "shards",), artifacts=unreported, device="cpu", allow_other_data=True)
    folder = report(replace(command, workers=1))
    record, html = load_record(folder), (folder / "index.html").read_text(encoding="utf-8")
    network = record.networks["resnet18"]
    assert record.dataset.class_counts[0] == 0
    for score in ("auroc", "auprc", "specificity", "mcc", "balanced_accuracy", "f1_weighted"):
        assert getattr(network.scores, score).value is None, score
    assert network.scores.sensitivity.by_image is not None
    assert (record.bootstrap.cluster, network.scores.sensitivity.clustered) == ("none", None)
    assert (network.subjects, network.vote) == ((), None)
    assert html.count("undefined") > 6
    assert "one class only" in html
    assert "people are unknown" in html
    assert "nan" not in (folder / "metrics.json").read_text().lower()
    names = {path.name for path in folder.iterdir()}
    assert not names & {"roc.png", "precision_recall.png", "subjects.png", "agreement.png"}


def test_people_shared_with_train_are_those_of_the_training_split(
    exported: Path, shards: Path, manifest: Manifest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[tuple[object, ...]] = []

    def note(*arguments: object) -> None:
        given.append(arguments)
        raise UserError("enough")

    monkeypatch.setattr("evaluate.report.build_record", note)
    artifacts = shutil.copytree(exported, tmp_path / "artifacts")
    with pytest.raises(UserError, match="enough"):
        report(Report(shards=(shards,), artifacts=artifacts, device="cpu", workers=1))
    ((_, split, _, found, train_subjects, folder, orientations),) = given
    assert (split, list(found), folder, orientations) == ("valid", ["resnet18"], artifacts, 1)  # type: ignore[call-overload]
    assert train_subjects == SplitReader(shards, manifest, "train").subjects


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"classes": ["benign", "blast"]}, r"tells \('benign', 'blast'\) apart, the shards hold \('normal', 'blast'\)"),
        ({"arch": "resnet152"}, "its card says resnet152"),
    ],
)
def test_a_network_that_does_not_fit_is_refused(
    unreported: Path, shards: Path, changes: dict[str, object], words: str
) -> None:
    recard(unreported / "resnet18" / "model.onnx", **changes)
    with pytest.raises(UserError, match=words):
        report(Report(shards=(shards,), artifacts=unreported, device="cpu", allow_other_data=True))
    assert not (unreported / "report").exists()


def test_without_an_exported_network_it_says_how_to_make_one(tmp_path: Path, shards: Path) -> None:
    with pytest.raises(UserError, match="no exported network there"):
        report(Report(shards=(shards,), artifacts=tmp_path))


def test_an_unlabelled_split_cannot_be_scored_and_an_unknown_one_lists_the_splits(
    unreported: Path, shards: Path
) -> None:
    with pytest.raises(UserError, match="labels are unknown"):
        report(Report(shards=(shards,), artifacts=unreported, split="test"))
    with pytest.raises(UserError, match="there are train, valid, test"):
        report(Report(shards=(shards,), artifacts=unreported, split="tset"))


def test_a_prediction_that_is_not_a_number_stops_with_the_key(
    unreported: Path, shards: Path, manifest: Manifest, monkeypatch: pytest.MonkeyPatch
) -> None:
    reader = SplitReader(shards, manifest, "valid")
    bad = reader.image(5)
    whole = Predictor.predict

    def predict(self: Predictor, images: np.ndarray) -> object:
        if (images == bad).all(axis=(1, 2, 3)).any():
            raise UserError("model.onnx: an output is not a number")
        return whole(self, images)

    monkeypatch.setattr(Predictor, "predict", predict)
    with pytest.raises(UserError, match=f"not a number: cell '{reader.samples[5].key}'"):
        report(Report(shards=(shards,), artifacts=unreported, device="cpu"))
    assert list((unreported / "report").iterdir()) == []


def test_weights_that_are_not_numbers_stop_with_the_first_key(
    unreported: Path, shards: Path, manifest: Manifest
) -> None:
    path = unreported / "resnet18" / "model.onnx"
    model = onnx.load(path)
    weight = max(model.graph.initializer, key=lambda tensor: len(tensor.raw_data))
    weight.raw_data = np.full(len(weight.raw_data) // 4, np.nan, np.float32).tobytes()
    write_sealed(model, path)
    key = SplitReader(shards, manifest, "valid").samples[0].key
    with pytest.raises(UserError, match=f"not a number.*{key}"):
        report(Report(shards=(shards,), artifacts=unreported, device="cpu"))


def test_a_test_csv_with_an_id_that_the_shards_lack_is_refused_by_name(
    unreported: Path, shards: Path, tmp_path: Path
) -> None:
    other = tmp_path / "shards"
    shutil.copytree(shards, other)
    text = json.loads((other / "manifest.json").read_text())
    (wanted,) = [submission for submission in text["submissions"] if submission["name"] == "resnet18"]
    wanted["ids"][2] = "./synthetic/test/gone.bmp"
    (other / "manifest.json").write_text(json.dumps(text))
    with pytest.raises(UserError, match=r"the ID './synthetic/test/gone.bmp' is asked for and is not in the shards"):
        report(Report(shards=(other,), artifacts=unreported, device="cpu", allow_other_data=True))
    assert not (unreported / "report").exists()


def test_an_output_folder_that_cannot_be_written_is_one_line(unreported: Path, shards: Path) -> None:
    (unreported / "report").write_text("a file where the folder belongs")
    with pytest.raises(UserError, match="report: cannot be written"):
        report(Report(shards=(shards,), artifacts=unreported, device="cpu"))


def test_a_damaged_history_is_refused(unreported: Path, shards: Path) -> None:
    (unreported / "resnet18" / "history.csv").write_text("epoch,train_accuracy\n1,0.5\n")
    with pytest.raises(UserError, match=r"history\.csv: not a history of training"):
        report(Report(shards=(shards,), artifacts=unreported, device="cpu", workers=1))
