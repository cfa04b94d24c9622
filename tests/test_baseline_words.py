"""The baseline's scores in words, whose cells come first, and which file of a run is published last."""

from pathlib import Path

import numpy as np
import pytest

import train.baseline
from build_shards.dataset import read_dataset
from build_shards.shards import build
from contract.errors import UserError
from contract.manifest import load_manifest
from contract.recipe import Recipe
from contract.shard_reader import SplitReader
from train.baseline import Config, Measurer, Record, run, summary
from train.baseline_scores import IdentityScore, PeopleIntervals, Scored, Scores, in_words, score

SCORES = Scores(
    n=40,
    accuracy=0.85,
    accuracy_interval=(0.701, 0.932),
    f1_weighted=0.841,
    auroc=0.912,
    sensitivity=0.8,
    specificity=0.9,
    by_people=PeopleIntervals(7, 100, (0.601, 0.952), (0.503, 0.944), None),
    identities=(IdentityScore("A", 5, 1, 2, 0.4), IdentityScore("B", 35, 20, 32, 32 / 35)),
)


def test_every_score_is_named_and_the_worst_person_too() -> None:
    assert in_words(SCORES, "people") == [
        "  accuracy 85.0% (70.1% to 93.2%, Wilson, as if cells were independent)",
        "  weighted F1 0.841, AUROC 0.912",
        "  accuracy: 0.601 to 0.952 when the 7 people are drawn anew",
        "  weighted F1: 0.503 to 0.944 when the 7 people are drawn anew",
        "  AUROC: undefined when the 7 people are drawn anew",
        "  worst identity: A, 2 of 5 right",
    ]


@pytest.mark.parametrize(
    ("split_by", "who"), [("identity", "people"), ("subject", "subject ids"), ("given", "subject ids")]
)
def test_ids_are_called_people_only_where_it_is_known_who_is_one_person(split_by: str, who: str) -> None:
    record = Record("cells", split_by, (0,), ("d",), ("area",), 0, (99,), SCORES, {})
    head, *lines = summary(record)
    assert head == f"cells, split by {split_by}: baseline on valid, n = 40"
    assert lines == in_words(SCORES, who)
    assert lines[-1].split(":")[0] == ("  worst identity" if split_by == "identity" else "  worst subject id")


def test_of_people_as_bad_the_one_of_more_cells_comes_first() -> None:
    identities = (*"AA", *"CCCC", *"BBBB", *"DD")
    ids = tuple(map(str, range(12)))
    labels = np.array([1, 1, 1, 0, 0, 0, 1, 1, 0, 0, 1, 1])
    verdicts = np.array([1, 0, 1, 1, 1, 0, 0, 1, 0, 1, 1, 1])  # half right, half, half, all
    found = score(Scored(ids, ids, identities, identities, labels, verdicts.astype(float)), 100).identities
    assert [(one.identity, one.n, one.blasts, one.correct) for one in found] == [
        *(("B", 4, 2, 2), ("C", 4, 1, 2), ("A", 2, 2, 1), ("D", 2, 2, 2)),
    ]


def test_the_card_is_published_last(shards: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Killed before it, the folder must not look like a finished baseline of these predictions.
    published: list[str] = []
    publish = train.baseline.publish_text

    def noted(path: Path, text: str) -> None:
        publish(path, text)
        published.append(path.name)

    monkeypatch.setattr(train.baseline, "publish_text", noted)
    run(Config(shards=(shards,), artifacts=tmp_path, resamples=100))
    assert published[-2:] == ["metrics.json", "card.json"]


def test_a_training_split_of_one_class_is_refused(write_course, tmp_path: Path) -> None:
    data = write_course(train="Path,label\n./cells/0.bmp,0\n./cells/1.bmp,0\n")
    build(read_dataset(data), Recipe(size=33, window=40), tmp_path / "shards", workers=1, force=False)
    with pytest.raises(UserError, match=r"shards: the split 'train' has one class only"):
        run(Config(shards=(tmp_path / "shards",), artifacts=tmp_path / "out", resamples=100))
    assert not (tmp_path / "out").exists()


def test_the_same_image_under_another_recipe_is_measured_again(write_course, tmp_path: Path) -> None:
    data, areas, measurer = write_course(), [], Measurer()
    for size in (33, 66):
        folder = tmp_path / str(size)
        build(read_dataset(data), Recipe(size=size, window=40), folder, workers=1, force=False)
        areas.append(measurer.measure(SplitReader(folder, load_manifest(folder), "train"))[:, 0])
    assert areas[1] == pytest.approx(4 * areas[0], rel=0.1)
