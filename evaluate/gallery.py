"""The most confident errors: which cells, and the picture of each beside its class activation map."""

import cv2
import numpy as np
from matplotlib.colors import LinearSegmentedColormap
from numpy.typing import NDArray

from evaluate.predictions import Predictions
from evaluate.report_record import ConfidentError

MOST = 12  # errors shown of each network
BLUE_ORANGE = LinearSegmentedColormap.from_list("blue_orange", ["#0072B2", "#FFFFFF", "#D55E00"])
OPACITY = 0.6  # of the map over the cell


def confident_errors(found: Predictions, name: str) -> tuple[tuple[int, ConfidentError], ...]:
    """Positions and descriptions of up to ``MOST`` wrong verdicts, by how sure the network was of what it called."""
    wrong = np.flatnonzero(found.verdicts != found.labels)
    confidence = np.where(found.verdicts == 1, found.probability, 1 - found.probability)
    order = wrong[np.argsort(-confidence[wrong], kind="stable")][:MOST]
    cells = found.cells
    return tuple(
        (
            int(i),
            ConfidentError(
                picture=f"gallery_{name}_{rank:02d}.png",
                key=cells.keys[i],
                source=cells.ids[i],
                subject=cells.subjects[i],
                label=int(found.labels[i]),
                verdict=int(found.verdicts[i]),
                probability=float(found.probability[i]),
            ),
        )
        for rank, i in enumerate(order, 1)
    )


def evidence_map(cams: list[NDArray[np.float32]], temperatures: list[float], size: int) -> NDArray[np.float32]:
    """Evidence for a blast, ``[size, size]``: mean over networks of (map of label 1 - map of label 0) / temperature.

    ``cams`` are float ``[2, h, w]``, one a network.
    """
    parts = [
        cv2.resize((cam[1] - cam[0]) / temperature, (size, size), interpolation=cv2.INTER_CUBIC)
        for cam, temperature in zip(cams, temperatures, strict=True)
    ]
    return np.mean(parts, axis=0).astype(np.float32)


def paint_evidence(crop: NDArray[np.uint8], evidence: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Lay the evidence over a grey cell on white: orange speaks for a blast, blue for a normal cell.

    ``crop`` and the result are uint8 ``[size, size, 3]`` RGB; the scale is symmetric around zero, a picture's own.
    """
    grey = np.where(crop.any(axis=2), crop.mean(axis=2), 255)[..., None] / 255
    reach = max(float(np.abs(evidence).max()), 1e-6)
    colour = BLUE_ORANGE(0.5 + 0.5 * evidence / reach)[..., :3]
    return np.rint(255 * ((1 - OPACITY) * grey + OPACITY * colour)).astype(np.uint8)


def error_picture(crop: NDArray[np.uint8], evidence: NDArray[np.float32] | None) -> bytes:
    """The cell, and beside it its map, as one PNG of ``2 x size`` by ``size`` px; white where there is no map."""
    beside = np.full_like(crop, 255) if evidence is None else paint_evidence(crop, evidence)
    both = np.concatenate([crop, beside], axis=1)
    done, png = cv2.imencode(".png", np.ascontiguousarray(both[:, :, ::-1]))
    assert done
    return png.tobytes()


def split_picture(png: bytes) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """The cell and the map of an ``error_picture``, uint8 RGB each."""
    both = cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_COLOR)
    if both is None:
        raise ValueError("not a picture")
    half = both.shape[1] // 2
    rgb = np.ascontiguousarray(both[:, :, ::-1]).astype(np.uint8)
    return rgb[:, :half], rgb[:, half:]
