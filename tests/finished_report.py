"""A finished report of three networks, by hand: what the tests of the PDF and of the hand-in start from."""

import hashlib
from pathlib import Path

import cv2
import numpy as np
import pytest

from contract.record import to_json
from evaluate.report_record import (
    ARCHS,
    FORMAT,
    Bootstrap,
    Dataset,
    EpochAccuracy,
    Estimate,
    ModelFile,
    Network,
    Pair,
    Reliability,
    ReportRecord,
    Scores,
)
from evaluate.words import FILES


def network(arch: str, accuracy: float | None) -> Network:
    estimate = Estimate(accuracy, (0.5, 0.75), (0.6, 0.7))
    other = Estimate(0.5, None, None)
    scores = Scores(estimate, other, other, other, other, other, other, other, other, other, other, other, other)
    recipe = {"stain": "macenko", "target": [], "crop": "native", "window": 288, "size": 112, "version": 2}
    card = {
        "arch": arch,
        "classes": ["normal", "blast"],
        "manifest_digest": "c" * 64,
        "recipe": recipe,
        "training": {"lr": 0.05, "batch_size": 64},
        "mean": [70.0, 30.0, 80.0],
        "std": [1.0, 2.0, 3.0],
        "epoch": 2,
        "seed": 7,
        "operating_point": "balanced",
    }
    sha256 = hashlib.sha256(b"weights").hexdigest()  # what ``artifacts`` holds as that file
    file = None if arch == "ensemble" else ModelFile(f"{arch}/model.onnx", sha256, 44_700_000, "CPU", False, card)
    reliability = Reliability(0.1, 0.1, ())
    matrix = ((1, 2), (3, 4))
    return Network(file, (), 0.5, "balanced", None, matrix, scores, reliability, reliability, (), (), None, (), {})


def record(**changes: object) -> ReportRecord:
    history = (EpochAccuracy(1, 0.61, 0.6789), EpochAccuracy(2, 0.75, 0.6543))
    values = {
        "format": FORMAT,
        "date": "2026-03-04",
        "dataset": Dataset(
            "some cells", "course", "valid", "given", 10, (4, 6), ("normal", "blast"), 3, 2, 2, 1, "b" * 64, "c"
        ),
        "bootstrap": Bootstrap(0.95, 100, 0, "identity", 2),
        "orientations": 1,
        "networks": {name: network(name, 0.7 + i / 100) for i, name in enumerate((*ARCHS, "ensemble"))},
        "pairs": (Pair("resnet18", "resnet50", 0.9, 0.8, 5, 2, 1, 2, 0.25, 0.5),),
        "history": dict.fromkeys(ARCHS, history),
        "notes": ("2 of the 3 people are in train too.",),
        "versions": {"python": "3.11"},
        "files": ("accuracy.png", "roc.png"),
    }
    return ReportRecord(**(values | changes))


@pytest.fixture
def artifacts(tmp_path: Path) -> Path:
    """A finished report of three networks and their ensemble, and everything that a hand-in needs."""
    folder = tmp_path / "artifacts"
    (folder / "report").mkdir(parents=True)
    (folder / "report" / "metrics.json").write_text(to_json(record()), encoding="utf-8")
    names = ("accuracy", "roc", *(f"confusion_{name}" for name in (*ARCHS, "ensemble")))
    for name in names:
        assert cv2.imwrite(str(folder / "report" / f"{name}.png"), np.full((40, 60, 3), 200, np.uint8))
    for arch in ARCHS:
        (folder / arch).mkdir()
        for name in ("best.pt", "model.onnx"):
            (folder / arch / name).write_bytes(b"weights")
        rows = "epoch,train_accuracy,valid_accuracy\n1,0.61,0.6789\n2,0.75,0.6543\n"
        (folder / arch / "history.csv").write_text(rows)
        (folder / "report" / f"submission_{arch}.csv").write_text("ID,label\n1,0\n")
    return folder


@pytest.fixture
def words(tmp_path: Path) -> Path:
    """Words in every file."""
    folder = tmp_path / "words"
    folder.mkdir()
    for name in FILES:
        (folder / name).write_text(f"My words on {Path(name).stem}: #panic() $1$.\n", encoding="utf-8")
    return folder
