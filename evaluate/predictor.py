"""One exported network behind onnxruntime."""

import hashlib
import importlib.util
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from contract.errors import UserError
from evaluate.matrix_tiles import for_tiles, has_tiles
from evaluate.model_check import IMAGES, ModelFile, read_model
from evaluate.predictions import decide
from evaluate.report_record import ARCHS

BATCH = 64  # images at once: memory stays bounded whatever is asked
LARGEST_SIDE = 8192  # px of a raw image, for the same reason
MOST_THREADS = 1024  # onnxruntime starts as many as it is told, and takes a number below zero without a word
# TF32 would round what was verified in float32; a heuristic choice of kernels does not search anew for every batch.
CUDA = ("CUDAExecutionProvider", {"use_tf32": "0", "cudnn_conv_algo_search": "HEURISTIC"})


@dataclass(frozen=True)
class Prediction:
    """What a network says of ``N`` images."""

    logits: NDArray[np.float32]  # [N, 2], before the card's temperature
    probability: NDArray[np.float32]  # [N], of label 1 (blast), calibrated: after the card's temperature
    cam: NDArray[np.float32]  # [N, 2, h, w], class activation map of each label; its mean plus a bias is the logit
    threshold: float  # the card's

    @property
    def labels(self) -> NDArray[np.int64]:
        """The verdicts, int64 ``[N]``: 1 where the probability of a blast reaches the threshold."""
        return decide(self.probability, self.threshold)


@dataclass(frozen=True)
class RawPrediction(Prediction):
    """What a raw variant says of one raw image; ``N`` is 1."""

    box: tuple[int, int, int, int]  # left, top, width, height of the crop in the image's pixels; may reach outside


class Predictor:
    """Load an ONNX file with its model card; ``device`` is "auto", "cpu" or "cuda"; ``threads`` 0 is one a core.

    Raises ``UserError`` when the file is missing, is not one of ours, or CUDA was asked for and is not in use, and
    where ``threads`` is no number of threads.
    """

    def __init__(self, path: Path, device: str = "auto", threads: int = 0) -> None:
        if not 0 <= threads <= MOST_THREADS:
            raise UserError(f"--workers {threads}: must be between 0 (one a core) and {MOST_THREADS}")
        self.path = path
        file = read_model(path)
        self.card = file.card
        self.sha256 = hashlib.sha256(file.data).hexdigest()
        self.session = _open_session(file, device, threads, str(path))

    @property
    def provider(self) -> str:
        """The execution provider that onnxruntime really uses."""
        return str(self.session.get_providers()[0])

    def predict(self, images: NDArray[np.uint8]) -> Prediction:
        """Predict uint8 ``[N, size, size, 3]`` RGB images as a shard holds them, any ``N`` of at least 1.

        Raises ``UserError`` for another type or shape, an image that is all background (which the recipe never makes),
        an output that is not a number or of another shape, and a network that takes raw images.
        """
        size = self.card.recipe.size
        if self.card.variant == "raw":
            raise UserError(f"{self.path}: takes raw images, not crops: use predict_raw")
        if images.dtype != np.uint8 or images.ndim != 4 or images.shape[1:] != (size, size, 3) or not len(images):
            raise UserError(f"{self.path}: takes uint8 [N, {size}, {size}, 3], got {images.dtype} {images.shape}")
        empty = np.flatnonzero(~images.any(axis=(1, 2, 3)))
        if empty.size:
            raise UserError(f"{self.path}: image {empty[0]} is all background: there is no cell to classify")
        parts = [self._run(images[i : i + BATCH]) for i in range(0, len(images), BATCH)]
        logits, probability, cam = (np.concatenate(part) for part in zip(*parts, strict=True))
        if not (np.isfinite(logits).all() and np.isfinite(probability).all()):
            raise UserError(f"{self.path}: an output is not a number")
        return Prediction(logits, probability, cam, self.card.threshold)

    def predict_raw(self, image: NDArray[np.uint8]) -> RawPrediction:
        """Predict one raw image, uint8 ``[H, W, 3]`` RGB, one cell on black, with a raw variant.

        Raises ``UserError`` for another type, shape or variant, and where the recipe finds no cell (or too small a
        one) in it.
        """
        if self.card.variant != "raw":
            raise UserError(f"{self.path}: takes crops, not raw images: the raw variant is model.raw.onnx")
        sides = image.shape[:2]
        if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or not min(sides) >= 1:
            raise UserError(f"{self.path}: takes uint8 [H, W, 3], got {image.dtype} {image.shape}")
        if max(sides) > LARGEST_SIDE:
            raise UserError(f"{self.path}: the image is {sides[1]} x {sides[0]} px: at most {LARGEST_SIDE} a side")
        logits, probability, cam, box = self._run(image)
        if not (np.isfinite(logits).all() and np.isfinite(probability).all()):
            raise UserError(f"{self.path}: the recipe finds no cell in the image, or too small a one to be stored")
        left, top, width, height = (int(value) for value in box)
        return RawPrediction(logits, probability, cam, self.card.threshold, (left, top, width, height))

    def _run(self, images: NDArray[np.uint8]) -> list[NDArray]:
        """All outputs of one batch; on a GPU copied there and back once, with nothing in between."""
        name = IMAGES[self.card.variant]
        try:
            if self.provider == CUDA[0]:
                outputs = run_bound(self.session, name, images, "cuda")
            else:
                outputs = list(self.session.run(None, {name: np.ascontiguousarray(images)}))
        except Exception as error:  # onnxruntime's own exception types share no base but Exception
            raise UserError(f"{self.path}: onnxruntime cannot run it: {str(error).splitlines()[0]}") from None
        self._refuse_shapes(1 if self.card.variant == "raw" else len(images), *outputs)
        return outputs

    def _refuse_shapes(self, n: int, logits: NDArray, probability: NDArray, cam: NDArray, *box: NDArray) -> None:
        verdicts = (logits.shape, probability.shape) == ((n, 2), (n,))
        if not verdicts or cam.ndim != 4 or cam.shape[:2] != (n, 2) or any(corners.shape != (4,) for corners in box):
            raise UserError(f"{self.path}: its outputs have other shapes than a network of this project")


