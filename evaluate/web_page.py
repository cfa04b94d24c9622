"""What the web page shows, as JSON: one image's opinions with their pictures, and the networks' cards."""

import base64
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from evaluate.classify import Classified, Networks, Opinion
from evaluate.predictor import Predictor

NORMAL, BLAST = np.array([0, 114, 178]), np.array([213, 94, 0])  # blue and orange, told apart by the colour-blind too
SIDE = 224  # px of a picture on the page
COLOUR = 0.6  # weight of the map's colour over the grey cell


def draw_activation_map(crop: NDArray[np.uint8], cam: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Colour a cell, uint8 ``[size, size, 3]``, by a class activation map ``[2, h, w]``: uint8 ``[SIDE, SIDE, 3]`` RGB.

    Orange where the map speaks for label 1, blue for label 0, white for neither; the scale is symmetric around zero and
    the map's own. The cell stands in grey on white, so that colours laid over it keep their meaning.
    """
    evidence = cv2.resize(cam[1] - cam[0], (SIDE, SIDE), interpolation=cv2.INTER_CUBIC)
    strength = (evidence / max(float(np.abs(evidence).max()), 1e-6))[..., None]
    colour = 255 + np.where(strength > 0, BLAST - 255, 255 - NORMAL) * strength
    large = cv2.resize(crop, (SIDE, SIDE), interpolation=cv2.INTER_NEAREST)
    grey = np.where(large.any(axis=2), large.mean(axis=2), 255)[..., None]
    return np.clip(np.rint(COLOUR * colour + (1 - COLOUR) * grey), 0, 255).astype(np.uint8)


def describe_image(classified: Classified) -> dict[str, Any]:
    """One image's answer: its crop, every opinion with its map, the ensemble's, and what is unlike training cells."""
    opinions = {**classified.opinions, "ensemble": classified.ensemble}
    return {
        "crop": _data_url(classified.crop),
        "milliseconds": classified.milliseconds,
        "concerns": [{"kind": concern.kind, "text": concern.text} for concern in classified.concerns],
        "opinions": [_describe_opinion(name, opinion) for name, opinion in opinions.items()],
    }


def _describe_opinion(name: str, opinion: Opinion) -> dict[str, Any]:
    cell, cam = opinion.crop, opinion.cam
    return {
        "network": name,
        "label": opinion.label,
        "verdict": opinion.name,
        "probability": opinion.probability,
        "threshold": opinion.threshold,
        "milliseconds": opinion.milliseconds,
        "map": None if cell is None or cam is None else _data_url(draw_activation_map(cell, cam)),
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
        (name.replace("_", " "), f"{value:.3f}" + _interval(card.intervals.get(name)))
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
        ("measured on", f"the validation split, n = {card.samples}" if card.samples else "the validation split"),
        ("versions", ", ".join(f"{name} {version}" for name, version in card.versions.items())),
    ]


def _interval(found: tuple[float, float] | None) -> str:
    return "" if found is None else f" (95 % interval {found[0]:.3f} to {found[1]:.3f})"


def _data_url(image: NDArray[np.uint8]) -> str:
    ok, png = cv2.imencode(".png", image[:, :, ::-1])
    if not ok:
        raise RuntimeError("OpenCV could not encode a PNG")
    return "data:image/png;base64," + base64.b64encode(png.tobytes()).decode()
