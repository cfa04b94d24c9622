"""The files of one network: model.onnx, its int8 and its raw variant, each compared before it is handed on.

Nothing is written here: a file that fails is none, and the earlier one stays where it is.
"""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import onnx
import torch

from contract.counted import counted
from contract.model_card import ModelCard
from export.calibrate import score
from export.graph import finish, fold_batch_norm
from export.int8_ranges import equalise, measure_ranges
from export.quantize import CELLS, FIRST, Gate, calibration_sample, compare_decisions, quantize
from export.raw_graph import STAINS, to_raw
from export.raw_verify import compare_raw
from export.source import Cells, Logits, Source, logits_of
from export.verify import verify
from train.normalise import Normalise

CROPS = 32  # of the validation split, compared with float64 beside fixed and random images


@dataclass(frozen=True)
class Made:
    """A file that passed, and what to say of it; or, without data, why there is none."""

    name: str
    data: bytes | None
    said: str


def make_float32(source: Source) -> tuple[Made, Source]:
    """model.onnx, and the source whose card holds its comparison; raises ``UserError`` where torch says otherwise."""
    card, cells = source.card, source.cells
    crops = np.zeros((0, card.recipe.size, card.recipe.size, 3), np.uint8)
    if cells is not None:
        crops = np.stack([cells.valid.image(i) for i in range(min(CROPS, len(cells.valid)))])
    found = verify(finish(source.graph, card, "float32"), source.network, card, crops)
    card = replace(card, verification=found.stated())
    data = finish(source.graph, card, "float32")  # only the card differs from what was verified
    said = (
        f"{len(data) / 1e6:.1f} MB, {card.recipe.size} px; against torch float64 on {found.images} images: "
        f"logits within {found.logit_error:.1e}, probability within {found.probability_error:.1e}, "
        f"decisions identical ({counted(found.ties, 'tie')})"
    )
    if cells is not None:
        said += (
            f"\n  temperature {card.temperature:.3f}, threshold {card.threshold:.4f} ({card.operating_point}); on "
            f"{card.measured_on}: accuracy {card.metrics['valid_accuracy']:.2%}, "
            f"cross-entropy {card.metrics['valid_loss_uncalibrated']:.4f} -> {card.metrics['valid_loss']:.4f}"
        )
    return Made("model.onnx", data, said), replace(source, card=card)


@dataclass(frozen=True)
class Attempt:
    """How to quantise: cells that the ranges are measured on, and convolutions that stay in float32."""

    cells: int
    float_layers: tuple[str, ...]


ATTEMPTS = (Attempt(CELLS, ()), Attempt(CELLS, (FIRST,)), Attempt(4 * CELLS, (FIRST,)))


def make_int8(source: Source) -> Made:
    """Everything in int8 first; then with the first convolution in float32; then with more cells; else not at all."""
    assert source.cells is not None
    assert source.logits is not None
    learned = ", which is learned" if source.card.refit else ""
    against = f"against float32 on valid{learned}, n = {len(source.cells.labels)}"
    gates: list[Gate] = []
    for attempt in ATTEMPTS:
        quantised, keys = _quantised(source, source.cells, attempt)
        found = logits_of(finish(quantised, source.card, "int8"), source.cells.valid)
        float32, int8 = source.decisions(source.logits), source.decisions(found)
        gates.append(compare_decisions(float32, int8, source.cells.labels))
        if gates[-1].passed:
            stated = replace(
                scored(source.card, found, source.cells),
                calibration=keys,
                float_layers=(*attempt.float_layers, "fc"),
                verification=_differences(source, source.logits, found, gates[-1]),
            )
            data = finish(quantised, stated, "int8")
            layers = f"float32 layers: {', '.join(stated.float_layers)}; {len(keys)} cells for the ranges"
            return Made("model.int8.onnx", data, f"{len(data) / 1e6:.1f} MB; {against}: {gates[-1]}; {layers}")
    return Made("model.int8.onnx", None, f"not published: {against}: {'; '.join(map(str, gates))}")


def _quantised(source: Source, cells: Cells, attempt: Attempt) -> tuple[onnx.ModelProto, tuple[str, ...]]:
    """The int8 graph, and the keys of the cells that its ranges were measured on."""
    sample = calibration_sample(cells.train, attempt.cells)
    images = torch.from_numpy(np.stack([cells.train.image(i) for i in sample]))
    card = source.card
    normalise = Normalise.of(card)
    equalised = equalise(fold_batch_norm(source.network), normalise, images)
    ranges = measure_ranges(equalised, normalise, images, attempt.float_layers)
    return quantize(source.graph, ranges), tuple(cells.train.samples[i].key for i in sample)


def make_raw(source: Source, data: Path | None) -> Made:
    """Compared with the builder on drawn cells and, where their folder is given, on the raw cells of valid."""
    card, name = source.card, "model.raw.onnx"
    if card.recipe.stain not in STAINS:
        said = f"not made: stain {card.recipe.stain} is not supported there, only {', '.join(STAINS)} are"
        return Made(name, None, said)
    raw, float32 = to_raw(source.graph, card), finish(source.graph, card, "float32")
    valid = None if source.cells is None else source.cells.valid
    found = compare_raw(finish(raw, card, "raw"), float32, card, valid, source.logits, data)
    if not found.passed:
        return Made(name, None, f"not published: against the builder and model.onnx: {found}")
    file = finish(raw, replace(card, verification={**card.verification, **found.stated()}), "raw")
    return Made(name, file, f"{len(file) / 1e6:.1f} MB; against the builder and model.onnx: {found}")


def scored(card: ModelCard, logits: Logits, cells: Cells) -> ModelCard:
    """The card with metrics and intervals on valid; a refit's stays, it has learned those cells."""
    if card.refit:
        return card
    found = score(logits, cells.labels, card.temperature, card.threshold, cells.people)
    return replace(card, metrics=found.metrics, intervals=found.intervals, samples=len(cells.labels))


def _differences(source: Source, logits: Logits, found: Logits, gate: Gate) -> dict[str, float]:
    moved = np.abs(source.probabilities(found) - source.probabilities(logits))
    return {
        "accuracy_change": gate.accuracy_change,
        "agreement": gate.agreement,
        "mean_probability_error": float(moved.mean()),
        "largest_probability_error": float(moved.max()),
    }
