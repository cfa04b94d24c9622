"""The most confident errors: which cells, and the picture of each beside its class activation map."""

import cv2
import numpy as np
from numpy.typing import NDArray

from evaluate.evidence import paint_evidence
from evaluate.predictions import Predictions
from evaluate.report_record import ConfidentError

MOST = 12  # errors shown of each network


def confident_errors(found: Predictions, name: str) -> tuple[tuple[int, ConfidentError], ...]:
    """Positions and descriptions of up to ``MOST`` wrong verdicts, by how sure the network was of what it called."""
    order = most_confident(found, np.flatnonzero(found.verdicts != found.labels), MOST)
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


def most_confident(found: Predictions, cells: NDArray[np.int64], most: int) -> NDArray[np.int64]:
    """Up to ``most`` of these positions, by how sure the network was of what it called."""
    confidence = np.where(found.verdicts == 1, found.probability, 1 - found.probability)[cells]
    return cells[np.argsort(-confidence, kind="stable")][:most]


def error_picture(crop: NDArray[np.uint8], evidence: NDArray[np.float32] | None) -> bytes:
    """The cell, and beside it its map, as one PNG of ``2 x size`` by ``size`` px; white where there is no map."""
    beside = np.full_like(crop, 255) if evidence is None else paint_evidence(crop, evidence)
    return png_of(np.concatenate([crop, beside], axis=1))


def png_of(image: NDArray[np.uint8]) -> bytes:
    """A uint8 ``[H, W, 3]`` RGB image as PNG."""
    done, png = cv2.imencode(".png", image[:, :, ::-1])
    assert done
    return png.tobytes()


def split_picture(png: bytes) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """The cell and the map of an ``error_picture``, uint8 RGB each; raises ``ValueError`` for what is none."""
    both = cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_COLOR) if png else None
    if both is None:
        raise ValueError("not a picture")
    half = both.shape[1] // 2
    rgb = np.ascontiguousarray(both[:, :, ::-1]).astype(np.uint8)
    return rgb[:, :half], rgb[:, half:]
