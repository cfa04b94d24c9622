"""The classical baseline: trained on train, scored on valid by cell and by person, and nothing is pickled."""

import csv
import json
import runpy
import sys
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, f1_score, roc_auc_score

from build_shards.dataset import read_dataset
from build_shards.shards import build
from build_shards.split import SplitChoice, split_dataset
from build_shards.synthetic import write_synthetic
from contract.baseline import BaselineCard
from contract.bootstrap import PEOPLE, people_of, resamples
from contract.errors import UserError
from contract.interval import wilson_interval
from contract.manifest import load_manifest
from contract.publish import file_sha256
from contract.recipe import Recipe
from contract.record import from_json
from contract.shard_reader import SplitReader
from evaluate.bootstrap import score_with_intervals
from train.baseline import Config, Record, run, summary
from train.baseline_scores import Scored, score


@pytest.fixture(scope="module")
def folds(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, ...]:
    """Shards of 120 drawn cells as two folds by identity, S000 and S001 taken for one person. Read only."""
    root = tmp_path_factory.mktemp("folds")
    write_synthetic(root / "data", cells=120, seed=0)
    dataset = read_dataset(root / "data")
    for fold in (1, 2):
        choice = SplitChoice("identity", folds=2, fold=fold)
        part = split_dataset(dataset, choice, lambda _: dict.fromkeys(("S000", "S001"), "S000+S001"))
        build(part, Recipe(size=48), root / str(fold), workers=1, force=False)
    return root / "1", root / "2"


@pytest.fixture(scope="module")
def record(folds: tuple[Path, ...], tmp_path_factory: pytest.TempPathFactory) -> tuple[Record, Path]:
    """The record of both folds, and where its files lie."""
    out = tmp_path_factory.mktemp("artifacts")
    return run(Config(shards=folds, artifacts=out, resamples=100)), out / "baseline"


def _rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_it_tells_drawn_blasts_from_drawn_normal_cells(record: tuple[Record, Path]) -> None:
    scores = record[0].scores
    assert scores.n == 96
    assert scores.accuracy > 0.75
    assert scores.auroc is not None
    assert scores.auroc > 0.85


def test_folds_are_scored_together_by_cell_and_by_person(record: tuple[Record, Path], folds: tuple[Path, ...]) -> None:
    made, out = record
    rows = _rows(out / "predictions_valid.csv")
    assert len({row["ID"] for row in rows}) == 96
    right = [row["verdict"] == row["label"] for row in rows]
    assert made.scores.accuracy == pytest.approx(np.mean(right))
    assert made.trained_on == tuple(load_manifest(folder).split("train").samples for folder in folds)
    joined = next(one for one in made.scores.identities if one.identity == "S000+S001")
    theirs = [ok for ok, row in zip(right, rows, strict=True) if row["subject"] in ("S000", "S001")]
    assert (joined.n, joined.correct) == (len(theirs), sum(theirs))
    accuracies = [one.accuracy for one in made.scores.identities]
    assert accuracies == sorted(accuracies)
    people = made.scores.by_people
    assert people is not None
    assert people.people == len(accuracies) == 23
    assert people.accuracy is not None
    assert people.accuracy[0] < made.scores.accuracy < people.accuracy[1]


def test_scores_and_intervals_are_those_of_the_report(record: tuple[Record, Path]) -> None:
    made, out = record
    rows = _rows(out / "predictions_valid.csv")
    labels = np.array([int(row["label"]) for row in rows])
    probability = np.array([row["probability"] for row in rows], np.float32)
    theirs = score_with_intervals(labels, probability, 0.5, [row["identity"] for row in rows], number=100)
    ours, people = made.scores, made.scores.by_people
    names = ("accuracy", "f1_weighted", "auroc", "sensitivity", "specificity")
    assert [getattr(ours, name) for name in names] == pytest.approx(
        [getattr(theirs, n).value for n in names], abs=1e-12
    )
    for name in names[:3]:
        assert getattr(people, name) == pytest.approx(getattr(theirs, name).clustered, abs=1e-12), name
    right = round(ours.accuracy * ours.n)
    assert ours.accuracy_interval == pytest.approx(wilson_interval(right, ours.n))


