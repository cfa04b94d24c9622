"""What the web page tells of the networks before an image is dropped, and what it shows of one."""

import base64
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np

from contract.model_card import ModelCard
from evaluate.classify import Classified, Networks, Opinion
from evaluate.evidence import mean_evidence, paint_evidence
from evaluate.unlike import Concern
from evaluate.web_page import SIDE, describe_image, describe_networks


def _pixels(url: str) -> np.ndarray:
    data = np.frombuffer(base64.b64decode(url.removeprefix("data:image/png;base64,")), np.uint8)
    return cv2.imdecode(data, cv2.IMREAD_COLOR)[:, :, ::-1]


def test_a_card_is_told_in_words_each_metric_with_its_interval(card: ModelCard) -> None:
    metrics, intervals = {"valid_accuracy": 0.9, "valid_loss": 0.25}, {"valid_accuracy": (0.8, 0.95)}
    one = replace(card, variant="float32", opset=18, metrics=metrics, intervals=intervals, samples=12, seed=4, epoch=9)
    other = replace(one, arch="resnet50", variant="int8", temperature=1.5, threshold=0.4, operating_point="balanced")
    one = replace(one, intervals=intervals | {"valid_accuracy_identities": (0.7, 0.97)})
    predictors: Any = {
        c.arch: SimpleNamespace(
            card=c, path=Path(c.arch, "model.onnx"), sha256="a1" * 32, provider="CPUExecutionProvider"
        )
        for c in (one, other)
    }
    told = describe_networks(Networks(predictors, {}))
    assert (told["provider"], told["variant"], told["classes"]) == ("CPU", "float32 and int8", ["normal", "blast"])
    assert told["limits"] == list(card.limits)
    first, second = (dict(network["rows"]) for network in told["networks"])
    assert first["file"] == "resnet18/model.onnx, SHA-256 a1a1a1a1a1a1a1a1…"
    assert first["valid accuracy"] == "0.900 (95 % interval 0.700 to 0.970, people drawn anew)"
    assert second["valid accuracy"] == "0.900 (95 % interval 0.800 to 0.950, images as if independent)"
    assert first["valid loss"] == "0.250"
    assert first["trained on"].endswith(f"(manifest {card.manifest_digest[:12]}…), seed 4, epoch 9")
    assert (first["temperature"], second["temperature"]) == ("1.000 (not calibrated)", "1.500")
    assert (first["threshold"], second["threshold"]) == ("0.500 (default 0.5)", "0.400 (balanced)")
    assert (first["variant"], second["variant"]) == ("float32, opset 18", "int8, opset 18")
    assert first["measured on"] == "the validation split (n = 12)"


def test_the_crop_is_shown_in_its_own_colours() -> None:
    crop = np.random.default_rng(0).integers(0, 256, (8, 8, 3), np.uint8)
    ensemble = Opinion(1, "blast", 0.9, 0.5, 1.5, None, None)
    told = describe_image(Classified(crop, {}, ensemble, ("normal", "blast"), (Concern("size", "small"),), 2.0))
    np.testing.assert_array_equal(_pixels(told["crop"]), crop)
    assert told["concerns"] == [{"kind": "size", "text": "small"}]


def test_every_opinion_is_told_whole_with_the_map_of_its_own_network() -> None:
    rng = np.random.default_rng(0)
    cells = [rng.integers(0, 256, (8, 8, 3), np.uint8) for _ in range(2)]
    maps = [rng.standard_normal((2, 2)).astype(np.float32) for _ in range(2)]
    one = Opinion(1, "all", 0.75, 0.5, 12.0, maps[0], cells[0])
    other = Opinion(0, "hem", 0.25, 0.375, 24.0, maps[1], cells[1])
    ensemble = Opinion(1, "all", 0.5, 0.4375, 36.0, None, None)
    told = describe_image(
        Classified(cells[0], {"resnet18": one, "resnet50": other}, ensemble, ("hem", "all"), (), 40.0)
    )
    assert (told["classes"], told["milliseconds"]) == (["hem", "all"], 40.0)
    *networks, last = told["opinions"]
    seen = [_pixels(network.pop("map")) for network in networks]
    for found, cell, evidence in zip(seen, cells, maps, strict=True):
        np.testing.assert_array_equal(found, paint_evidence(cell, mean_evidence([evidence], SIDE)))
    assert last.pop("map") is None
    names = ("network", "label", "verdict", "probability", "threshold", "milliseconds")
    assert [tuple(said[name] for name in names) for said in told["opinions"]] == [
        ("resnet18", 1, "all", 0.75, 0.5, 12.0),
        ("resnet50", 0, "hem", 0.25, 0.375, 24.0),
        ("ensemble", 1, "all", 0.5, 0.4375, 36.0),
    ]
