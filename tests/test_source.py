"""What a network is exported with: threshold, scores and people of valid, ranges of train."""

import shutil
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from drawn_logits import drawn

import export.network
from contract.manifest import Manifest, load_manifest
from contract.model_card import ModelCard
from contract.shard_reader import SplitReader
from export import variants
from export.calibrate import OperatingPoint, choose_threshold, fit_temperature, probabilities, score
from export.source import Cells, Source, _batches, open_cells


def test_the_threshold_is_chosen_among_calibrated_probabilities(card: ModelCard) -> None:
    logits, labels = drawn(0, temperature=3.0, n=300)
    point = OperatingPoint("sensitivity 0.95", 0.95)
    made = export.network._calibrate(card, logits, Cells(None, None, labels, None), point)  # type: ignore[arg-type]
    temperature = fit_temperature(logits, labels)
    assert temperature > 2
    assert (made.temperature, made.operating_point) == (temperature, "sensitivity 0.95")
    assert made.threshold == choose_threshold(probabilities(logits, temperature), labels, point)
    assert made.metrics["valid_sensitivity"] >= 0.95


def test_people_of_several_ids_are_drawn_as_one(
    card: ModelCard, shards: Path, manifest: Manifest, tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(shards, tmp_path / "shards"))
    ids = sorted({subject for subject in SplitReader(shards, manifest, "valid").subjects if subject})
    joined = replace(manifest, identities=dict.fromkeys(ids[:2], "one person"))
    (folder / "manifest.json").write_text(joined.to_json())
    found = open_cells((folder,), replace(card, manifest_digest=load_manifest(folder).digest))
    assert found is not None
    assert found.people is not None
    assert found.people.known
    assert len(set(found.people.of_cells)) == len(ids) - 1


def test_decisions_are_at_the_card_s_temperature_and_threshold(card: ModelCard) -> None:
    logits = np.array([[0, 1], [0, 3]], np.float32)
    source = Source(replace(card, temperature=2.0, threshold=0.7), None, None, None, None)  # type: ignore[arg-type]
    assert source.probabilities(logits) == pytest.approx(1 / (1 + np.exp([-0.5, -1.5])))
    assert source.decisions(logits).tolist() == [False, True]  # 0.62 and 0.82


def test_the_int8_card_has_the_scores_of_the_int8_file(card: ModelCard, monkeypatch: pytest.MonkeyPatch) -> None:
    labels = np.array([0, 1] * 100)
    float32 = np.stack([np.zeros(200), 4.0 * labels - 2], axis=1).astype(np.float32)
    int8 = float32.copy()
    int8[0, 1], int8[2:, 1] = 0.1, int8[2:, 1] * 1.5
    cells = Cells(None, SimpleNamespace(), labels, None)  # type: ignore[arg-type]
    monkeypatch.setattr(variants, "_quantised", lambda *_: (None, ("k",)))
    monkeypatch.setattr(variants, "finish", lambda _, card, __: card.to_json().encode())
    monkeypatch.setattr(variants, "logits_of", lambda *_: int8)
    made = variants.make_int8(Source(card, None, None, cells, float32))  # type: ignore[arg-type]
    assert made.data is not None
    assert "against float32 on valid, n = 200: accuracy -0.50 points" in made.said
    stated = ModelCard.from_json(made.data.decode())
    assert stated.metrics["valid_accuracy"] == 0.995
    assert stated.metrics["valid_loss"] == score(int8, labels, 1.0, 0.5).metrics["valid_loss"]
    moved = np.abs(probabilities(int8, 1.0) - probabilities(float32, 1.0))
    assert stated.verification["mean_probability_error"] == moved.mean()
    assert stated.verification["largest_probability_error"] == moved.max()
    refit = replace(card, training=card.training | {"refit": True}, metrics={"valid_accuracy": 0.9})
    made = variants.make_int8(Source(refit, None, None, cells, float32))  # type: ignore[arg-type]
    assert made.data is not None
    assert "against float32 on valid, which is learned, n = 200: accuracy -0.50 points" in made.said
    assert ModelCard.from_json(made.data.decode()).metrics == {"valid_accuracy": 0.9}


def test_int8_ranges_are_measured_on_cells_of_train(
    card: ModelCard, shards: Path, manifest: Manifest, monkeypatch: pytest.MonkeyPatch
) -> None:
    train, valid = (SplitReader(shards, manifest, name) for name in ("train", "valid"))
    seen: list[np.ndarray] = []
    for name in ("fold_batch_norm", "equalise", "quantize"):
        monkeypatch.setattr(variants, name, lambda *_: None)
    monkeypatch.setattr(variants, "measure_ranges", lambda _, __, images, ___: seen.append(images.numpy()))
    cells = Cells(train, valid, valid.labels, None)
    source = Source(card, None, None, cells, None)  # type: ignore[arg-type]
    _, keys = variants._quantised(source, cells, variants.Attempt(8, ()))
    place = {sample.key: i for i, sample in enumerate(train.samples)}
    assert len(keys) == 8
    np.testing.assert_array_equal(seen[0], np.stack([train.image(place[key]) for key in keys]))


def test_ranges_are_those_of_equalised_weights_and_leave_out_what_stays_in_float32(
    card: ModelCard, shards: Path, manifest: Manifest, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[object, object]] = []
    monkeypatch.setattr(variants, "fold_batch_norm", lambda _: "folded")
    monkeypatch.setattr(variants, "equalise", lambda network, *_: f"equalised {network}")
    monkeypatch.setattr(variants, "measure_ranges", lambda network, *given: seen.append((network, given[-1])))
    monkeypatch.setattr(variants, "quantize", lambda *_: None)
    train = SplitReader(shards, manifest, "train")
    cells = Cells(train, None, None, None)  # type: ignore[arg-type]
    variants._quantised(Source(card, None, None, cells, None), cells, variants.Attempt(8, ("conv1",)))  # type: ignore[arg-type]
    assert seen == [("equalised folded", ("conv1",))]


def test_a_cell_at_the_threshold_is_called_a_blast(card: ModelCard) -> None:
    logits, labels = np.zeros((2, 2), np.float32), np.array([0, 1])
    assert Source(card, None, None, None, None).decisions(logits).all()  # type: ignore[arg-type]
    metrics = score(logits, labels, 1.0, 0.5).metrics
    assert (metrics["valid_sensitivity"], metrics["valid_specificity"]) == (1, 0)


def test_a_file_is_asked_of_every_cell_of_a_split_in_order(shards: Path, manifest: Manifest) -> None:
    train = SplitReader(shards, manifest, "train")
    found = list(_batches(train))
    assert [len(images) for images in found] == [16, 16, 4]
    np.testing.assert_array_equal(np.concatenate(found), np.stack([train.image(i) for i in range(len(train))]))


def test_a_network_without_an_error_on_valid_is_not_calibrated_and_told_so(
    card: ModelCard, capsys: pytest.CaptureFixture[str]
) -> None:
    labels = np.array([0, 1] * 10)
    logits = np.stack([np.zeros(20), 6.0 * labels - 3], axis=1).astype(np.float32)
    cells = Cells(None, None, labels, None)  # type: ignore[arg-type]
    assert export.network._calibrate(card, logits, cells, OperatingPoint("default 0.5")).temperature == 1
    assert "note: no temperature fits valid better" in capsys.readouterr().out
    logits, labels = drawn(0, temperature=3.0, n=300)
    cells = Cells(None, None, labels, None)  # type: ignore[arg-type]
    assert export.network._calibrate(card, logits, cells, OperatingPoint("balanced")).temperature != 1
    assert capsys.readouterr().out == ""