def test_one_folder_predicts_every_split_and_leaves_submissions_to_the_report(shards: Path, tmp_path: Path) -> None:
    made = run(Config(shards=(shards,), artifacts=tmp_path, resamples=100))
    out, manifest = tmp_path / "baseline", load_manifest(shards)
    predictions = {f"predictions_{split.name}.csv" for split in manifest.splits}
    assert {path.name for path in out.iterdir()} == {"card.json", "metrics.json"} | predictions
    card = BaselineCard.from_json((out / "card.json").read_text())
    assert card.manifests == (manifest.digest,)
    for split in manifest.splits:
        rows = _rows(out / f"predictions_{split.name}.csv")
        reader = SplitReader(shards, manifest, split.name)
        assert [row["key"] for row in rows] == [sample.key for sample in reader.samples]
        assert [row["label"] for row in rows] == ["" if s.label is None else str(s.label) for s in reader.samples]
        assert all(int(row["verdict"]) == (float(row["probability"]) >= 0.5) for row in rows)
        assert file_sha256(out / f"predictions_{split.name}.csv") == card.files[split.name]
    assert from_json(Record, (out / "metrics.json").read_text(), "metrics.json") == made


def test_what_only_an_older_run_had_is_removed(folds: tuple[Path, ...], tmp_path: Path) -> None:
    run(Config(shards=folds[:1], artifacts=tmp_path, resamples=100))
    assert (tmp_path / "baseline" / "predictions_test.csv").is_file()
    (tmp_path / "baseline" / "submission_test.csv").write_text("of an older version")
    run(Config(shards=folds, artifacts=tmp_path, resamples=100))
    names = {"card.json", "metrics.json", "predictions_valid.csv"}
    assert {path.name for path in (tmp_path / "baseline").iterdir()} == names


def test_the_same_seed_writes_the_same_bytes(folds: tuple[Path, ...], tmp_path: Path) -> None:
    for name in ("a", "b"):
        run(Config(shards=folds[:1], artifacts=tmp_path / name, resamples=100))
    first = {path.name: path.read_bytes() for path in (tmp_path / "a" / "baseline").iterdir()}
    assert {path.name: path.read_bytes() for path in (tmp_path / "b" / "baseline").iterdir()} == first


def test_folders_that_are_not_different_folds_of_one_split_are_refused(
    folds: tuple[Path, ...], shards: Path, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match="not another fold of"):
        run(Config(shards=(folds[0], shards), artifacts=tmp_path))
    with pytest.raises(UserError, match="the folds 1, 1 are not different ones"):
        run(Config(shards=(folds[0], folds[0]), artifacts=tmp_path))
    with pytest.raises(UserError, match="not another fold of"):
        run(Config(shards=(shards, shards), artifacts=tmp_path))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("seed", "recipe", "words"),
    [(7, Recipe(size=48), "two folds hold out "), (0, Recipe(size=48, crop="box"), "not another fold of")],
)
def test_folds_of_another_seed_or_recipe_would_hold_cells_out_twice(
    seed: int, recipe: Recipe, words: str, folds: tuple[Path, ...], tmp_path: Path
) -> None:
    part = split_dataset(
        read_dataset(folds[0].parent / "data"),
        SplitChoice("identity", folds=2, fold=2, seed=seed),
        lambda _: dict.fromkeys(("S000", "S001"), "S000+S001"),
    )
    build(part, recipe, tmp_path / "other", workers=1, force=False)
    with pytest.raises(UserError, match=words):
        run(Config(shards=(folds[0], tmp_path / "other"), artifacts=tmp_path / "artifacts"))
    assert not (tmp_path / "artifacts").exists()


def _cells(identities: tuple[str | None, ...], labels: list[int], probability: list[float]) -> Scored:
    ids = tuple(map(str, range(len(labels))))
    return Scored(ids, ids, identities, identities, np.array(labels), np.array(probability))


