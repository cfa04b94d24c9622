"""Loading an exported network: what it gives, and what it refuses."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from exported_file import to_onnx
from narrow_network import NarrowNetwork

from contract.errors import UserError
from contract.manifest import Manifest
from contract.model_card import METADATA_KEY, ModelCard
from contract.model_file import DIGEST_KEY, UNSEALED, seal
from contract.shard_reader import SplitReader
from evaluate.predictor import BATCH, Predictor, find_networks


@pytest.fixture(scope="module")
def predictor(exported: Path) -> Predictor:
    return Predictor(exported / "resnet18" / "model.onnx", "cpu")


def _resaved(exported: Path, path: Path, **metadata: str) -> Path:
    model = onnx.load(exported / "resnet18" / "model.onnx")
    del model.metadata_props[:]
    for key, value in {**metadata, DIGEST_KEY: UNSEALED}.items():
        model.metadata_props.add(key=key, value=value)
    path.write_bytes(seal(model.SerializeToString()))
    return path


def test_outputs_have_the_promised_shapes_and_types(predictor: Predictor, shards: Path, manifest: Manifest) -> None:
    reader = SplitReader(shards, manifest, "valid")
    found = predictor.predict(np.stack([reader.image(i) for i in range(5)]))
    assert (found.logits.shape, found.probability.shape, found.cam.shape) == ((5, 2), (5,), (5, 2, 5, 5))
    assert found.labels.tolist() == [int(p >= 0.5) for p in found.probability]


def test_probability_is_the_softmax_of_the_logits_and_the_map_explains_them(predictor: Predictor) -> None:
    images = np.random.default_rng(1).integers(0, 256, (4, 40, 40, 3), dtype=np.uint8)
    found = predictor.predict(images)
    logits = found.logits.astype(np.float64)
    softmax = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(found.probability, softmax[:, 1], atol=1e-6)
    bias = logits - found.cam.mean(axis=(2, 3))
    np.testing.assert_allclose(bias - bias[0], 0, atol=1e-4)  # what the maps leave over is the classifier's bias


def test_a_batch_larger_than_the_bound_gives_what_single_images_give(predictor: Predictor) -> None:
    images = np.random.default_rng(2).integers(0, 256, (BATCH + 3, 40, 40, 3), dtype=np.uint8)
    together = predictor.predict(images)
    for i in (0, BATCH - 1, BATCH, BATCH + 2):
        np.testing.assert_allclose(
            together.logits[i], predictor.predict(images[i : i + 1]).logits[0], rtol=1e-3, atol=1e-4
        )


@pytest.mark.parametrize("shape", [(40, 40, 3), (1, 41, 40, 3), (1, 40, 40, 4), (0, 40, 40, 3)])
def test_another_shape_is_refused(predictor: Predictor, shape: tuple[int, ...]) -> None:
    with pytest.raises(UserError, match=r"takes uint8 \[N, 40, 40, 3\]"):
        predictor.predict(np.zeros(shape, np.uint8))


def test_another_type_is_refused(predictor: Predictor) -> None:
    with pytest.raises(UserError, match="float32"):
        predictor.predict(np.zeros((1, 40, 40, 3), np.float32))  # type: ignore[arg-type]


def test_an_image_without_a_cell_is_refused_by_its_place(predictor: Predictor) -> None:
    images = np.full((3, 40, 40, 3), 9, np.uint8)
    images[1] = 0
    with pytest.raises(UserError, match="image 1 is all background: there is no cell to classify"):
        predictor.predict(images)


@pytest.mark.parametrize(("logit", "probability"), [(np.inf, 1.0), (1.0, np.nan)])
def test_an_output_that_is_not_a_number_is_refused(
    predictor: Predictor, logit: float, probability: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    outputs = [np.array([[0, logit]]), np.array([probability]), np.zeros((1, 2, 5, 5))]
    monkeypatch.setattr(predictor, "_run", lambda _: outputs)
    with pytest.raises(UserError, match=r"model\.onnx: an output is not a number"):
        predictor.predict(np.full((1, 40, 40, 3), 9, np.uint8))


def test_a_missing_file_says_how_to_make_it(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="make export"):
        Predictor(tmp_path / "model.onnx")
    with pytest.raises(UserError, match="make export"):
        find_networks(tmp_path)


def test_a_file_that_is_no_onnx_or_cut_short_is_refused(tmp_path: Path, exported: Path) -> None:
    data = (exported / "resnet18" / "model.onnx").read_bytes()
    for name, content in {"text.onnx": b"hello", "empty.onnx": b"", "cut.onnx": data[: len(data) // 2]}.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(UserError, match=name):
            Predictor(tmp_path / name, "cpu")


def test_a_file_without_a_card_or_with_a_damaged_one_is_refused(tmp_path: Path, exported: Path) -> None:
    with pytest.raises(UserError, match="has no model card"):
        Predictor(_resaved(exported, tmp_path / "bare.onnx"), "cpu")
    with pytest.raises(UserError, match="key 'format' is missing"):
        Predictor(_resaved(exported, tmp_path / "foreign.onnx", **{METADATA_KEY: "{}"}), "cpu")


@pytest.mark.skipif(Path("/dev/nvidia0").exists(), reason="this machine has a GPU")
def test_asking_for_cuda_without_a_gpu_is_an_error_and_auto_takes_the_cpu(exported: Path) -> None:
    with pytest.raises(UserError, match="no usable CUDA provider"):
        Predictor(exported / "resnet18" / "model.onnx", "cuda")
    assert Predictor(exported / "resnet18" / "model.onnx", "auto").provider == "CPUExecutionProvider"


def test_the_digest_is_of_the_file(predictor: Predictor, exported: Path) -> None:
    import hashlib

    assert predictor.sha256 == hashlib.sha256((exported / "resnet18" / "model.onnx").read_bytes()).hexdigest()


def test_temperature_changes_the_probability_and_not_the_logits_and_the_threshold_is_the_cards(
    card: ModelCard, tmp_path: Path
) -> None:
    torch.manual_seed(0)
    network = NarrowNetwork().eval()
    images = np.random.default_rng(1).integers(0, 256, (4, 40, 40, 3), np.uint8)
    found = {}
    for temperature in (1.0, 2.5):
        path = tmp_path / f"{temperature}.onnx"
        path.write_bytes(to_onnx(network, replace(card, temperature=temperature, threshold=0.9999)))
        found[temperature] = Predictor(path, "cpu").predict(images)
    plain, calibrated = found[1.0], found[2.5]
    np.testing.assert_array_equal(plain.logits, calibrated.logits)
    odds = np.log(plain.probability / (1 - plain.probability)) / 2.5
    np.testing.assert_allclose(calibrated.probability, 1 / (1 + np.exp(-odds)), atol=1e-6)
    assert np.abs(calibrated.probability - plain.probability).max() > 0.01
    assert calibrated.labels.tolist() == [0, 0, 0, 0]
    assert replace(calibrated, threshold=float(calibrated.probability[2])).labels[2] == 1


@pytest.mark.parametrize("threads", [-1, 10**11])
def test_a_number_of_threads_that_is_none_is_refused(exported: Path, threads: int) -> None:
    with pytest.raises(UserError, match=rf"--workers {threads}: must be between 0"):
        Predictor(exported / "resnet18" / "model.onnx", "cpu", threads)


def test_as_many_threads_compute_as_are_asked_for(exported: Path) -> None:
    session = Predictor(exported / "resnet18" / "model.onnx", "cpu", 3).session
    assert session.get_session_options().intra_op_num_threads == 3
