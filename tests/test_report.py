"""A whole report from synthetic shards and two exported networks: its numbers, its page, its bytes, its faults."""

import csv
import json
import re
import shutil
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import cv2
import numpy as np
import onnx
import pytest
import torch
from sklearn.metrics import accuracy_score, confusion_matrix, roc_auc_score

from build_shards.dataset import read_dataset
from build_shards.shards import build
from contract.errors import UserError
from contract.manifest import Manifest
from contract.model_card import METADATA_KEY, ModelCard
from contract.recipe import Recipe
from contract.shard_reader import SplitReader
from evaluate.predictor import Predictor
from evaluate.report import Page, Report, page, report
from evaluate.report_record import load_record
from evaluate.summary import Summary, print_summary
from export.graph import to_onnx
from train.resnet import build_resnet

HISTORY = "epoch,train_loss,train_accuracy,valid_loss,valid_accuracy\n1,0.7,0.5,0.7,0.6\n2,0.6,0.7,0.6,0.75\n"


def _network(folder: Path, card: ModelCard, seed: int) -> None:
    """Export fresh weights whose verdicts differ, as the network that the card names."""
    torch.manual_seed(seed)
    network = build_resnet("resnet18").eval()
    torch.nn.init.normal_(network.fc.weight, std=0.3)
    (folder / card.arch).mkdir(parents=True)
    (folder / card.arch / "model.onnx").write_bytes(to_onnx(network, card))


