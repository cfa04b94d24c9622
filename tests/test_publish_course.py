"""`python -m evaluate publish`: what a folder of results holds, and what is refused before anything is written."""

import csv
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from report_to_publish import NAMES, predictions_of, write_report

from contract.errors import UserError
from contract.publish import file_sha256
from contract.record import to_json
from evaluate.answer_tables import table
from evaluate.answers import AnswersRecord
from evaluate.publish import Publish, publish
from evaluate.report_record import ARCHS, ReportRecord, load_record


def _content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.fixture
def artifacts(tmp_path: Path) -> Path:
    write_report(tmp_path / "artifacts")
    return tmp_path / "artifacts"


def test_every_column_has_its_files_in_the_published_format(artifacts: Path, tmp_path: Path) -> None:
    out = publish(Publish(artifacts, tmp_path / "course"))
    kinds = [f"{kind}_{name}.csv" for kind in ("submission", "predictions", "external") for name in NAMES]
    figures = ["accuracy.png", *(f"confusion_{name}.png" for name in NAMES)]
    assert set(_content(out)) == {*kinds, *figures, *(f"history_{arch}.csv" for arch in ARCHS)}
    for seed, name in enumerate(NAMES):
        for kind, split in (("predictions", "test"), ("external", "external")):
            said = predictions_of(seed, split)
            header, *rows = (out / f"{kind}_{name}.csv").read_text().splitlines()
            assert header == "ID,label,probability"
            assert rows[0] == f"./{split}/2.bmp,{said.verdicts[0]},{said.probability[0]:.6f}"
            assert rows[1].startswith(f'"./{split}/a, b.bmp",')
        assert (out / f"submission_{name}.csv").read_bytes() == (
            artifacts / "report" / f"submission_{name}.csv"
        ).read_bytes()
        assert (out / f"confusion_{name}.png").read_bytes() == b"matrix of " + name.encode()
    assert (out / "history_resnet50.csv").read_bytes() == (artifacts / "resnet50" / "history.csv").read_bytes()


def test_it_is_the_same_twice_and_removes_only_what_an_older_report_had(artifacts: Path, tmp_path: Path) -> None:
    out = publish(Publish(artifacts, tmp_path / "course"))
    first = _content(out)
    (out / "README.md").write_text("kept")
    (out / "notes_resnet18.csv").write_text("kept")
    assert _content(publish(Publish(artifacts, out))) == first | {
        "README.md": b"kept",
        "notes_resnet18.csv": b"kept",
    }
    write_report(artifacts, ("resnet18", "baseline"))
    publish(Publish(artifacts, out, incomplete=True))
    left = {name for name in first if any(part in name for part in ("resnet18", "baseline", "accuracy"))}
    assert set(_content(out)) == left | {"README.md", "notes_resnet18.csv"}


def test_what_an_older_report_had_of_a_split_that_is_gone_is_removed(artifacts: Path, tmp_path: Path) -> None:
    out = publish(Publish(artifacts, tmp_path / "course"))
    mine = {"notes_resnet18.csv": b"kept", "ward_resnet18.csv": b"ID,label,probability,mine\n", "external.csv": b"x"}
    for name, data in mine.items():
        (out / name).write_bytes(data)
    write_report(artifacts, splits=("test",))
    publish(Publish(artifacts, out))
    left = _content(out)
    assert {name: left[name] for name in mine} == mine
    assert [name for name in left if name.startswith("external_")] == []
    assert {f"predictions_{name}.csv" for name in NAMES} <= set(left)


def test_a_folder_in_the_place_of_an_older_file_is_named(artifacts: Path, tmp_path: Path) -> None:
    publish(Publish(artifacts, tmp_path / "course"))
    (tmp_path / "course" / "history_resnet18_refit.csv").mkdir()
    with pytest.raises(UserError, match=r"history_resnet18_refit\.csv: cannot be removed"):
        publish(Publish(artifacts, tmp_path / "course"))


