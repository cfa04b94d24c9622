"""Handing a submission to Kaggle's command line, with a stand-in executable on PATH."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from contract.errors import UserError
from contract.manifest import Manifest
from evaluate.kaggle import Submit, has_credentials, submit
from evaluate.metrics import reliability, score
from evaluate.predictions import Cells, Predictions
from evaluate.report_record import Bootstrap, Dataset, Estimate, ModelFile, Network, ReportRecord, Scores
from evaluate.submission import wanted_order

STAND_IN = """#!/usr/bin/env python3
import json, sys
json.dump(sys.argv[1:], open({log!r}, "w"))
print({words!r})
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
    rows = "".join(f"{i},{n % 2}\n" for n, i in enumerate(ids))
    (folder / "submission_resnet50.csv").write_text("ID,label\n" + rows)
    nothing = (None,) * len(ids)
    probability = np.arange(len(ids), dtype=np.float32) % 2
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


def _stand_in(folder: Path, words: str = "Successfully submitted", status: int = 0) -> None:
    path = folder / "bin" / "kaggle"
    path.parent.mkdir(exist_ok=True)
    path.write_text(STAND_IN.format(log=str(folder / "given.json"), words=words, status=status))
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
    for words in ("leukemia-lab-50", "-first try", str(file), "rows         12", "f" * 64, "Successfully submitted"):
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
    other.write_text("Order,Path\n1," + ids[0] + "\n\n2\n")
    with pytest.raises(UserError, match=r"board\.csv: line 4: '2' has no Path"):
        submit(replace(command, csv=other))
    other.write_bytes(b"Path\n\xff\n")
    with pytest.raises(UserError, match=r"board\.csv: cannot be read: not UTF-8"):
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


@pytest.mark.parametrize(("words", "status"), [("403 - Forbidden", 1), ("Could not submit to competition", 0)])
def test_a_refusal_of_kaggle_is_an_error_with_its_words(
    command: Submit, tmp_path: Path, words: str, status: int
) -> None:
    _stand_in(tmp_path, words, status)
    with pytest.raises(UserError, match=f"exit status {status}.*{words}"):
        submit(command)


@pytest.mark.parametrize("name", ["", "--help", "https://www.kaggle.com/c/x"])
def test_what_is_not_a_board_s_name_is_refused(command: Submit, name: str) -> None:
    with pytest.raises(UserError, match="not a board's name"):
        submit(replace(command, competition=name))


def test_a_network_that_the_report_does_not_have_is_refused(command: Submit) -> None:
    with pytest.raises(UserError, match=r"submission_resnet18\.csv: no such file: make the report first"):
        submit(replace(command, arch="resnet18"))


@pytest.mark.parametrize(
    ("environment", "file", "expected"),
    [
        ({}, None, False),
        ({"KAGGLE_API_TOKEN": "t"}, None, True),
        ({"KAGGLE_USERNAME": "u"}, None, False),
        ({"KAGGLE_USERNAME": "u", "KAGGLE_KEY": "k"}, None, True),
        ({}, ".kaggle/access_token", True),
        ({}, ".kaggle/kaggle.json", True),
        ({}, ".config/kaggle/kaggle.json", True),
        ({}, ".kaggle/other", False),
    ],
)
def test_credentials_are_looked_for_where_kaggle_does(
    tmp_path: Path, environment: dict[str, str], file: str | None, expected: bool
) -> None:
    if file:
        (tmp_path / file).parent.mkdir(parents=True)
        (tmp_path / file).write_text("x")
    assert has_credentials(environment, tmp_path) is expected
