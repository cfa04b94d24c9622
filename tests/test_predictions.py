"""What is read from shards before a network looks, and batches of cells: whose prediction is whose."""

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from contract.errors import UserError
from contract.manifest import Manifest
from evaluate.predictions import Cells, blast_probability, read_cells
from evaluate.predictor import BATCH, Prediction
from evaluate.split_prediction import predict_split


def _reader(infos: list[dict[str, Any]]) -> Any:
    """A split whose cell ``i`` is an image of the grey level ``i``, called ``k<i>``."""
    samples = [SimpleNamespace(key=f"k{i}", shard="valid-000000.tar", label=i % 2) for i in range(len(infos))]

    class Reader:
        recipe = None

        def __init__(self) -> None:
            self.samples = samples

        def __len__(self) -> int:
            return len(infos)

        def info(self, i: int) -> dict[str, Any]:
            return infos[i]

        def image(self, i: int) -> np.ndarray:
            return np.full((2, 2, 3), i, np.uint8)

    return Reader()


def test_an_empty_subject_is_nobody_and_a_cell_without_a_source_is_refused(manifest: Manifest) -> None:
    infos: list[dict[str, Any]] = [{"source": "a", "subject": "7"}, {"source": "b", "subject": ""}, {"source": "c"}]
    cells = read_cells(_reader(infos), manifest)
    assert (cells.ids, cells.subjects, cells.labels) == (("a", "b", "c"), ("7", None, None), (0, 1, 0))
    joined = replace(manifest, identities={"7": "7+9", "9": "7+9"})
    assert read_cells(_reader(infos), joined).identities == ("7+9", None, None)
    for missing in ({}, {"source": None}):
        with pytest.raises(UserError, match=r"valid-000000\.tar: k1\.json names no source"):
            read_cells(_reader([infos[0], missing]), manifest)


def test_cells_of_which_one_has_no_label_cannot_be_scored() -> None:
    cells = Cells(("a", "b"), ("a", "b"), (None,) * 2, (None,) * 2, (1, None))
    said = predict_split(_look, _reader([{}, {}]), cells, [0, 1], "resnet18").predictions
    with pytest.raises(ValueError, match="a split without labels cannot be scored"):
        said.labels  # noqa: B018


def _look(images: np.ndarray) -> Prediction:
    """Says of an image what its grey level is."""
    grey = images[:, 0, 0, 0].astype(np.float32)
    logits = np.stack([np.zeros_like(grey), grey / 20 - 1], axis=1)
    return Prediction(logits, blast_probability(logits, 2.0), np.tile(grey[:, None, None, None], (1, 2, 1, 1)), 0.6)


def test_each_cell_has_the_prediction_of_its_own_image_over_several_batches() -> None:
    n = BATCH + 7
    reader, positions = _reader([{}] * n), list(range(n))[::-1]
    names = tuple(map(str, positions))
    cells = Cells(names, names, (None,) * n, (None,) * n, (None,) * n)
    found = predict_split(_look, reader, cells, positions, "resnet18")
    said, grey = found.predictions, np.array(positions)
    assert said.cells == cells
    np.testing.assert_array_equal(found.cam[:, 0, 0, 0], grey)
    np.testing.assert_allclose(said.logits[:, 1], grey / 20 - 1, atol=1e-6)  # type: ignore[index]
    np.testing.assert_allclose(said.uncalibrated, 1 / (1 + np.exp(1 - grey / 20)), atol=1e-6)
    np.testing.assert_allclose(said.probability, 1 / (1 + np.exp((1 - grey / 20) / 2)), atol=1e-6)
    np.testing.assert_array_equal(said.verdicts, said.probability >= np.float32(0.6))
    assert 0 < said.verdicts.sum() < n
    assert [found.image(i)[0, 0, 0] for i in range(n)] == positions


def test_a_batch_that_fails_though_no_cell_does_names_its_ends() -> None:
    def look(images: np.ndarray) -> Prediction:
        if len(images) > 1:
            raise UserError("model.onnx: no memory")
        return _look(images)

    names = ("a", "b", "c")
    cells = Cells(names, names, (None,) * 3, (None,) * 3, (None,) * 3)
    with pytest.raises(UserError, match="no memory: in the batch of 'k2' to 'k0', though of none alone"):
        predict_split(look, _reader([{}] * 3), cells, [2, 1, 0], "resnet18")
