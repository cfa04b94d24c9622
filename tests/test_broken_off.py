"""Answers and reports that break off leave no index that speaks of other files; what is refused leaves no folder."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from drawn_predictions import drawn_predictions
from finished_report import record
from two_networks import recard

import evaluate.report
from contract.errors import UserError
from contract.manifest import Manifest, load_manifest
from evaluate.answer_files import csv_files
from evaluate.answers import Answers, answer, load_answers
from evaluate.report import _publish
from evaluate.report_record import load_record


@pytest.fixture
def command(exported: Path, shards: Path, tmp_path: Path) -> Answers:
    """To answer with one network."""
    artifacts = shutil.copytree(exported, tmp_path / "artifacts")
    return Answers(shards=(shards,), artifacts=artifacts, device="cpu", workers=1)


def _break_off_at(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever renames a file to ``name`` is interrupted."""
    move = Path.replace

    def moved(path: Path, to: Path) -> Path:
        if to.name == name:
            raise KeyboardInterrupt
        return move(path, to)

    monkeypatch.setattr(Path, "replace", moved)


def test_answers_that_break_off_leave_no_list_of_them(command: Answers, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = answer(command)
    assert set(load_answers(command.artifacts).files) == {"predictions_test_resnet18.csv", "submission_resnet18.csv"}
    _break_off_at("predictions_test_resnet18.csv", monkeypatch)  # the last of the CSVs
    with pytest.raises(KeyboardInterrupt):
        answer(command)
    assert [path.name for path in folder.iterdir() if path.suffix == ".json"] == []


def test_a_report_that_breaks_off_leaves_no_metrics(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evaluate.report, "_draw", lambda *_: ({"roc.png": b"curve"}, b"page"))
    _publish(tmp_path, record(), {}, {"submission_resnet18.csv": b"ID,label\n"})
    assert load_record(tmp_path).files == ("index.html", "roc.png", "submission_resnet18.csv")
    _break_off_at("index.html", monkeypatch)  # the last before metrics.json
    with pytest.raises(KeyboardInterrupt):
        _publish(tmp_path, record(), {}, {"submission_resnet18.csv": b"ID,label\n"})
    assert not (tmp_path / "metrics.json").exists()


def test_a_labelled_split_of_any_name_has_predictions_and_no_submission(manifest: Manifest) -> None:
    files = csv_files(manifest, "ward", {"ward": {"resnet18": drawn_predictions()}})
    assert files == {"predictions_ward_resnet18.csv": drawn_predictions().to_csv().encode()}


def test_a_list_of_answers_names_no_file_elsewhere(command: Answers, tmp_path: Path) -> None:
    folder = answer(command)
    listed = json.loads((folder / "answers.json").read_text())
    listed["files"] |= {"../../outside.txt": "0" * 64, "older.csv": "0" * 64}
    (folder / "answers.json").write_text(json.dumps(listed))
    for path in (tmp_path / "outside.txt", folder / "older.csv", folder / "notes.txt"):
        path.touch()
    answer(command)
    assert (tmp_path / "outside.txt").exists()
    assert {path.name for path in folder.iterdir()} == {*load_answers(command.artifacts).files} | {
        "answers.json",
        "notes.txt",
    }


def test_a_card_that_lacks_what_is_asked_of_it_is_refused(command: Answers) -> None:
    path = answer(command) / "answers.json"
    listed = json.loads(path.read_text())
    card = listed["networks"]["resnet18"]["card"]
    asked = ("arch", "classes", "recipe", "seed", "manifest_digest", "operating_point", "threshold", "training")
    for damage in (*({name: None} for name in asked), {"threshold": "high"}, {"training": []}):
        ((name, value),) = damage.items()
        damaged = {**card, name: value} if value is not None else {k: v for k, v in card.items() if k != name}
        listed["networks"]["resnet18"]["card"] = damaged
        path.write_text(json.dumps(listed))
        with pytest.raises(UserError, match=r"networks\.resnet18\.card: must be a network's: answer anew"):
            load_answers(command.artifacts)


def test_the_list_of_answers_says_from_how_many_sides_the_networks_looked(command: Answers) -> None:
    for sides in (1, 8):
        answer(replace(command, orientations=sides))  # type: ignore[arg-type]
        assert load_answers(command.artifacts).orientations == sides


def test_a_baseline_beside_the_networks_answers_nothing(command: Answers) -> None:
    (command.artifacts / "baseline").mkdir()
    (command.artifacts / "baseline" / "metrics.json").write_text("{}")  # of which a report would ask for more
    assert not [path for path in answer(command).iterdir() if "baseline" in path.name]


def test_networks_of_other_shards_do_not_answer(command: Answers) -> None:
    recard(command.artifacts / "resnet18" / "model.onnx", manifest_digest="0" * 64)
    with pytest.raises(UserError, match="was trained on other shards than"):
        answer(command)
    assert not (command.artifacts / "answers").exists()


def _of(manifest: Manifest, command: Answers, folder: Path, **changes: object) -> Answers:
    """The command for shards of another manifest, as the network's card then has it."""
    (folder / "manifest.json").write_text(replace(manifest, **changes).to_json())
    digest = load_manifest(folder).digest
    recard(command.artifacts / "resnet18" / "model.onnx", manifest_digest=digest)
    return replace(command, shards=(folder,))


def test_where_every_split_has_labels_there_is_nothing_to_answer(
    command: Answers, manifest: Manifest, tmp_path: Path
) -> None:
    (tmp_path / "shards").mkdir()
    labelled = tuple(split for split in manifest.splits if split.labelled)
    with pytest.raises(UserError, match="every split has labels: there is nothing to answer"):
        answer(_of(manifest, command, tmp_path / "shards", splits=labelled, submissions=()))


@pytest.mark.parametrize(
    ("more", "words"), [("./gone.bmp", "is asked for and is not in the shards"), ("", "is asked for twice")]
)
def test_a_test_csv_that_cannot_be_answered_is_refused_before_a_network_looks(
    more: str, words: str, command: Answers, manifest: Manifest, shards: Path, tmp_path: Path
) -> None:
    copied = shutil.copytree(shards, tmp_path / "shards")
    (own,) = [wanted for wanted in manifest.submissions if wanted.name == "resnet18"]
    asked = replace(own, ids=(*own.ids, more or own.ids[0]))
    with pytest.raises(UserError, match=f"resnet18 test CSV: the ID .* {words}"):
        answer(_of(manifest, command, copied, submissions=(asked,)))
    assert not (command.artifacts / "answers").exists()
