"""Handing a submission to Kaggle's command line, with a stand-in executable on PATH."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from contract.errors import UserError
from contract.manifest import Manifest, Submission
from evaluate.kaggle import Submit, submit
from evaluate.metrics import reliability, score
from evaluate.predictions import Cells, Predictions
from evaluate.report_record import Bootstrap, Dataset, Estimate, ModelFile, Network, ReportRecord, Scores
from evaluate.submission import wanted_order

STAND_IN = """#!/usr/bin/env python3
import json, sys
json.dump(sys.argv[1:], open({log!r}, "w"))
print({words!r}, file=sys.{stream})
sys.exit({status})
"""


def _record() -> ReportRecord:
    """A report of ResNet50 alone."""
    labels, probability = np.array([0, 1]), np.array([0.1, 0.9], np.float32)
    scores = Scores(**{n: Estimate(v, None, None) for n, v in score(labels, probability, 0.5).items()})
    before = reliability(labels, probability)
    file = ModelFile("resnet50/model.onnx", "f" * 64, 10, "CPUExecutionProvider", False, {})
    confusion = ((1, 0), (0, 1))
    network = Network(file, (), 0.5, "balanced", 1.0, confusion, scores, before, before, (), (), None, (), {})
    dataset = Dataset("cells", "course", "valid", "given", 2, (1, 1), ("normal", "blast"), 0, 0, 0, 0, "a", "b")
    bootstrap = Bootstrap(0.95, 2000, 0, "none", 0)
    return ReportRecord(2, "2026-01-01", dataset, bootstrap, 1, {"resnet50": network}, (), {}, (), {}, ())


@pytest.fixture
def command(tmp_path: Path, shards: Path, manifest: Manifest, monkeypatch: pytest.MonkeyPatch) -> Submit:
    """A checked submission, a token in the environment, and a `kaggle` that writes down what it was given."""
    folder = tmp_path / "artifacts" / "report"
    folder.mkdir(parents=True)
    ids = wanted_order(manifest, "test", "resnet50").ids
    rows = "".join(f"{i},{int(n < 4)}\n" for n, i in enumerate(ids))
    (folder / "submission_resnet50.csv").write_text("ID,label\n" + rows)
    nothing = (None,) * len(ids)
    probability = (np.arange(len(ids)) < 4).astype(np.float32)
    said = Predictions(Cells(ids, ids, nothing, nothing, nothing), None, probability, probability, probability == 1)
    (folder / "predictions_test_resnet50.csv").write_text(said.to_csv())
    (folder / "metrics.json").write_text(_record().to_json())
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:/usr/bin:/bin")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    for name in ("KAGGLE_USERNAME", "KAGGLE_KEY", "KAGGLE_CONFIG_DIR", "XDG_CONFIG_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("KAGGLE_API_TOKEN", "a token")
    _stand_in(tmp_path)
    return Submit("resnet50", "leukemia-lab-50", "-first try", shards=shards, artifacts=tmp_path / "artifacts")


def _stand_in(folder: Path, words: str = "Successfully submitted", status: int = 0, stream: str = "stdout") -> None:
    path = folder / "bin" / "kaggle"
    path.parent.mkdir(exist_ok=True)
    path.write_text(STAND_IN.format(log=str(folder / "given.json"), words=words, status=status, stream=stream))
    path.chmod(0o755)


def test_kaggle_gets_the_file_the_board_and_the_message(
    command: Submit, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    submit(command)
    given = json.loads((tmp_path / "given.json").read_text())
    file = tmp_path / "artifacts" / "report" / "submission_resnet50.csv"
    options = ["--competition=leukemia-lab-50", f"--file={file}", "--message=-first try"]
    assert given == ["competitions", "submit", *options]
    printed = capsys.readouterr().out
    for words in (
        "leukemia-lab-50",
        "-first try",
        str(file),
        "12: 4 of label 1, 8 of label 0",
        "f" * 64,
        "Successfully submitted",
    ):
        assert words in printed, words
    assert printed.index("rows") < printed.index("Successfully")


def test_a_dry_run_shows_and_sends_nothing(command: Submit, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    submit(replace(command, dry_run=True))
    assert "nothing was sent" in capsys.readouterr().out
    assert not (tmp_path / "given.json").exists()


def test_a_damaged_submission_is_refused_by_name_before_it_is_sent(command: Submit, tmp_path: Path) -> None:
    path = tmp_path / "artifacts" / "report" / "submission_resnet50.csv"
    lines = path.read_text().splitlines(keepends=True)
    gone = lines.pop(3).split(",")[0]
    path.write_text("".join(lines))
    with pytest.raises(UserError, match=rf"submission_resnet50\.csv: the ID '{gone}' is missing"):
        submit(command)
    assert not (tmp_path / "given.json").exists()


def test_a_submission_that_the_report_did_not_make_is_refused(command: Submit, tmp_path: Path) -> None:
    path = tmp_path / "artifacts" / "report" / "submission_resnet50.csv"
    header, *rows = path.read_text().splitlines()
    path.write_text("\n".join([header, *(f"{row[:-1]}{1 - int(row[-1])}" for row in rows), ""]))
    with pytest.raises(UserError, match=r"submission_resnet50\.csv: does not say what the predictions do"):
        submit(command)
    assert not (tmp_path / "given.json").exists()


def test_a_report_of_another_export_is_refused(command: Submit, tmp_path: Path) -> None:
    (tmp_path / "artifacts" / "resnet50").mkdir()
    (tmp_path / "artifacts" / "resnet50" / "model.onnx").write_bytes(b"exported anew")
    with pytest.raises(UserError, match=r"resnet50/model\.onnx: not the file that the report is of"):
        submit(command)
    assert not (tmp_path / "given.json").exists()


def test_another_test_csv_can_be_the_judge(command: Submit, tmp_path: Path, manifest: Manifest) -> None:
    ids = wanted_order(manifest, "test", "resnet50").ids
    other = tmp_path / "board.csv"
    other.write_text("\ufeffPath\n" + "\n".join(ids) + "\n", encoding="utf-8")
    submit(replace(command, csv=other))
    other.write_text("Path\n" + "\n".join([*ids, "./one/more.bmp"]) + "\n")
    with pytest.raises(UserError, match=r"'\./one/more\.bmp' is missing"):
        submit(replace(command, csv=other))
    for header, start in (("ID", ""), ("ID,Path", "7,")):  # of both the path is what a submission names
        other.write_text(f"{header}\n" + "".join(f"{start}{i}\n" for i in ids))
        submit(replace(command, csv=other))
    other.write_text("Order,Path\n1," + ids[0] + "\n\n2\n")
    with pytest.raises(UserError, match=r"board\.csv: line 4: '2' has no Path"):
        submit(replace(command, csv=other))
    other.write_bytes(b"Path\n\xff\n")
    with pytest.raises(UserError, match=r"board\.csv: cannot be read: not UTF-8"):
        submit(replace(command, csv=other))
    other.write_text('Path\n"a\n' + "b\n" * 140_000)  # a quote that is never closed
    with pytest.raises(UserError, match=r"board\.csv: not a test CSV: field larger"):
        submit(replace(command, csv=other))
    other.write_text("Image\nx\n")
    with pytest.raises(UserError, match=r"board\.csv: not a test CSV"):
        submit(replace(command, csv=other))


def test_a_csv_of_another_order_is_refused_for_a_network(command: Submit, tmp_path: Path, manifest: Manifest) -> None:
    ids = wanted_order(manifest, "test", "resnet50").ids
    (tmp_path / "board.csv").write_text("Path\n" + "\n".join(ids[::-1]) + "\n")
    with pytest.raises(UserError, match="out of order"):
        submit(replace(command, csv=tmp_path / "board.csv"))
    assert not (tmp_path / "given.json").exists()


def test_without_credentials_it_says_how_to_get_them(command: Submit, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KAGGLE_API_TOKEN")
    with pytest.raises(UserError, match=r"no credentials: make a token at https://www\.kaggle\.com/settings/api"):
        submit(command)


def test_without_the_command_it_says_how_to_get_it(command: Submit, tmp_path: Path) -> None:
    (tmp_path / "bin" / "kaggle").unlink()
    with pytest.raises(UserError, match="kaggle: no such command: `pip install kaggle`"):
        submit(command)


@pytest.mark.parametrize("stream", ["stdout", "stderr"])
@pytest.mark.parametrize(("words", "status"), [("403 - Forbidden", 1), ("Could not submit to competition", 0)])
def test_a_refusal_of_kaggle_is_an_error_with_its_words(
    command: Submit, tmp_path: Path, words: str, status: int, stream: str
) -> None:
    _stand_in(tmp_path, words, status, stream)
    with pytest.raises(UserError, match=f"exit status {status}.*{words}"):
        submit(command)


@pytest.mark.parametrize("name", ["", "--help", "https://www.kaggle.com/c/x"])
def test_what_is_not_a_board_s_name_is_refused(command: Submit, name: str) -> None:
    with pytest.raises(UserError, match="not a board's name"):
        submit(replace(command, competition=name))


def test_a_network_that_the_report_does_not_have_is_refused(command: Submit) -> None:
    with pytest.raises(UserError, match=r"submission_resnet18\.csv: no such file: make the report first"):
        submit(replace(command, arch="resnet18"))


def test_a_submission_of_another_column_than_the_report_s_is_refused(
    command: Submit, tmp_path: Path, manifest: Manifest
) -> None:
    ids = wanted_order(manifest, "test", "resnet18").ids
    path = tmp_path / "artifacts" / "report" / "submission_resnet18.csv"
    path.write_text("ID,label\n" + "".join(f"{i},0\n" for i in ids))
    with pytest.raises(UserError, match="--arch resnet18: not in the last report: make it anew"):
        submit(replace(command, arch="resnet18"))


@pytest.mark.parametrize("name", ["ensemble", "baseline"])
def test_what_has_no_board_may_have_another_order_than_the_board_s_csv(
    name: str, command: Submit, tmp_path: Path, manifest: Manifest, capsys: pytest.CaptureFixture[str]
) -> None:
    report, made = tmp_path / "artifacts" / "report", _record()
    ensemble = replace(made.networks["resnet50"], file=None, members=("resnet18", "resnet50"))
    (report / "metrics.json").write_text(replace(made, networks={name: ensemble}).to_json())
    for kind in ("submission", "predictions_test"):
        (report / f"{kind}_resnet50.csv").rename(report / f"{kind}_{name}.csv")
    ids = wanted_order(manifest, "test", "resnet50").ids
    (tmp_path / "board.csv").write_text("Path\n" + "\n".join(ids[::-1]) + "\n")
    submit(replace(command, arch=name, csv=tmp_path / "board.csv", dry_run=True))
    assert f"{name}, threshold 0.500 (balanced), mean of resnet18, resnet50\n" in capsys.readouterr().out


def test_another_split_has_its_own_list_and_file(
    command: Submit, tmp_path: Path, manifest: Manifest, capsys: pytest.CaptureFixture[str]
) -> None:
    report, ids = tmp_path / "artifacts" / "report", wanted_order(manifest, "test", "resnet50").ids
    for file, name in (("submission", "submission_ward"), ("predictions_test", "predictions_ward")):
        lines = (report / f"{file}_resnet50.csv").read_text().splitlines(keepends=True)
        (report / f"{name}_resnet50.csv").write_text("".join(lines[:6]))  # the first five cells
    ward = replace(manifest, submissions=(*manifest.submissions, Submission("ward", "ward", ids[:5])))
    (tmp_path / "manifest.json").write_text(ward.to_json())
    submit(replace(command, split="ward", shards=tmp_path, dry_run=True))
    assert "rows         5: 4 of label 1, 1 of label 0" in capsys.readouterr().out
    path = report / "submission_ward_resnet50.csv"
    path.write_text(path.read_text().replace(",0\n", ",1\n"))
    with pytest.raises(UserError, match=r"submission_ward_resnet50\.csv: does not say what the predictions do"):
        submit(replace(command, split="ward", shards=tmp_path))
