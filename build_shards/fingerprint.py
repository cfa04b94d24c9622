"""What the audit keeps of one image: its hash, size, stain, and a small grey patch that twins are compared on."""

import hashlib
import math
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from build_shards.preprocess import cell_mask, read_image
from contract.errors import UserError

FRAME = 112  # px: the image's longer side when shrunk for a patch; 4 source pixels each for 450 px
PATCH = 96  # px: side of a patch, the middle of the frame
ERODED = 5  # px: kernel that takes the mask's edge away, 2 px a side (8 source pixels): edges differ between twins
SMALLEST = 40  # px: an eroded mask below it is given up for the mask itself
DENSITY = -np.log(np.maximum(np.arange(256), 1) / 255).astype(np.float32)  # optical density of a uint8 value


@dataclass(frozen=True, eq=False)
class Fingerprint:
    """One image, small enough to hold all of a dataset in memory (about 9 kB)."""

    sha256: str  # of the file
    area: int  # cell pixels
    density: float  # mean optical density of the cell pixels over R, G, B (natural logarithm)
    patch: NDArray[np.uint8]  # [PATCH, PATCH] grey, centred on the cell, zero outside the eroded mask


def fingerprint(file: Path) -> Fingerprint:
    """Read one image; raises ``UserError`` naming the file when it cannot be read or is all background."""
    cv2.setNumThreads(1)  # one worker, one core
    image, data = read_image(file)
    mask = cell_mask(image)
    area = int(np.count_nonzero(mask))
    if area == 0:
        raise UserError(f"{file}: all background: no pixel is brighter than (0, 0, 0)")
    density = float(DENSITY[image[mask]].mean(dtype=np.float64))
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    return Fingerprint(hashlib.sha256(data).hexdigest(), area, density, _patch(grey, mask))


def _patch(grey: NDArray, mask: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """Shrink (the cell's pixels alone), take the mask's edge away, and centre on what is left of the mask."""
    height, width = grey.shape
    size = (max(1, round(width * FRAME / max(grey.shape))), max(1, round(height * FRAME / max(grey.shape))))
    sums = cv2.resize(grey.astype(np.float32), size, interpolation=cv2.INTER_AREA)
    cover = cv2.resize(mask.astype(np.float32), size, interpolation=cv2.INTER_AREA)
    inside = cv2.erode((cover > 0.98).astype(np.uint8), np.ones((ERODED, ERODED), np.uint8), borderValue=0)
    if np.count_nonzero(inside) < SMALLEST:
        inside = (cover >= min(0.5, float(cover.max()))).astype(np.uint8)
    values = np.where(inside, np.clip(np.rint(sums / np.maximum(cover, 1e-3)), 1, 255), 0).astype(np.uint8)
    rows, columns = np.nonzero(inside)
    # The cell's centre is the patch's, within half a pixel.
    top, left = math.ceil(rows.mean()), math.ceil(columns.mean())
    padded = np.pad(values, PATCH // 2)
    return np.ascontiguousarray(padded[top : top + PATCH, left : left + PATCH])
