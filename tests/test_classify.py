"""One image through the exported networks and their ensemble."""

import dataclasses
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import onnx
import pytest
from tiny_model import tiny, write
from two_networks import write_network

from build_shards.preprocess import preprocess
from contract.errors import UserError
from contract.model_card import METADATA_KEY, ModelCard
from contract.model_file import DIGEST_KEY, UNSEALED, seal
from evaluate.cell_image import CellImage, read_cell
from evaluate.classify import Networks, classify, open_networks
from evaluate.ensemble import ensemble_threshold
from evaluate.evidence import evidence_of
from evaluate.predictor import Prediction, Predictor
from evaluate.unlike import concerns
from evaluate.web_page import describe_image


def _change_card(path: Path, **changes: object) -> None:
    model = onnx.load(path)
    (entry,) = (prop for prop in model.metadata_props if prop.key == METADATA_KEY)
    entry.value = dataclasses.replace(ModelCard.from_json(entry.value), **changes).to_json()
    (digest,) = (prop for prop in model.metadata_props if prop.key == DIGEST_KEY)
    digest.value = UNSEALED
    path.write_bytes(seal(model.SerializeToString()))


def test_an_opinion_is_what_the_predictor_says_of_the_crop(three: Path, shards: Path, synthetic_data: Path) -> None:
    path = synthetic_data / "synthetic" / "valid" / "1.bmp"
    networks = open_networks(three, (shards,), "cpu", 1, int8=False)
    found = classify(read_cell(path), networks, str(path))
    assert list(found.opinions) == ["resnet18", "resnet50", "resnet152"]
    predictor = Predictor(three / "resnet18" / "model.onnx", "cpu", 1)
    crop = preprocess(read_cell(path).pixels, predictor.card.recipe, "cell").image
    expected = predictor.predict(crop[None])
    assert (found.crop == crop).all()
    for opinion in found.opinions.values():
        assert opinion.probability == pytest.approx(float(expected.probability[0]), abs=1e-6)
        assert opinion.label == expected.labels[0]
        assert opinion.name == predictor.card.classes[opinion.label]
        assert opinion.evidence is not None
        assert opinion.evidence == pytest.approx(evidence_of(expected.cam[0], predictor.card.temperature), abs=1e-5)
        assert opinion.milliseconds > 0
    assert found.milliseconds > sum(opinion.milliseconds for opinion in found.opinions.values())


def test_each_network_sees_the_cell_by_its_own_recipe(card: ModelCard, synthetic_data: Path, tmp_path: Path) -> None:
    box = dataclasses.replace(card.recipe, size=48, crop="box")
    write_network(tmp_path, card, 1)
    write_network(tmp_path, dataclasses.replace(card, arch="resnet50", recipe=box, temperature=2.0), 2)
    cell = read_cell(synthetic_data / "synthetic" / "valid" / "1.bmp")
    found = classify(cell, open_networks(tmp_path, (), "cpu", 1, int8=False), "cell")
    for arch, recipe in (("resnet18", card.recipe), ("resnet50", box)):
        crop, opinion = preprocess(cell.pixels, recipe, "cell").image, found.opinions[arch]
        assert opinion.crop is not None
        assert np.array_equal(opinion.crop, crop)
        expected = Predictor(tmp_path / arch / "model.onnx", "cpu", 1).predict(crop[None])
        assert opinion.probability == pytest.approx(float(expected.probability[0]), abs=1e-6)
        own = {"resnet18": 1.0, "resnet50": 2.0}[arch]  # temperature
        assert opinion.evidence == pytest.approx(evidence_of(expected.cam[0], own), abs=1e-4)
    assert np.array_equal(found.crop, preprocess(cell.pixels, card.recipe, "cell").image)  # as the first one sees it
    drawn = describe_image(found)["opinions"]
    assert drawn[0]["map"] != drawn[1]["map"]
    assert found.ensemble.probability == pytest.approx(np.mean([o.probability for o in found.opinions.values()]))


