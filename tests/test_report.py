"""A whole report from synthetic shards and two exported networks: its numbers, its page, its bytes, its faults."""

import csv
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path

import cv2
import numpy as np
import pytest
from sklearn.metrics import accuracy_score, confusion_matrix, roc_auc_score
from two_networks import write_networks

from contract.errors import UserError
from contract.manifest import Manifest
from contract.model_card import ModelCard
from contract.shard_reader import SplitReader
from evaluate.predictor import Predictor
from evaluate.report import Page, Report, page, report
from evaluate.report_record import load_record
from evaluate.summary import Summary, print_summary


@pytest.fixture(scope="module")
def artifacts(card: ModelCard, shards: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished report of two networks and their ensemble. Read only."""
    folder = tmp_path_factory.mktemp("reported")
    write_networks(folder, card)
    report(Report(shards=(shards,), artifacts=folder, device="cpu", workers=1))
    return folder


@pytest.fixture
def unreported(card: ModelCard, tmp_path: Path) -> Path:
    """Two networks before their report; a test may damage them."""
    write_networks(tmp_path / "artifacts", card)
    return tmp_path / "artifacts"


def _rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


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


def test_metrics_json_is_written_last(artifacts: Path) -> None:
    """`make` takes a report for finished where it is there."""
    paths = (artifacts / "report").iterdir()
    assert max(paths, key=lambda path: path.stat().st_mtime_ns).name == "metrics.json"


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
    folder = report(Report(shards=(shards,), artifacts=unreported, device="cpu", workers=1))
    assert {path.name for path in folder.iterdir()} == {path.name for path in (artifacts / "report").iterdir()}
    for path in folder.iterdir():
        here, there = path.read_bytes(), (artifacts / "report" / path.name).read_bytes()
        if path.name in ("metrics.json", "index.html"):
            lines = zip(here.splitlines(), there.splitlines(), strict=True)
            (changed,) = [pair for pair in lines if pair[0] != pair[1]]
            assert b"1970-01-02" in changed[0]
        else:
            assert here == there, path.name


def test_ids_of_shards_that_nobody_searched_are_not_called_people(artifacts: Path) -> None:
    record, html = load_record(artifacts / "report"), (artifacts / "report" / "index.html").read_text(encoding="utf-8")
    assert (record.bootstrap.cluster, record.dataset.people) == ("subject", record.dataset.subjects)
    assert any("Whether several subject ids are one person is unknown" in note for note in record.notes)
    for text in (html, *record.notes):
        assert not re.search(r"\d+ (of them )?people|people drawn|people in train", text), text


def test_the_table_is_printed_again(artifacts: Path, capsys: pytest.CaptureFixture[str]) -> None:
    print_summary(Summary(artifacts))
    printed = capsys.readouterr().out
    assert "synthetic cells (drawn, not real): valid, n = 12" in printed
    assert "ensemble" in printed
    assert str(artifacts / "report" / "index.html") in printed


def _change(path: Path, old: str, new: str) -> None:
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new, 1), encoding="utf-8")


def test_a_damaged_report_is_told_in_one_line_when_its_page_is_made_again(artifacts: Path, tmp_path: Path) -> None:
    copied = shutil.copytree(artifacts / "report", tmp_path / "artifacts" / "report")
    picture = load_record(copied).networks["resnet18"].errors[0].picture
    said = copied / "predictions_valid_resnet18.csv"
    rows = _rows(said)
    first = ",".join(rows[0].values())
    before = said.read_text(encoding="utf-8")
    faults = {
        "not a picture": lambda: (copied / picture).write_bytes(b"no PNG"),
        "not a picture: make": lambda: (copied / picture).write_bytes(b""),
        "is not a file beside it": lambda: _change(copied / "metrics.json", picture, "../../secret.png"),
        "a label or a verdict is neither 0 nor 1": lambda: _change(said, first, first[:-1] + "7"),
        "its labels and verdicts are not those": lambda: _change(said, first, first[:-1] + str(1 - int(first[-1]))),
        "is not between 0 and 1": lambda: _change(said, rows[0]["probability"] + ",", "nan,"),
        "labelled cells of metrics.json": lambda: said.write_text(before.replace(first + "\n", "", 1)),
    }
    for words, damage in faults.items():
        shutil.copytree(artifacts / "report", copied, dirs_exist_ok=True)
        damage()
        with pytest.raises(UserError, match=words):
            page(Page(tmp_path / "artifacts"))