@pytest.mark.parametrize("split", ["predictions", "submission", "history"])
def test_a_split_whose_files_would_replace_others_is_refused(tmp_path: Path, split: str) -> None:
    write_report(tmp_path / "artifacts", splits=("test", split))
    with pytest.raises(UserError, match=rf"its split '{split}' is called as files of another kind are"):
        publish(Publish(tmp_path / "artifacts", tmp_path / "course"))
    assert not (tmp_path / "course").exists()


def test_a_missing_column_is_named_and_nothing_is_written(artifacts: Path, tmp_path: Path) -> None:
    write_report(artifacts, ("resnet18", "resnet50", "ensemble"))
    with pytest.raises(UserError, match="has no resnet152, baseline: nothing was written"):
        publish(Publish(artifacts, tmp_path / "course"))
    assert not (tmp_path / "course").exists()


@pytest.mark.parametrize(
    ("file", "words"),
    [
        ("resnet50/model.onnx", r"model\.onnx: not the file that the report is of"),
        ("resnet18/history.csv", r"history\.csv: not what metrics\.json tells"),
        ("baseline/card.json", r"card\.json: not what the report is of"),
        ("report/submission_ensemble.csv", r"submission_ensemble\.csv: does not say what the predictions do"),
        ("report/predictions_external_resnet18.csv", "not predictions of a report"),
    ],
)
def test_what_is_not_of_the_report_is_refused_before_anything_is_written(
    artifacts: Path, tmp_path: Path, file: str, words: str
) -> None:
    (artifacts / file).write_text("epoch,train_accuracy,valid_accuracy\n1,0.1,0.1\n2,0.1,0.1\n")
    with pytest.raises(UserError, match=words):
        publish(Publish(artifacts, tmp_path / "course"))
    assert not (tmp_path / "course").exists()


def test_a_network_that_is_gone_is_named_and_nothing_is_written(artifacts: Path, tmp_path: Path) -> None:
    (artifacts / "resnet50" / "model.onnx").unlink()
    with pytest.raises(UserError, match=r"resnet50/model\.onnx: no such file: make the report anew"):
        publish(Publish(artifacts, tmp_path / "course"))
    assert not (tmp_path / "course").exists()


def test_a_report_made_before_its_history_is_not_published(artifacts: Path, tmp_path: Path) -> None:
    made = load_record(artifacts / "report")
    history = {name: rows for name, rows in made.history.items() if name != "resnet50"}
    (artifacts / "report" / "metrics.json").write_text(to_json(replace(made, history=history)))
    with pytest.raises(UserError, match=r"resnet50/history\.csv: was not there when the report was made"):
        publish(Publish(artifacts, tmp_path / "course"))
    assert not (tmp_path / "course").exists()


