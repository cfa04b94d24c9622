"""Evidence: where a network looks, from its class activation map, and the one way in which it is painted.

The demo's picture, the web page and the report's errors all show what is made here: one unit, one pair of colours, one
scale. numpy and OpenCV alone: the web page is up before matplotlib would be imported.
"""

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

NORMAL, BLAST = "#0072b2", "#d55e00"  # blue and vermilion (Okabe-Ito): the colour-blind tell them apart
OPACITY = 0.6  # of the colours over the cell


def evidence_of(cam: NDArray[np.float32], temperature: float) -> NDArray[np.float32]:
    """Evidence for a blast ``[h, w]`` of a class activation map ``[2, h, w]``, in log odds.

    Map of label 1 less map of label 0, over the card's temperature: its mean plus a constant of the network is the
    log odds of the calibrated probability that stands beside it (Zhou et al. 2016, arXiv:1512.04150, eq. 2).
    """
    return (cam[1] - cam[0]) / np.float32(temperature)


def mean_evidence(parts: Sequence[NDArray[np.float32]], size: int) -> NDArray[np.float32]:
    """The mean over networks of their evidence ``[h, w]``, each enlarged to ``[size, size]`` (bicubic)."""
    large = [cv2.resize(part, (size, size), interpolation=cv2.INTER_CUBIC) for part in parts]
    return np.mean(large, axis=0).astype(np.float32)


def reach_of(evidence: NDArray[np.float32]) -> float:
    """The end of a picture's scale, which is symmetric around zero and its own: the strongest evidence in it."""
    return max(float(np.abs(evidence).max()), 1e-6)


def paint_evidence(crop: NDArray[np.uint8], evidence: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Lay evidence ``[side, side]`` over a cell, uint8 ``[size, size, 3]`` RGB; uint8 ``[side, side, 3]`` RGB.

    Orange speaks for a blast, blue for a normal cell, white for neither. The cell, enlarged without smoothing, stands
    in grey on white, so that colours laid over it keep their meaning.
    """
    large = cv2.resize(crop, evidence.shape[::-1], interpolation=cv2.INTER_NEAREST)
    grey = np.where(large.any(axis=2), large.mean(axis=2), 255)[..., None]
    strength = (evidence / reach_of(evidence)).astype(np.float64)[..., None]
    colour = 255 + np.where(strength > 0, _rgb(BLAST) - 255, 255 - _rgb(NORMAL)) * strength
    return np.rint(OPACITY * colour + (1 - OPACITY) * grey).astype(np.uint8)


def legend(classes: Sequence[str]) -> str:
    """What a picture's colours mean, in words; ``classes`` are the names of labels 0 and 1."""
    return f"evidence: blue for {classes[0]}, orange for {classes[1]}, each on its own scale"


def _rgb(colour: str) -> NDArray[np.float64]:
    return np.frombuffer(bytes.fromhex(colour[1:]), np.uint8).astype(np.float64)
