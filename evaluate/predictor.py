"""One exported network behind onnxruntime."""

import hashlib
import importlib.util
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from contract.errors import UserError
from contract.model_card import METADATA_KEY, ModelCard

OUTPUTS = ("logits", "probability", "cam")
BATCH = 64  # images at once: memory stays bounded whatever is asked


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
        return (self.probability >= self.threshold).astype(np.int64)


class Predictor:
    """Load an ONNX file with its model card; ``device`` is "auto", "cpu" or "cuda".

    Raises ``UserError`` when the file is missing, is not one of ours, or CUDA was asked for and is not in use.
    """

    def __init__(self, path: Path, device: str = "auto", threads: int = 0) -> None:
        if not path.is_file():
            raise UserError(f"{path}: no such file: export the network first (make export)")
        self.path = path
        data = path.read_bytes()
        self.sha256 = hashlib.sha256(data).hexdigest()
        self.session = _open_session(data, device, threads, str(path))
        metadata = self.session.get_modelmeta().custom_metadata_map
        if METADATA_KEY not in metadata:
            raise UserError(f"{path}: has no model card: it was not made by `make export`")
        self.card = ModelCard.from_json(metadata[METADATA_KEY], str(path))
        self._check_signature()

    @property
    def provider(self) -> str:
        """The execution provider that onnxruntime really uses."""
        return str(self.session.get_providers()[0])

    def predict(self, images: NDArray[np.uint8]) -> Prediction:
        """Predict uint8 ``[N, size, size, 3]`` RGB images as a shard holds them, any ``N`` of at least 1.

        Raises ``UserError`` for another type or shape, and for an output that is not a number.
        """
        size = self.card.recipe.size
        if images.dtype != np.uint8 or images.ndim != 4 or images.shape[1:] != (size, size, 3) or not len(images):
            raise UserError(f"{self.path}: takes uint8 [N, {size}, {size}, 3], got {images.dtype} {images.shape}")
        batches = [images[i : i + BATCH] for i in range(0, len(images), BATCH)]
        outputs = [self.session.run(list(OUTPUTS), {"images": batch}) for batch in batches]
        logits, probability, cam = (np.concatenate(parts) for parts in zip(*outputs, strict=True))
        if not (np.isfinite(logits).all() and np.isfinite(probability).all()):
            raise UserError(f"{self.path}: an output is not a number")
        return Prediction(logits, probability, cam, self.card.threshold)

    def _check_signature(self) -> None:
        inputs = {i.name: i.type for i in self.session.get_inputs()}
        outputs = tuple(o.name for o in self.session.get_outputs())
        if inputs != {"images": "tensor(uint8)"} or outputs != OUTPUTS:
            raise UserError(f"{self.path}: takes {inputs} and gives {outputs}: not a network of this project")


def find_networks(artifacts: Path, archs: tuple[str, ...]) -> dict[str, Path]:
    """The exported networks below ``artifacts``, by architecture; raises ``UserError`` when there is none."""
    found = {a: artifacts / a / "model.onnx" for a in archs if (artifacts / a / "model.onnx").is_file()}
    if not found:
        raise UserError(f"{artifacts}: no exported network there (ARCH/model.onnx): make export")
    return found


def _open_session(data: bytes, device: str, threads: int, source: str) -> onnxruntime.InferenceSession:
    """Open a session and compare what it uses with what was asked: onnxruntime falls back in silence."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    onnxruntime.set_default_logger_severity(4)  # what goes wrong is said once, by the errors below
    wants_cuda = device != "cpu" and "CUDAExecutionProvider" in onnxruntime.get_available_providers()
    if wants_cuda and importlib.util.find_spec("nvidia"):
        onnxruntime.preload_dlls()  # CUDA and cuDNN from the packages that torch brings, without importing torch
    providers = ["CUDAExecutionProvider"] * wants_cuda + ["CPUExecutionProvider"]
    try:
        session = onnxruntime.InferenceSession(data, options, providers=providers)
    except Exception as error:  # onnxruntime's own exception types share no base but Exception
        raise UserError(f"{source}: onnxruntime cannot load it: {str(error).splitlines()[0]}") from None
    if device == "cuda" and session.get_providers()[0] != "CUDAExecutionProvider":
        raise UserError(f"--device cuda: onnxruntime has no usable CUDA provider here, {source} would run on the CPU")
    return session
