"""A refit learned valid too: nothing labelled is left to fit a temperature on or to score, so a counterpart lends both.

The counterpart is the exported network that the same training made of the training split alone.
"""

from dataclasses import replace
from pathlib import Path

from contract.errors import UserError
from contract.model_card import REFIT_LIMIT, ModelCard, settings_of
from export.calibrate import OperatingPoint
from export.card import load_card


def calibrated_by(folder: Path | None, card: ModelCard, point: OperatingPoint) -> ModelCard:
    """The card of a refit with temperature, threshold and metrics of FOLDER/ARCH/model.onnx.

    Raises ``UserError`` where only one of the two is there, where the counterpart is a refit itself, was not
    calibrated, or differs in more than that it learned train alone; and for an operating point: the counterpart has it.
    """
    if folder is None:
        raise UserError(
            f"{card.arch}: learned valid too (--refit), so nothing is left to calibrate it on: --counterpart FOLDER of "
            "the exported network that the same training made without --refit"
        )
    path = folder / card.arch / "model.onnx"
    if not card.refit:
        raise UserError(f"--counterpart {folder}: {card.arch} is no refit: it is calibrated on valid itself")
    if point.name != "default 0.5":
        raise UserError(f"--operating-point {point.name}: a refit has that of its counterpart {path}: export that anew")
    other = load_card(path)
    if other.refit:
        raise UserError(f"--counterpart {path}: is a refit itself: it must have learned train alone")
    then, now = settings_of(vars(other)), settings_of(vars(card))
    differing = [f"{k} {then.get(k)} -> {now.get(k)}" for k in sorted(then.keys() | now) if then.get(k) != now.get(k)]
    if differing:
        raise UserError(f"--counterpart {path}: of another training, these differ: {', '.join(differing)}")
    if not other.samples:
        raise UserError(f"--counterpart {path}: was exported without its shards: export it anew, with --shards")
    first, _, *others = card.limits
    return replace(
        card,
        temperature=other.temperature,
        threshold=other.threshold,
        operating_point=other.operating_point,
        metrics=other.metrics,
        intervals=other.intervals,
        samples=other.samples,
        limits=(first, REFIT_LIMIT, *others),
    )