def test_people_who_are_unknown_or_alone_have_no_interval_and_one_cell_of_nobody_stands_for_itself() -> None:
    labels, probability = [0, 1, 1], [0.2, 0.7, 0.4]
    unknown = score(_cells((None, None, None), labels, probability), 100)
    assert unknown.by_people is None
    assert unknown.accuracy == pytest.approx(2 / 3)
    assert score(_cells(("A", "A", "A"), labels, probability), 100).by_people is None
    some = score(_cells((None, "A", "A"), labels, probability), 100).by_people
    assert some is not None
    assert some.people == 2


def test_intervals_are_scikit_learn_s_on_the_resampled_cells() -> None:
    rng = np.random.default_rng(5)
    labels = rng.integers(0, 2, 80)
    probability = np.round(np.clip(rng.normal(0.4 + 0.2 * labels, 0.25), 0, 1) * 16) / 16  # with ties, and some at 0.5
    cells = _cells(tuple(f"p{i // 5}" for i in range(80)), labels.tolist(), probability.tolist())
    found = score(cells, 60).by_people
    people = people_of(cells.subjects, cells.identities, cells.keys)
    drawn = [
        np.repeat(np.arange(80), row) for part in resamples(people, 80, PEOPLE, 60) for row in part.astype(np.int64)
    ]
    by_hand = {
        "accuracy": [accuracy_score(labels[i], probability[i] >= 0.5) for i in drawn],
        "f1_weighted": [f1_score(labels[i], probability[i] >= 0.5, average="weighted") for i in drawn],
        "auroc": [roc_auc_score(labels[i], probability[i]) for i in drawn],
    }
    for name, values in by_hand.items():
        assert getattr(found, name) == pytest.approx(tuple(np.percentile(values, (2.5, 97.5))), abs=1e-12), name


def test_intervals_over_people_are_wider_than_over_cells() -> None:
    people = tuple(name for name in "ABCDEFGH" for _ in range(50))
    labels = [int(name in "ABCD") for name in people]
    wrong = {"A", "E"}  # whole people are wrong, as on unseen people
    probability = [
        (0.9 if (label == 1) != (name in wrong) else 0.1) for name, label in zip(people, labels, strict=True)
    ]
    scores = score(_cells(people, labels, probability), 500)
    assert scores.by_people is not None
    assert scores.by_people.accuracy is not None
    low, high = scores.by_people.accuracy
    assert high - low > 3 * (scores.accuracy_interval[1] - scores.accuracy_interval[0])
    assert [one.identity for one in scores.identities[:2]] == ["A", "E"]


def test_one_class_alone_has_accuracy_alone() -> None:
    scores = score(_cells(("A", "B"), [1, 1], [0.9, 0.8]), 100)
    assert (scores.f1_weighted, scores.auroc, scores.specificity) == (None, None, None)
    assert (scores.accuracy, scores.sensitivity) == (1.0, 1.0)
    people = scores.by_people
    assert people is not None
    assert (people.accuracy, people.f1_weighted, people.auroc) == ((1.0, 1.0), None, None)


def test_the_seed_leaves_the_draws_of_people_alone(
    record: tuple[Record, Path], folds: tuple[Path, ...], tmp_path: Path
) -> None:
    made = run(Config(folds, tmp_path, seed=1, resamples=100))
    assert made.seed == 1
    assert made.scores == record[0].scores  # below 10,000 cells scikit-learn's defaults draw nothing either


def test_the_word_baseline_starts_it_and_the_summary_says_what_matters(
    shards: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    flags = ["baseline", "--shards", str(shards), "--artifacts", str(tmp_path), "--resamples", "100"]
    monkeypatch.setattr(sys, "argv", ["train", *flags])
    runpy.run_module("train", run_name="__main__")
    text = capsys.readouterr().out
    assert "baseline on valid, n = 12" in text
    assert "worst subject id: " in text
    made = from_json(Record, (tmp_path / "baseline" / "metrics.json").read_text(), "metrics.json")
    assert "\n".join(summary(made)) in text
    assert json.loads((tmp_path / "baseline" / "metrics.json").read_text())["features"][0] == "area"
