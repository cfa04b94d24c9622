"""The documents' Python, run as it stands there: a network is used without this project, and decides as with it."""

import ast
import hashlib
import re
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import onnx
import pytest
from tiny_model import tiny, write

from contract.model_card import METADATA_KEY, ModelCard
from contract.model_file import DIGEST_KEY
from evaluate.evidence import evidence_of
from evaluate.predictor import Predictor

ROOT = Path(__file__).resolve().parent.parent
CARD = (ROOT / "docs" / "model-card.md").read_text(encoding="utf-8")


def snippet(document: str) -> str:
    (found,) = re.findall(r"^```python\n(.*?)^```$", (ROOT / document).read_text("utf-8"), flags=re.M | re.S)
    return found


@pytest.fixture
def crop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> np.ndarray:
    """The crop in ``crop.png``, uint8 RGB ``[40, 40, 3]``, of a folder that becomes the working one."""
    monkeypatch.chdir(tmp_path)
    image = np.random.default_rng(2).integers(1, 255, (40, 40, 3), np.uint8)
    image[..., 0] //= 4  # BGR would have other answers
    assert cv2.imwrite("crop.png", image[:, :, ::-1])
    (tmp_path / "artifacts" / "resnet18").mkdir(parents=True)
    return image


def test_readme_has_the_probability(card: ModelCard, crop: np.ndarray, capsys: pytest.CaptureFixture[str]) -> None:
    network = Predictor(write(tiny(card), Path("artifacts/resnet18/model.onnx")), "cpu", 1)
    exec(snippet("README.md"), {})
    (printed,) = re.findall(r"array\(\[([\d.e-]+)\]", capsys.readouterr().out)
    assert float(printed) == pytest.approx(float(network.predict(crop[None]).probability[0]), abs=1e-6)


@pytest.mark.parametrize("above", [False, True])
def test_model_card_has_verdict_and_evidence(above: bool, card: ModelCard, crop: np.ndarray) -> None:
    path = Path("artifacts/resnet18/model.onnx")
    probability = Predictor(write(tiny(card), path), "cpu", 1).predict(crop[None]).probability[0]
    nearest = np.nextafter(probability, np.float32(above), dtype=np.float32) if above else probability
    stated = replace(card, threshold=float(nearest), temperature=1.7)
    prediction = Predictor(write(tiny(stated), path), "cpu", 1).predict(crop[None])
    found: dict[str, object] = {}
    exec(snippet("docs/model-card.md"), found)
    assert found["label"] == prediction.labels[0] == int(not above)
    np.testing.assert_allclose(found["evidence"], evidence_of(prediction.cam[0], 1.7), rtol=1e-6)  # type: ignore[arg-type]


def test_model_card_names_keys_that_are_there(card: ModelCard, tmp_path: Path) -> None:
    table = CARD.split("## In another program")[1].split("\n## ")[0]
    rows = [row.split(" | ")[0] for row in table.splitlines() if row.startswith("| `")]
    keys = [key for row in rows for key in re.findall(r"`(\w+)`", row)]
    assert len(keys) > 9
    assert set(keys) <= set(vars(card))
    recipe = next(row for row in table.splitlines() if row.startswith("| `recipe`"))
    assert set(re.findall(r"`(\w+)`", recipe)) - {"recipe"} <= set(vars(card.recipe))
    metadata = {entry.key for entry in onnx.load(write(tiny(card), tmp_path / "model.onnx")).metadata_props}
    assert metadata == {METADATA_KEY, DIGEST_KEY} == set(re.findall(r"`(leukoshard\.\w+)`", CARD))


def test_seal_is_what_the_document_says(card: ModelCard, tmp_path: Path) -> None:
    path = write(tiny(card), tmp_path / "model.onnx")
    (digest,) = [entry.value for entry in onnx.load(path).metadata_props if entry.key == DIGEST_KEY]
    assert hashlib.sha256(path.read_bytes().replace(digest.encode(), b"0" * 64)).hexdigest() == digest


@pytest.mark.parametrize("document", ["README.md", "docs/model-card.md"])
def test_snippets_import_nothing_of_this_project(document: str) -> None:
    imports = [node for node in ast.walk(ast.parse(snippet(document))) if isinstance(node, ast.Import)]
    assert {alias.name for node in imports for alias in node.names} <= {"cv2", "json", "numpy", "onnxruntime"}
    assert not [node for node in ast.walk(ast.parse(snippet(document))) if isinstance(node, ast.ImportFrom)]
