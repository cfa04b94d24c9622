"""A test split whose labels are known, as the archive has one: a report scores it, and says who was learned from."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from blank_pictures import blank_pictures
from two_networks import HISTORY, write_network

from build_shards.dataset import read_dataset
from build_shards.shards import build
from contract.manifest import Manifest
from contract.model_card import ModelCard
from contract.recipe import Recipe
from evaluate.report import Report, report
from evaluate.report_record import ReportRecord, load_record


@pytest.fixture(scope="module", autouse=True)
def _blank_pictures() -> Iterator[None]:
    with blank_pictures():
        yield


@pytest.fixture(scope="module")
def known(synthetic_data: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Manifest]:
    """Shards whose valid and test, both labelled, are of the persons v0 and v1, whom train does not know. Read only."""
    drawn = read_dataset(synthetic_data)
    train = [cell for cell in drawn.cells if cell.split == "train"]
    held = [cell for cell in drawn.cells if cell.split == "valid"]
    split = [
        replace(cell, split=("valid", "test")[place % 2], subject=f"v{place // 2 % 2}")
        for place, cell in enumerate(sorted(held, key=lambda cell: str(cell.label)))
    ]
    folder = tmp_path_factory.mktemp("known") / "shards"
    dataset = replace(drawn, split_by="image", cells=(*train, *split), submissions=())
    return folder, build(dataset, Recipe(size=40), folder, workers=1, force=False)[0]


def scored(folder: Path, known: tuple[Path, Manifest], card: ModelCard, split: str, refit: bool) -> ReportRecord:
    shards, manifest = known
    training = card.training | ({"refit": True, "source_digest": manifest.source_digest} if refit else {})
    write_network(folder, replace(card, manifest_digest=manifest.digest, training=training), 1)
    (folder / "resnet18" / "history.csv").write_text(HISTORY)
    report(Report(shards=(shards,), artifacts=folder, split=split, device="cpu", workers=1))
    return load_record(folder / "report")


def test_a_labelled_test_is_scored_where_valid_points_to_it(
    known: tuple[Path, Manifest], card: ModelCard, tmp_path: Path
) -> None:
    [*_, note] = scored(tmp_path / "valid", known, card, "valid", refit=False).notes
    assert "test is labelled too, and nothing was chosen there: python evaluate/run.py --split test" in note
    record = scored(tmp_path / "test", known, card, "test", refit=False)
    assert (record.dataset.split, record.dataset.n) == ("test", 6)
    assert (record.dataset.people, record.dataset.people_shared_with_train) == (2, 0)
    assert not any("in train too" in note or "labelled too" in note for note in record.notes)


def test_a_refit_learned_from_the_people_of_valid_too(
    known: tuple[Path, Manifest], card: ModelCard, tmp_path: Path
) -> None:
    record = scored(tmp_path, known, card, "test", refit=True)
    assert (record.dataset.people, record.dataset.people_shared_with_train) == (2, 2)
    notes = " ".join(record.notes)
    assert "2 of the 2 subject ids in test are in train too" in notes
    assert "resnet18: learned valid too (train --refit); the subject ids of valid are counted as those of" in notes