@pytest.fixture(scope="module")
def artifacts(card: ModelCard, shards: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished report of two networks (both with ResNet18's graph, to be quick) and their ensemble. Read only."""
    folder = tmp_path_factory.mktemp("reported")
    _network(folder, card, 1)
    _network(folder, replace(card, arch="resnet50", temperature=2.0, threshold=0.4, operating_point="balanced"), 2)
    (folder / "resnet18" / "history.csv").write_text(HISTORY)
    report(Report(shards=shards, artifacts=folder, device="cpu", workers=1))
    return folder


@pytest.fixture
def unreported(artifacts: Path, tmp_path: Path) -> Path:
    """The same networks before their report; a test may damage them."""
    shutil.copytree(artifacts, tmp_path / "artifacts", ignore=shutil.ignore_patterns("report"))
    return tmp_path / "artifacts"


def _rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def _recard(path: Path, **changes: object) -> None:
    """Rewrite keys of an exported network's card."""
    model = onnx.load(path)
    (entry,) = [p for p in model.metadata_props if p.key == METADATA_KEY]
    entry.value = json.dumps(json.loads(entry.value) | changes)
    path.write_bytes(model.SerializeToString())


def test_metrics_are_those_of_the_predictions_on_the_split(artifacts: Path, shards: Path, manifest: Manifest) -> None:
    record = load_record(artifacts / "report")
    reader = SplitReader(shards, manifest, "valid")
    labels = [sample.label for sample in reader.samples]
    images = np.stack([reader.image(i) for i in range(len(reader))])
    assert record.dataset.name.startswith("synthetic")
    assert record.dataset.n == len(labels) == 12
    for name in ("resnet18", "resnet50"):
        found = Predictor(artifacts / name / "model.onnx", "cpu").predict(images)
        network = record.networks[name]
        assert network.scores.accuracy.value == accuracy_score(labels, found.labels)
        assert network.scores.auroc.value == pytest.approx(roc_auc_score(labels, found.probability))
        assert [list(row) for row in network.confusion] == confusion_matrix(labels, found.labels).tolist()
        assert network.file is not None
        assert network.file.card["manifest_digest"] == manifest.digest
        assert not network.file.other_data
    assert (record.networks["resnet50"].threshold, record.networks["resnet50"].temperature) == (0.4, 2.0)


def test_the_ensemble_is_the_mean_probability_at_the_mean_threshold(artifacts: Path) -> None:
    record, folder = load_record(artifacts / "report"), artifacts / "report"
    assert record.networks["ensemble"].threshold == pytest.approx(0.45)
    assert record.networks["ensemble"].members == ("resnet18", "resnet50")
    one, two, both = (_rows(folder / f"predictions_valid_{n}.csv") for n in ("resnet18", "resnet50", "ensemble"))
    for a, b, mean in zip(one, two, both, strict=True):
        expected = (float(a["probability"]) + float(b["probability"])) / 2
        assert float(mean["probability"]) == pytest.approx(expected, abs=1e-7)
        assert int(mean["verdict"]) == int(expected >= 0.45)
        assert mean["logit_blast"] == ""


def test_the_temperature_stands_between_the_two_probabilities(artifacts: Path) -> None:
    for row in _rows(artifacts / "report" / "predictions_valid_resnet50.csv"):
        gap = float(row["logit_blast"]) - float(row["logit_normal"])
        assert float(row["uncalibrated"]) == pytest.approx(1 / (1 + np.exp(-gap)), abs=1e-6)
        assert float(row["probability"]) == pytest.approx(1 / (1 + np.exp(-gap / 2)), abs=1e-5)


def test_submissions_follow_the_network_s_own_test_csv(artifacts: Path, synthetic_data: Path) -> None:
    for name, csv_name in (("resnet18", "resnet_18"), ("resnet50", "resnet_50"), ("ensemble", "resnet_18")):
        wanted = [row["Path"] for row in _rows(synthetic_data / f"{csv_name}_test.csv")]
        submission = _rows(artifacts / "report" / f"submission_{name}.csv")
        predictions = _rows(artifacts / "report" / f"predictions_test_{name}.csv")
        assert list(submission[0]) == ["ID", "label"]
        assert [row["ID"] for row in submission] == wanted == [row["ID"] for row in predictions]
        assert [row["label"] for row in submission] == [row["verdict"] for row in predictions]
        assert {row["label"] for row in predictions} == {""}
    counts = load_record(artifacts / "report").networks["ensemble"].unlabelled["test"]
    assert counts.blasts == sum(int(row["verdict"]) for row in predictions)


def test_every_picture_is_there_twice_and_can_be_opened(artifacts: Path) -> None:
    folder = artifacts / "report"
    files = load_record(folder).files
    assert {*files, "metrics.json"} == {path.name for path in folder.iterdir()}
    drawn = {Path(name).stem for name in files if name.endswith(".svg")}
    assert drawn >= {"confusion_ensemble", "intervals", "roc", "precision_recall", "reliability", "decision"}
    assert drawn >= {"subjects", "agreement", "accuracy", "gallery_resnet18"}
    for name in drawn:
        picture = cv2.imread(str(folder / f"{name}.png"))
        assert picture is not None
        assert picture.std() > 5, name
        svg = (folder / f"{name}.svg").read_text()
        assert "<dc:date>" not in svg


class _Document(HTMLParser):
    """Balanced tags, ids, addresses, pictures without a text for those who do not see them."""

    VOID = ("meta", "link", "br", "img", "hr", "input")

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.ids: list[str] = []
        self.addresses: list[str] = []
        self.tags: set[str] = set()
        self.nameless: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        named = dict(attrs)
        self.tags.add(tag)
        self.open += [] if tag in self.VOID else [tag]
        self.ids += [named["id"] or ""] if "id" in named else []
        self.addresses += [value or "" for key, value in attrs if key in ("src", "href", "xlink:href")]
        if (tag == "img" and not named.get("alt")) or (tag == "svg" and not named.get("aria-label")):
            self.nameless.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag, tag

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in self.VOID:
            self.open.pop()


def test_the_page_is_whole_self_contained_and_named(artifacts: Path, manifest: Manifest) -> None:
    html = (artifacts / "report" / "index.html").read_text(encoding="utf-8")
    document = _Document()
    document.feed(html)
    assert document.open == []
    assert len(document.ids) == len(set(document.ids))
    assert "script" not in document.tags
    assert document.nameless == []
    foreign = [a for a in document.addresses if not a.startswith(("#", "data:image/png;base64,"))]
    assert foreign == []
    assert {a[1:] for a in document.addresses if a.startswith("#")} <= set(document.ids)
    assert "@import" not in html
    assert not re.search(r"url\((?!#)", html)
    record = load_record(artifacts / "report")
    for words in (manifest.dataset, manifest.digest, record.date, "n = 12", "ensemble"):
        assert words in html, words
    for network in record.networks.values():
        assert network.file is None or network.file.sha256 in html
    assert f"onnxruntime {record.versions['onnxruntime']}" in html


def test_the_page_can_be_made_again_from_the_files_alone(artifacts: Path, tmp_path: Path) -> None:
    shutil.copytree(artifacts / "report", tmp_path / "report")
    made = [p for p in (tmp_path / "report").iterdir() if p.suffix == ".svg" or p.name == "index.html"]
    for path in made:
        path.unlink()
    page(Page(tmp_path))
    for path in made:
        assert path.read_bytes() == (artifacts / "report" / path.name).read_bytes(), path.name


def test_a_report_made_twice_differs_in_its_date_lines_alone(
    artifacts: Path, unreported: Path, shards: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "86400")
    folder = report(Report(shards=shards, artifacts=unreported, device="cpu", workers=1))
    assert {path.name for path in folder.iterdir()} == {path.name for path in (artifacts / "report").iterdir()}
    for path in folder.iterdir():
        here, there = path.read_bytes(), (artifacts / "report" / path.name).read_bytes()
        if path.name in ("metrics.json", "index.html"):
            lines = zip(here.splitlines(), there.splitlines(), strict=True)
            (changed,) = [pair for pair in lines if pair[0] != pair[1]]
            assert b"1970-01-02" in changed[0]
        else:
            assert here == there, path.name


def test_the_table_is_printed_again(artifacts: Path, capsys: pytest.CaptureFixture[str]) -> None:
    print_summary(Summary(artifacts))
    printed = capsys.readouterr().out
    assert "synthetic cells (drawn, not real): valid, n = 12" in printed
    assert "ensemble" in printed
    assert str(artifacts / "report" / "index.html") in printed


def test_a_network_of_other_shards_is_refused_and_leaves_no_folder(unreported: Path, shards: Path) -> None:
    _recard(unreported / "resnet18" / "model.onnx", manifest_digest="0" * 64)
    with pytest.raises(UserError, match=r"trained on other shards .*--allow-other-data"):
        report(Report(shards=shards, artifacts=unreported, device="cpu"))
    assert not (unreported / "report").exists()


def test_one_network_of_other_shards_over_an_older_report(
    artifacts: Path, unreported: Path, shards: Path, tmp_path: Path
) -> None:
    # Allowed, the page says so; what only the older report had is removed, and nothing else.
    shutil.copytree(artifacts / "report", unreported / "report")
    (unreported / "report" / "report.pdf").write_text("another's")
    (tmp_path / "outside.txt").write_text("kept")
    metrics = unreported / "report" / "metrics.json"
    metrics.write_text(metrics.read_text().replace('"files": [', '"files": [\n    "../../outside.txt",'))
    shutil.rmtree(unreported / "resnet50")
    _recard(unreported / "resnet18" / "model.onnx", manifest_digest="0" * 64)
    folder = report(Report(shards=shards, artifacts=unreported, device="cpu", workers=1, allow_other_data=True))
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
    command = Report(shards=tmp_path / "shards", artifacts=unreported, device="cpu", allow_other_data=True)
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
    _recard(unreported / "resnet18" / "model.onnx", **changes)
    with pytest.raises(UserError, match=words):
        report(Report(shards=shards, artifacts=unreported, device="cpu", allow_other_data=True))
    assert not (unreported / "report").exists()


def test_without_an_exported_network_it_says_how_to_make_one(tmp_path: Path, shards: Path) -> None:
    with pytest.raises(UserError, match="no exported network there"):
        report(Report(shards=shards, artifacts=tmp_path))


def test_an_unlabelled_split_cannot_be_scored_and_an_unknown_one_lists_the_splits(
    artifacts: Path, shards: Path
) -> None:
    with pytest.raises(UserError, match="labels are unknown"):
        report(Report(shards=shards, artifacts=artifacts, split="test"))
    with pytest.raises(UserError, match="there are train, valid, test"):
        report(Report(shards=shards, artifacts=artifacts, split="tset"))


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
        report(Report(shards=shards, artifacts=unreported, device="cpu"))
    assert list((unreported / "report").iterdir()) == []


def test_weights_that_are_not_numbers_stop_with_the_first_key(
    unreported: Path, shards: Path, manifest: Manifest
) -> None:
    path = unreported / "resnet18" / "model.onnx"
    model = onnx.load(path)
    weight = max(model.graph.initializer, key=lambda tensor: len(tensor.raw_data))
    weight.raw_data = np.full(len(weight.raw_data) // 4, np.nan, np.float32).tobytes()
    path.write_bytes(model.SerializeToString())
    key = SplitReader(shards, manifest, "valid").samples[0].key
    with pytest.raises(UserError, match=f"not a number.*{key}"):
        report(Report(shards=shards, artifacts=unreported, device="cpu"))


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
        report(Report(shards=other, artifacts=unreported, device="cpu", allow_other_data=True))
    assert not (unreported / "report").exists()


def test_an_output_folder_that_cannot_be_written_is_one_line(unreported: Path, shards: Path) -> None:
    (unreported / "report").write_text("a file where the folder belongs")
    with pytest.raises(UserError, match="report: cannot be written"):
        report(Report(shards=shards, artifacts=unreported, device="cpu"))


def test_a_damaged_history_is_refused(unreported: Path, shards: Path) -> None:
    (unreported / "resnet18" / "history.csv").write_text("epoch,train_accuracy\n1,0.5\n")
    with pytest.raises(UserError, match=r"history\.csv: not a history of training"):
        report(Report(shards=shards, artifacts=unreported, device="cpu", workers=1))