def test_a_concern_is_told_once_however_many_recipes_there_are(three: Path, shards: Path, tmp_path: Path) -> None:
    card = Predictor(three / "resnet18" / "model.onnx", "cpu", 1).card
    write_network(tmp_path, card, 1)
    other = dataclasses.replace(card.recipe, size=card.recipe.size + 16)
    write_network(tmp_path, dataclasses.replace(card, arch="resnet50", recipe=other), 2)
    networks = open_networks(tmp_path, (shards,), "cpu", 1, int8=False)
    pixels = np.zeros((450, 450, 3), np.uint8)
    cv2.circle(pixels, (223, 221), 190, (120, 60, 140), -1)
    crops = [preprocess(pixels, recipe, "cell") for recipe in (card.recipe, other)]
    each = [concerns(pixels, crop, networks.ranges[card.manifest_digest]) for crop in crops]
    assert each[0] != each[1]
    assert "size" in [concern.kind for concern in each[1]]
    assert classify(CellImage(pixels, ()), networks, "cell").concerns == tuple(each[0])


@pytest.mark.parametrize("order", [("resnet18", "resnet50"), ("resnet50", "resnet18")])
def test_every_network_s_training_cells_are_looked_at(
    order: tuple[str, str], three: Path, shards: Path, synthetic_data: Path, tmp_path: Path
) -> None:
    # Of one recipe, but of other shards: the cell is unlike those of the one, whichever comes first.
    card = Predictor(three / "resnet18" / "model.onnx", "cpu", 1).card
    write_network(tmp_path, dataclasses.replace(card, arch=order[0]), 1)
    write_network(tmp_path, dataclasses.replace(card, arch=order[1], manifest_digest="b" * 64), 2)
    networks = open_networks(tmp_path, (shards,), "cpu", 1, int8=False)
    known = networks.ranges[card.manifest_digest]
    assert known is not None
    known = networks.ranges[card.manifest_digest] = dataclasses.replace(known, area=(1.0, 450.0**2), distance=1e9)
    image = read_cell(synthetic_data / "synthetic" / "valid" / "1.bmp")
    networks.ranges["b" * 64] = known
    assert classify(image, networks, "cell").concerns == ()
    networks.ranges["b" * 64] = dataclasses.replace(known, area=(1.0, 2.0))
    assert [concern.kind for concern in classify(image, networks, "cell").concerns] == ["size"]


def test_the_ensemble_averages_probabilities_and_thresholds(
    three: Path, shards: Path, synthetic_data: Path, tmp_path: Path
) -> None:
    shutil.copytree(three, tmp_path / "artifacts")
    cell = read_cell(synthetic_data / "synthetic" / "valid" / "1.bmp")
    before = classify(cell, open_networks(three, (shards,), "cpu", 1, int8=False), "cell").ensemble
    probability = before.probability
    for arch, threshold in {"resnet18": 0.001, "resnet50": 0.002, "resnet152": 0.006}.items():
        _change_card(tmp_path / "artifacts" / arch / "model.onnx", threshold=threshold)
    after = classify(cell, open_networks(tmp_path / "artifacts", (shards,), "cpu", 1, int8=False), "cell")
    assert after.ensemble.threshold == pytest.approx(0.003)  # their mean, not the middle one
    assert after.ensemble.threshold == pytest.approx(ensemble_threshold([0.001, 0.002, 0.006]))  # the report's own rule
    assert after.ensemble.probability == pytest.approx(probability)
    assert [opinion.label for opinion in (*after.opinions.values(), after.ensemble)] == [1, 1, 1, 1]


