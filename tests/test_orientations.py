"""Looking at a cell from all eight sides."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from blank_pictures import blank_pictures
from two_networks import write_networks

from contract.manifest import Manifest
from contract.model_card import ModelCard
from contract.shard_reader import SplitReader
from evaluate.orientations import SIDES, predict_from_all_sides, turn, turn_back
from evaluate.predictions import blast_probability, read_predictions
from evaluate.predictor import Prediction, Predictor
from evaluate.report import Report, report
from evaluate.report_record import load_record


@pytest.fixture(scope="module")
def predictor(exported: Path) -> Predictor:
    return Predictor(exported / "resnet18" / "model.onnx", "cpu")


@pytest.fixture(scope="module")
def images(shards: Path, manifest: Manifest) -> np.ndarray:
    reader = SplitReader(shards, manifest, "valid")
    return np.stack([reader.image(i) for i in range(3)])


def test_the_eight_sides_differ_and_turning_back_undoes_each(images: np.ndarray) -> None:
    sides = [turn(images, side) for side in range(SIDES)]
    assert len({side.tobytes() for side in sides}) == SIDES
    for side, turned in enumerate(sides):
        maps = turned.transpose(0, 3, 1, 2).astype(np.float32)
        np.testing.assert_array_equal(turn_back(maps, side), images.transpose(0, 3, 1, 2))


@pytest.mark.parametrize("side", range(1, SIDES))
def test_the_prediction_does_not_depend_on_how_the_cell_lies(
    predictor: Predictor, images: np.ndarray, side: int
) -> None:
    upright = predict_from_all_sides(predictor, images)
    turned = predict_from_all_sides(predictor, np.ascontiguousarray(turn(images, side)))
    assert not np.allclose(predictor.predict(turn(images, side)).logits, predictor.predict(images).logits, atol=1e-4)
    np.testing.assert_allclose(turned.logits, upright.logits, atol=1e-5)
    np.testing.assert_allclose(turned.probability, upright.probability, atol=1e-6)
    np.testing.assert_allclose(turn_back(turned.cam, side), upright.cam, atol=1e-5)


def test_it_is_the_mean_of_the_eight_and_the_map_explains_it(predictor: Predictor, images: np.ndarray) -> None:
    found = predict_from_all_sides(predictor, images)
    single = [predictor.predict(np.ascontiguousarray(turn(images, side))).logits for side in range(SIDES)]
    np.testing.assert_allclose(found.logits, np.mean(single, axis=0), atol=1e-6)
    bias = found.logits - found.cam.mean(axis=(2, 3))
    np.testing.assert_allclose(bias - bias[0], 0, atol=1e-4)


def test_the_mean_logits_get_the_card_s_temperature_and_threshold() -> None:
    card = SimpleNamespace(temperature=2.0, threshold=0.9)

    def predict(images: np.ndarray) -> Prediction:
        logits = np.stack([np.zeros(len(images)), images[:, 0, 0, 0]], axis=1).astype(np.float32)
        return Prediction(logits, blast_probability(logits, 2.0), np.zeros((len(images), 2, 1, 1), np.float32), 0.9)

    image = np.array([[1, 2], [3, 10]], np.uint8)[None, :, :, None].repeat(3, axis=3)  # each side another corner
    found = predict_from_all_sides(SimpleNamespace(card=card, predict=predict), image)  # type: ignore[arg-type]
    assert found.probability == pytest.approx(1 / (1 + np.exp(-4 / 2)))  # not the mean of probabilities, 0.791
    assert found.labels.tolist() == [0]


def test_a_cell_that_looks_the_same_from_every_side_gets_the_graphs_own_probability(predictor: Predictor) -> None:
    disc = (np.hypot(*np.mgrid[-19.5:20, -19.5:20]) < 15)[None, :, :, None]
    image = np.where(disc, np.uint8(120), np.uint8(0)).repeat(3, axis=3)
    found, once = predict_from_all_sides(predictor, image), predictor.predict(image)
    np.testing.assert_allclose(found.probability, once.probability, atol=1e-6)
    np.testing.assert_allclose(found.logits, once.logits, atol=1e-5)


def test_a_report_from_eight_sides_says_so_and_its_scores_are_those_of_the_mean_logits(
    card: ModelCard, shards: Path, manifest: Manifest, tmp_path: Path
) -> None:
    write_networks(tmp_path, card)
    with blank_pictures():
        folder = report(Report(shards=(shards,), artifacts=tmp_path, device="cpu", workers=1, orientations=8))
    record, reader = load_record(folder), SplitReader(shards, manifest, "valid")
    every = np.stack([reader.image(i) for i in range(len(reader))])
    for name in ("resnet18", "resnet50"):
        found = predict_from_all_sides(Predictor(tmp_path / name / "model.onnx", "cpu"), every)
        said = read_predictions(folder / f"predictions_valid_{name}.csv")
        np.testing.assert_allclose(said.logits, found.logits, atol=1e-5)
        np.testing.assert_allclose(said.probability, found.probability, atol=1e-6)
    assert record.orientations == 8
    assert any("from 8 sides" in note for note in record.notes)
    assert "from 8 sides" in (folder / "index.html").read_text(encoding="utf-8")
