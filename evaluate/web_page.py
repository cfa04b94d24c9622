"""What the web page shows, as JSON: one image's opinions with their pictures, and the networks' cards."""

import base64
from typing import Any

import numpy as np
from numpy.typing import NDArray

from contract.model_card import DRAWN
from evaluate.classify import Classified, Networks, Opinion
from evaluate.evidence import mean_evidence, paint_evidence
from evaluate.gallery import png_of
from evaluate.predictor import Predictor

SIDE = 224  # px of a map on the page


def describe_image(classified: Classified) -> dict[str, Any]:
    """One image's answer: its crop, every opinion with its map, the ensemble's, and what is unlike training cells."""
    opinions = {**classified.opinions, "ensemble": classified.ensemble}
    return {
        "crop": _data_url(classified.crop),
        "classes": list(classified.classes),
        "milliseconds": classified.milliseconds,
        "concerns": [{"kind": concern.kind, "text": concern.text} for concern in classified.concerns],
        "opinions": [_describe_opinion(name, opinion) for name, opinion in opinions.items()],
    }


def _describe_opinion(name: str, opinion: Opinion) -> dict[str, Any]:
    cell, evidence = opinion.crop, opinion.evidence
    seen = None if cell is None or evidence is None else paint_evidence(cell, mean_evidence([evidence], SIDE))
    return {
        "network": name,
        "label": opinion.label,
        "verdict": opinion.name,
        "probability": opinion.probability,
        "threshold": opinion.threshold,
        "milliseconds": opinion.milliseconds,
        "map": None if seen is None else _data_url(seen),
    }


def describe_networks(networks: Networks) -> dict[str, Any]:
    """What stands on the page before an image does: class names, data, and each network's card as rows of text."""
    first = next(iter(networks.predictors.values())).card
    return {
        "classes": list(first.classes),
        "dataset": first.dataset,
        "provider": next(iter(networks.predictors.values())).provider.removesuffix("ExecutionProvider"),
        "variant": " and ".join(dict.fromkeys(p.card.variant for p in networks.predictors.values())),
        "intended_use": first.intended_use,
        "citation": first.citation,
        "limits": list(first.limits),
        "networks": [{"network": name, "rows": _card_rows(p)} for name, p in networks.predictors.items()],
    }


def _card_rows(predictor: Predictor) -> list[tuple[str, str]]:
    """The card in words. A metric stands with its 95 % interval where the card has one."""
    card, recipe = predictor.card, predictor.card.recipe
    metrics = [
        (name.replace("_", " "), f"{value:.3f}" + _interval(name, card.intervals))
        for name, value in card.metrics.items()
    ]
    return [
        ("file", f"{predictor.path.parent.name}/{predictor.path.name}, SHA-256 {predictor.sha256[:16]}…"),
        ("variant", f"{card.variant}, opset {card.opset}"),
        ("trained on", f"{card.dataset} (manifest {card.manifest_digest[:12]}…), seed {card.seed}, epoch {card.epoch}"),
        ("sees", f"{recipe.size} × {recipe.size} px, crop {recipe.crop}, stain normalisation {recipe.stain}"),
        ("temperature", f"{card.temperature:.3f}" + (" (not calibrated)" if card.temperature == 1 else "")),
        ("threshold", f"{card.threshold:.3f} ({card.operating_point})"),
        *metrics,
        ("measured on", card.measured_on),
        ("versions", ", ".join(f"{name} {version}" for name, version in card.versions.items())),
    ]


def _interval(name: str, intervals: dict[str, tuple[float, float]]) -> str:
    """With people drawn anew where the card has it: that with images, as if they were independent, is too narrow."""
    held = {f"{drawn} drawn anew": intervals.get(f"{name}_{end}") for end, drawn in DRAWN.items()}
    held["images as if independent"] = intervals.get(name)
    said = (f" (95 % interval {found[0]:.3f} to {found[1]:.3f}, {what})" for what, found in held.items() if found)
    return next(said, "")


def _data_url(image: NDArray[np.uint8]) -> str:
    return "data:image/png;base64," + base64.b64encode(png_of(image)).decode()