def run_bound(
    session: onnxruntime.InferenceSession, name: str, images: NDArray[np.uint8], device: str
) -> list[NDArray]:
    """Run with input and outputs bound to the memory of ``device`` ("cuda" or "cpu"), and copy the outputs back."""
    binding = session.io_binding()
    binding.bind_ortvalue_input(name, onnxruntime.OrtValue.ortvalue_from_numpy(np.ascontiguousarray(images), device, 0))
    for output in session.get_outputs():
        binding.bind_output(output.name, device)
    session.run_with_iobinding(binding)
    return list(binding.copy_outputs_to_cpu())


def find_networks(artifacts: Path) -> dict[str, Path]:
    """The exported networks below ``artifacts``, by architecture; raises ``UserError`` when there is none."""
    found = exported_networks(artifacts)
    if not found:
        raise UserError(f"{artifacts}: no exported network there (ARCH/model.onnx): make export")
    return found


def exported_networks(artifacts: Path) -> dict[str, Path]:
    """The exported networks below ``artifacts``, by architecture, as far as there are any.

    Raises ``UserError`` for a folder that may not be entered.
    """
    paths = {arch: artifacts / arch / "model.onnx" for arch in ARCHS}
    try:
        return {arch: path for arch, path in paths.items() if path.is_file()}
    except OSError as error:
        raise UserError(f"{artifacts}: cannot be read: {error.strerror}") from None


def _open_session(file: ModelFile, device: str, threads: int, source: str) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads or os.cpu_count() or 1
    options.inter_op_num_threads = 1
    for entry in file.entries:
        options.add_session_config_entry(*entry)
    onnxruntime.set_default_logger_severity(4)  # what goes wrong is said once, by the errors below
    wants_cuda = device != "cpu" and CUDA[0] in onnxruntime.get_available_providers()
    if wants_cuda and importlib.util.find_spec("nvidia"):
        onnxruntime.preload_dlls()  # CUDA and cuDNN from the packages that torch brings, without importing torch
    providers = [CUDA] * wants_cuda + ["CPUExecutionProvider"]
    data = for_tiles(file.data) if file.card.variant == "int8" and has_tiles() else file.data
    try:
        session = onnxruntime.InferenceSession(data, options, providers=providers)
    except Exception as error:  # onnxruntime's own exception types share no base but Exception
        raise UserError(f"{source}: onnxruntime cannot load it: {str(error).splitlines()[0]}") from None
    if device == "cuda" and session.get_providers()[0] != CUDA[0]:
        raise UserError(f"--device cuda: onnxruntime has no usable CUDA provider here, {source} would run on the CPU")
    return session
