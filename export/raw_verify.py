"""Compare the raw variant with the builder and model.onnx before it gets its name."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from build_shards.preprocess import preprocess, read_image
from contract.errors import UserError
from contract.model_card import ModelCard
from contract.shard_reader import SplitReader
from export.calibrate import probabilities

LARGEST_ERROR = 0.01  # of a probability
WITHIN = 0.995  # share of the cells that must be
SAME_DECISION = 0.999
DRAWN = 12
Image = NDArray[np.uint8]


@dataclass(frozen=True)
class RawComparison:
    """How the raw variant compares with crops of the builder in model.onnx."""

    cells: int
    drawn: int  # how many of them were drawn here, not read from a data set
    within: float  # share whose probabilities differ by at most ``LARGEST_ERROR``
    same_decision: float
    largest: float  # difference of two probabilities

    @property
    def passed(self) -> bool:
        return self.within >= WITHIN and self.same_decision >= SAME_DECISION

    def __str__(self) -> str:
        return (
            f"{self.cells} cells ({self.drawn} drawn): probability within {LARGEST_ERROR} for {self.within:.2%}, "
            f"at most {self.largest:.1e} apart, same decision for {self.same_decision:.2%}"
        )

    def stated(self) -> dict[str, float]:
        """For the card."""
        return {
            "raw_cells": float(self.cells - self.drawn),
            "raw_drawn_cells": float(self.drawn),
            "raw_within": self.within,
            "raw_same_decision": self.same_decision,
            "raw_largest_probability_error": self.largest,
        }


def compare_raw(
    raw: bytes, float32: bytes, card: ModelCard, valid: SplitReader | None, logits: NDArray | None, data: Path | None
) -> RawComparison:
    """Drawn cells, and all of ``valid`` where the folder of the raw images is given (``logits``: their float32 ones).

    Raises ``UserError`` for a cell that is not in ``data`` or is another image there, and for a box that is not the
    builder's.
    """
    of_raw, of_float32 = (
        onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"]) for file in (raw, float32)
    )
    pairs = [_drawn_pair(of_raw, of_float32, image, card) for image in draw_cells(card.recipe.window)]
    if valid is not None and logits is not None and data is not None:
        wanted = probabilities(logits, card.temperature)
        pairs += [(_read_and_run(of_raw, data, valid.info(i)), float(wanted[i])) for i in range(len(valid))]
    found, expected = np.array(pairs).T
    error = np.abs(found - expected)
    error[~np.isfinite(error)] = np.inf
    same = (found >= card.threshold) == (expected >= card.threshold)
    return RawComparison(
        len(pairs), DRAWN, float((error <= LARGEST_ERROR).mean()), float(same.mean()), float(error.max())
    )


def draw_cells(window: int) -> list[Image]:
    """Ellipses of two stains on black, off the centre, in frames of several shapes; some larger than ``window``."""
    rng = np.random.default_rng(0)
    images = []
    for number in range(DRAWN):
        height, width = 2 * window + 13 * number, 2 * window + 40 - 11 * number
        y, x = np.mgrid[:height, :width]
        radii = window * rng.uniform(0.25, 0.6, 2)
        centre = rng.uniform(0.42, 0.58, 2) * (height, width)
        distance = np.hypot((y - centre[0]) / radii[0], (x - centre[1]) / radii[1])
        share = np.clip(1.4 - 1.2 * distance, 0, 1)[..., None]  # of the nucleus
        density = share * (0.65, 0.85, 0.30) + (1 - share) * (0.20, 0.45, 0.15)
        pixels = 255 * np.exp(-density * rng.normal(1, 0.1, (height, width, 1)))
        images.append((np.clip(pixels, 1, 255) * (distance < 1)[..., None]).astype(np.uint8))
    return images


def _drawn_pair(
    raw: onnxruntime.InferenceSession, float32: onnxruntime.InferenceSession, image: Image, card: ModelCard
) -> tuple[float, float]:
    crop = preprocess(image, card.recipe, "a drawn cell")
    probability, box = raw.run(["probability", "box"], {"image": image})
    if tuple(box.tolist()) != crop.box:
        raise UserError(f"{card.arch}: raw variant: the box {box.tolist()} is not the builder's {crop.box}")
    return float(probability[0]), float(float32.run(["probability"], {"images": crop.image[None]})[0][0])


def _read_and_run(raw: onnxruntime.InferenceSession, data: Path, info: dict) -> float:
    path = data / str(info["source"])
    if not path.is_file():
        raise UserError(f"--data {data}: does not hold {info['source']}, a cell of valid: give the folder of the build")
    image, file = read_image(path)
    if hashlib.sha256(file).hexdigest() != info["sha256"]:
        raise UserError(f"{path}: is not the image that the shards were built from: give the folder of the build")
    probability, box = raw.run(["probability", "box"], {"image": image})
    if box.tolist() != info["box"]:
        raise UserError(f"{path}: raw variant: the box {box.tolist()} is not the builder's {info['box']}")
    return float(probability[0])
