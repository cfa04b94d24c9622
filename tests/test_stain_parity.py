"""Stain normalisation beside torchstain's numpy backend, on drawn cells and on real ones where they lie here."""

import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from torchstain.numpy.normalizers import NumpyMacenkoNormalizer, NumpyReinhardNormalizer

from build_shards.preprocess import cell_mask
from build_shards.stain import fit_target, measure, normalise
from build_shards.synthetic import draw_cell

UNPACK = Path(__file__).resolve().parent.parent.parent / "shared" / "data" / "unpack.py"


def drawn_cells(count: int) -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    images = [draw_cell(i % 2, rng.normal(), rng) for i in range(count)]
    return [image[cell_mask(image)] for image in images]


CELLS = drawn_cells(6)


def target_of(cells: list[np.ndarray], method: str) -> tuple[float, ...]:
    return fit_target([found for cell in cells if (found := measure(cell, method)) is not None], method)


def torchstain_normalise(pixels: np.ndarray, method: str, target: tuple[float, ...]) -> np.ndarray:
    """The same by torchstain, for an image without background, its target set to ours."""
    if method == "reinhard":
        peer = NumpyReinhardNormalizer()
        peer.target_means, peer.target_stds = np.array(target[:3]), np.array(target[3:])
        return peer.normalize(pixels[:, None])[:, 0]
    peer = NumpyMacenkoNormalizer()
    peer.HERef, peer.maxCRef = np.array(target[:6]).reshape(2, 3).T, np.array(target[6:])
    return peer.normalize(pixels[:, None], stains=False)[0][:, 0]


def assert_parity(cells: list[np.ndarray], method: str) -> None:
    target = target_of(cells, method)
    for pixels in cells:
        ours = normalise(pixels, method, target)
        assert ours is not None
        difference = np.abs(torchstain_normalise(pixels, method, target).astype(int) - ours)
        assert (difference <= 1).mean() >= 0.99


@pytest.mark.parametrize("method", ["reinhard", "macenko"])
def test_drawn_cells_agree_with_torchstain_within_one_grey_level(method: str):
    assert_parity(CELLS, method)


@pytest.fixture(scope="module")
def real_cells(tmp_path_factory: pytest.TempPathFactory) -> list[np.ndarray]:
    if not UNPACK.is_file():
        pytest.skip("the real cells (../shared/data) are not here")
    folder = tmp_path_factory.mktemp("real")
    subprocess.run([sys.executable, str(UNPACK), str(folder), "--limit", "3"], check=True, capture_output=True)
    images = [cv2.imread(str(path)) for path in sorted(folder.rglob("*.bmp"))]
    return [image[..., ::-1][cell_mask(image)] for image in images]


@pytest.mark.parametrize("method", ["reinhard", "macenko"])
def test_real_cells_agree_with_torchstain_within_one_grey_level(method: str, real_cells: list[np.ndarray]):
    assert_parity(real_cells, method)


@pytest.mark.parametrize("method", ["reinhard", "macenko", "vahadane"])
def test_every_real_cell_can_be_measured(method: str, real_cells: list[np.ndarray]):
    # Their two stains lie 7 to 16 degrees apart: thresholds made for tissue would pass all of them unchanged.
    assert all(measure(pixels, method) is not None for pixels in real_cells)


@pytest.mark.parametrize("method", ["reinhard", "macenko"])
def test_statistics_are_those_torchstain_fits(method: str):
    pixels = CELLS[0]
    peer = NumpyReinhardNormalizer() if method == "reinhard" else NumpyMacenkoNormalizer()
    peer.fit(pixels[:, None])
    if method == "reinhard":
        expected = [*peer.target_means, *peer.target_stds]
    else:
        expected = [*peer.HERef.T.ravel(), *peer.maxCRef]
    np.testing.assert_allclose(measure(pixels, method), expected, rtol=1e-3, atol=2e-3)