def test_a_disk_that_fills_up_leaves_the_old_files(
    artifacts: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = publish(Publish(artifacts, tmp_path / "course"))
    before = _content(out)
    (artifacts / "report" / "accuracy.png").write_bytes(b"new curves")
    calls = []

    def full(path: Path, data: bytes) -> None:
        calls.append(path)
        if len(calls) == 5:
            raise OSError(28, "No space left on device")
        path.write_bytes(data)

    monkeypatch.setattr("contract.publish.publish_bytes", full)
    with pytest.raises(UserError, match="No space left"):
        publish(Publish(artifacts, out))
    assert _content(out) == before


def _write_answers(
    folder: Path, made: ReportRecord, seed: int, refit: bool, *names: str, threshold: float = 0.5
) -> None:
    """Networks below ``folder`` that answered both splits, trained as the report's but for ``refit``."""
    (folder / "answers").mkdir(parents=True)
    networks, files = {}, {}
    for k, name in enumerate(names):
        (folder / name).mkdir()
        (folder / name / "history.csv").write_text(f"of {name} in {folder.name}")
        (folder / name / "model.onnx").write_bytes(b"another network")
        file = made.networks[name].file
        assert file is not None
        training = file.card["training"] | {"refit": refit}
        sha256 = file_sha256(folder / name / "model.onnx")
        networks[name] = replace(file, sha256=sha256, card=file.card | {"training": training, "threshold": threshold})
        for split in ("test", "external"):
            files[f"predictions_{split}_{name}.csv"] = predictions_of(seed + k, split).to_csv().encode()
    for name, data in files.items():
        (folder / "answers" / name).write_bytes(data)
    digests = {name: file_sha256(folder / "answers" / name) for name in files}
    answered = AnswersRecord(1, made.dataset.source_digest, made.orientations, networks, digests)
    (folder / "answers" / "answers.json").write_text(to_json(answered))


def test_networks_for_people_never_seen_answer_every_split_but_test(artifacts: Path, tmp_path: Path) -> None:
    made = load_record(artifacts / "report")
    _write_answers(artifacts / "refit", made, 50, True, "resnet18", "resnet50")
    _write_answers(artifacts / "unseen", made, 60, False, "resnet50")
    plain = _content(publish(Publish(artifacts, tmp_path / "plain")))
    out = tmp_path / "course"
    found = _content(publish(Publish(artifacts, out, refit=artifacts / "refit", unseen=artifacts / "unseen")))
    histories = {f"history_{name}.csv" for name in ("resnet18_refit", "resnet50_refit", "resnet50_unseen")}
    assert found.keys() == plain.keys() | histories
    assert found["history_resnet50_unseen.csv"] == b"of resnet50 in unseen"
    seeds = {  # whose answer: the report's networks have 0 to 4, the refits 50 and 51, the other 60
        "predictions": {"resnet18": 50, "resnet50": 51, "resnet152": 2},
        "external": {"resnet18": 50, "resnet50": 60, "resnet152": 2},
    }
    for kind, split in (("predictions", "test"), ("external", "external")):
        members = {name: predictions_of(seed, split) for name, seed in seeds[kind].items()}
        for name, said in members.items():
            assert found[f"{kind}_{name}.csv"] == table(said).encode()
        mean = np.mean([said.probability for said in members.values()], axis=0)
        rows = csv.DictReader(found[f"{kind}_ensemble.csv"].decode().splitlines())
        assert [float(row["probability"]) for row in rows] == pytest.approx(mean, abs=2e-6)
        assert found[f"{kind}_baseline.csv"] == plain[f"{kind}_baseline.csv"]
    alone = _content(publish(Publish(artifacts, out, unseen=artifacts / "unseen")))
    assert alone.keys() == plain.keys() | {"history_resnet50_unseen.csv"}
    changed = {name for name, data in plain.items() if alone[name] != data}
    assert changed == {"external_resnet50.csv", "external_ensemble.csv"}
    assert _content(publish(Publish(artifacts, out))) == plain


def test_the_ensemble_decides_by_the_thresholds_of_those_who_speak(artifacts: Path, tmp_path: Path) -> None:
    made = load_record(artifacts / "report")
    _write_answers(artifacts / "unseen", made, 60, False, "resnet18", "resnet50", threshold=0.02)
    found = _content(publish(Publish(artifacts, tmp_path / "course", unseen=artifacts / "unseen")))
    threshold = (0.02 + 0.02 + made.networks["resnet152"].threshold) / 3
    rows = [*csv.DictReader(found["external_ensemble.csv"].decode().splitlines())]
    assert [int(row["label"]) for row in rows] == [int(float(row["probability"]) >= threshold) for row in rows]
    assert any(threshold <= float(row["probability"]) < 0.5 for row in rows)  # else any threshold would do
    rows = [*csv.DictReader(found["predictions_ensemble.csv"].decode().splitlines())]
    assert [int(row["label"]) for row in rows] == [int(float(row["probability"]) >= 0.5) for row in rows]


def test_without_people_never_seen_there_is_nothing_for_their_networks_to_answer(tmp_path: Path) -> None:
    made = write_report(tmp_path / "artifacts", splits=("test",))
    _write_answers(tmp_path / "artifacts" / "unseen", made, 60, False, "resnet50")
    with pytest.raises(UserError, match=r"--unseen .*unseen: there is no split but test"):
        publish(Publish(tmp_path / "artifacts", tmp_path / "course", unseen=tmp_path / "artifacts" / "unseen"))
    assert not (tmp_path / "course").exists()
