"""Sixteen numbers of one cell, for the classical baseline: its shape, its colours, its texture.

Everything is measured on cell pixels alone. The native crop keeps one scale for all cells, so sizes compare; on other
crops they are in pixels of the stored image all the same, and mean less.
"""

import cv2
import numpy as np
from numpy.typing import NDArray
from skimage.filters import threshold_otsu
from skimage.measure import regionprops, shannon_entropy
from skimage.morphology import isotropic_erosion

Image = NDArray[np.uint8]

FEATURES = (
    "area",  # cell pixels
    "circularity",  # 4 pi area / perimeter²: 1 for a disc
    "solidity",  # area / area of the convex hull
    "eccentricity",  # of the ellipse of the same second moments: 0 for a disc
    *("mean_r", "mean_g", "mean_b"),
    *("sd_r", "sd_g", "sd_b"),
    *("density_p5", "density_p50", "density_p95"),  # percentiles of optical density, mean over R, G, B
    "dark_share",  # share of the cell that Otsu's threshold calls dark: about nucleus to cell
    "entropy",  # bits of the grey values
    "sharpness",  # log of the Laplacian's variance in the interior, away from the mask's edge
)
INTERIOR = 3  # px that are taken off the mask's edge before sharpness is measured
DENSITY = -np.log(np.maximum(np.arange(256), 1) / 255)  # optical density of a uint8 value (natural logarithm)


def measure(image: Image) -> NDArray[np.float64]:
    """The ``FEATURES`` of a cell on exact black, uint8 ``[H, W, 3]`` RGB: float64 ``[16]``, never NaN.

    Raises ``ValueError`` for an image that is all background.
    """
    mask = np.asarray(image.any(axis=2))
    if not mask.any():
        raise ValueError("an image of background alone has no cell to measure")
    pixels = image[mask].astype(np.float64)
    density = DENSITY[image[mask]].mean(axis=1)
    return np.array(
        [
            *_shape(mask),
            *pixels.mean(axis=0),
            *pixels.std(axis=0),
            *np.percentile(density, (5, 50, 95)),
            float((density > threshold_otsu(density)).mean()),
            float(shannon_entropy(np.rint(pixels.mean(axis=1)))),
            _sharpness(image, mask),
        ]
    )


def _shape(mask: NDArray[np.bool_]) -> tuple[float, float, float, float]:
    """Area, circularity, solidity and eccentricity of the mask, holes and separate pieces included."""
    (region,) = regionprops(np.pad(mask, 1).astype(np.uint8))
    perimeter = float(region.perimeter_crofton)
    area = float(region.area)
    return area, 4 * np.pi * area / max(perimeter, 1.0) ** 2, float(region.solidity), float(region.eccentricity)


def _sharpness(image: Image, mask: NDArray[np.bool_]) -> float:
    """Of the grey image, where the Laplacian sees no background; of the whole cell where that is too small."""
    interior = isotropic_erosion(np.pad(mask, 1), INTERIOR)[1:-1, 1:-1]
    where = interior if interior.any() else mask
    return float(np.log1p(cv2.Laplacian(image.mean(axis=2), cv2.CV_64F)[where].var()))