def test_int8_is_taken_when_asked_and_missed_by_name(three: Path, shards: Path, tmp_path: Path) -> None:
    folder = tmp_path / "artifacts"
    shutil.copytree(three, folder)
    for arch in ("resnet18", "resnet50"):
        shutil.copy(folder / arch / "model.onnx", folder / arch / "model.int8.onnx")
    with pytest.raises(UserError, match=r"resnet152/model\.int8\.onnx: no such file: --int8"):
        open_networks(folder, (shards,), "cpu", 1, int8=True)
    shutil.rmtree(folder / "resnet152")
    networks = open_networks(folder, (shards,), "cpu", 1, int8=True)
    assert {predictor.path.name for predictor in networks.predictors.values()} == {"model.int8.onnx"}


def test_a_variant_of_another_training_than_its_network_is_refused(three: Path, shards: Path, tmp_path: Path) -> None:
    """Its gate failed after a new training, and the older file stayed."""
    folder = tmp_path / "resnet18"
    shutil.copytree(three / "resnet18", folder)
    shutil.copy(folder / "model.onnx", folder / "model.int8.onnx")
    _change_card(folder / "model.int8.onnx", variant="int8", metrics={"valid_accuracy": 0.7})
    open_networks(tmp_path, (shards,), "cpu", 1, int8=True)
    for key, value in {"epoch": 7, "threshold": 0.25, "training": {"lr": 0.5}, "seed": 3}.items():
        _change_card(folder / "model.onnx", **{key: value})
        with pytest.raises(UserError, match=rf"int8\.onnx: not of the training .* \(its {key} differs\): export both"):
            open_networks(tmp_path, (shards,), "cpu", 1, int8=True)
        shutil.copy(three / "resnet18" / "model.onnx", folder / "model.onnx")


def test_networks_of_other_classes_are_not_averaged(three: Path, shards: Path, tmp_path: Path) -> None:
    shutil.copytree(three, tmp_path / "artifacts")
    _change_card(tmp_path / "artifacts" / "resnet50" / "model.onnx", classes=("cat", "dog"))
    with pytest.raises(UserError, match=r"resnet50.*knows \('cat', 'dog'\)"):
        open_networks(tmp_path / "artifacts", (shards,), "cpu", 1, int8=False)


def test_a_network_in_the_folder_of_another_does_not_answer_for_it(card: ModelCard, tmp_path: Path) -> None:
    (tmp_path / "resnet50").mkdir()
    write(tiny(card), tmp_path / "resnet50" / "model.onnx")
    with pytest.raises(UserError, match=r"resnet50/model\.onnx: its card says resnet18: it lies in the folder of"):
        open_networks(tmp_path, (), "cpu", 1, int8=False)


def test_an_image_without_a_cell_and_a_folder_without_networks_are_named(
    three: Path, shards: Path, tmp_path: Path
) -> None:
    networks = open_networks(three, (shards,), "cpu", 1, int8=False)
    with pytest.raises(UserError, match=r"night\.bmp: all background"):
        classify(CellImage(np.zeros((50, 50, 3), np.uint8), ()), networks, "night.bmp")
    with pytest.raises(UserError, match="no exported network"):
        open_networks(tmp_path, (shards,), "cpu", 1, int8=False)


def test_what_was_noted_while_reading_is_told_first_and_the_card_s_threshold_decides(card: ModelCard) -> None:
    said = Prediction(np.zeros((1, 2)), np.array([0.6], np.float32), np.ones((1, 2, 2, 2), np.float32), 0.7)
    predictors: Any = {"resnet18": SimpleNamespace(card=card, predict=lambda _: said)}
    pixels = cv2.circle(np.zeros((450, 450, 3), np.uint8), (225, 225), 90, (120, 60, 140), -1)
    cell = CellImage(pixels, ("a JPEG smears",))
    found = classify(cell, Networks(predictors, {card.manifest_digest: None}), "cell")
    assert [concern.kind for concern in found.concerns] == ["format", "unknown range"]
    assert found.concerns[0].text == "a JPEG smears"
    opinion = found.opinions["resnet18"]
    assert (opinion.label, opinion.name, opinion.threshold) == (0, "normal", 0.7)
    assert (found.ensemble.label, found.ensemble.milliseconds) == (0, opinion.milliseconds)
