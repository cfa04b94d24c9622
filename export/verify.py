"""Compare an ONNX file with torch before it gets its name."""

import copy
import itertools
from dataclasses import dataclass

import numpy as np
import onnxruntime
import torch
from numpy.typing import NDArray

from contract.errors import UserError
from contract.model_card import ModelCard
from export.graph import OUTPUTS, ExportedNetwork
from train.resnet import ResNet

LARGEST_LOGIT_ERROR = 1e-3  # of a logit or a map's value, relative to 1 + the largest of them
LARGEST_PROBABILITY_ERROR = 1e-4
BATCHES = (1, 2, 17)


@dataclass(frozen=True)
class Comparison:
    """Largest differences between onnxruntime (float32) and torch (float64) over all compared images."""

    images: int
    logit_error: float  # largest |difference| of a logit or a map's value
    probability_error: float  # largest |difference| of a probability
    ties: int  # images whose two labels score alike within the error: their decision says nothing

    def stated(self) -> dict[str, float]:
        """For the card."""
        return {
            "float64_images": float(self.images),
            "float64_logit_error": self.logit_error,
            "float64_probability_error": self.probability_error,
            "float64_ties": float(self.ties),
        }


def verify(onnx_bytes: bytes, network: ResNet, card: ModelCard, crops: NDArray[np.uint8]) -> Comparison:
    """Run fixed and random images, and ``crops`` (uint8 ``[M, size, size, 3]``, may be empty), through both.

    Batches are of 1, 2 and 17 images. The reference is the network as trained (BatchNorm not folded) in float64.
    Raises ``UserError`` with the error and the limit when an output differs, or any decision does.
    """
    reference = ExportedNetwork(copy.deepcopy(network), card).eval().double()
    session = onnxruntime.InferenceSession(onnx_bytes, providers=["CPUExecutionProvider"])
    worst_logit, worst_probability, ties = 0.0, 0.0, 0
    sets = [_fixed(card.recipe.size), *_random(card.recipe.size), *batches(crops)]
    for images in sets:
        found = session.run(list(OUTPUTS), {"images": images})
        with torch.inference_mode():
            wanted = [output.numpy() for output in reference(torch.from_numpy(images))]
        errors = [float(np.abs(f - w).max()) for f, w in zip(found, wanted, strict=True)]
        limits = [LARGEST_LOGIT_ERROR * (1 + float(np.abs(w).max())) for w in wanted]
        limits[OUTPUTS.index("probability")] = LARGEST_PROBABILITY_ERROR
        for name, error, limit in zip(OUTPUTS, errors, limits, strict=True):
            if not error <= limit:  # NaN is not
                raise UserError(f"{card.arch}: ONNX and torch differ by {error:.2e} in {name}: not published")
        if _decisions_differ(found[0], wanted[0]):
            raise UserError(f"{card.arch}: ONNX and torch differ in a decision: not published")
        ties += int((~_clear(wanted[0])).sum())
        worst_logit, worst_probability = max(worst_logit, errors[0], errors[2]), max(worst_probability, errors[1])
    return Comparison(sum(map(len, sets)), worst_logit, worst_probability, ties)


def batches(images: NDArray[np.uint8]) -> list[NDArray[np.uint8]]:
    """Cut into batches of 1, 2, 17, 1, 2, 17, ... images; the last may be smaller."""
    edges = [0]
    while edges[-1] < len(images):
        edges.append(min(edges[-1] + BATCHES[(len(edges) - 1) % len(BATCHES)], len(images)))
    return [images[low:high] for low, high in itertools.pairwise(edges)]


def _clear(wanted: NDArray[np.float64]) -> NDArray[np.bool_]:
    return np.abs(wanted[:, 1] - wanted[:, 0]) > 2 * LARGEST_LOGIT_ERROR


def _decisions_differ(found: NDArray[np.float32], wanted: NDArray[np.float64]) -> bool:
    """Another label, ties within the error apart."""
    return bool((found.argmax(1) != wanted.argmax(1))[_clear(wanted)].any())


def _fixed(size: int) -> NDArray[np.uint8]:
    """Discs of three radii with a colour gradient on black: uint8 ``[3, size, size, 3]``."""
    y, x = np.mgrid[:size, :size]
    gradient = np.stack([60 + 60 * x / size, 20 + 40 * y / size, 90 + 0.0 * x], axis=-1)
    distance = np.hypot(y - size / 2, x - size / 2)
    return np.stack([gradient * (distance < share * size)[..., None] for share in (0.2, 0.35, 0.5)]).astype(np.uint8)


def _random(size: int) -> list[NDArray[np.uint8]]:
    """Uniform noise in batches of several sizes."""
    rng = np.random.default_rng(0)
    return [rng.integers(0, 256, (n, size, size, 3), dtype=np.uint8) for n in BATCHES]
