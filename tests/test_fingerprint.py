"""What the audit keeps of one image: the values are the cell's own, and the patch shows its middle, upright."""

import hashlib
from pathlib import Path

import cv2
import numpy as np
import pytest

from build_shards.fingerprint import PATCH, Fingerprint, fingerprint

COLOUR = (200, 100, 50)  # R, G, B


def of_cell(folder: Path, rows: slice, columns: slice, shape: tuple[int, int] = (448, 448)) -> Fingerprint:
    """The fingerprint of an image with one rectangular cell of ``COLOUR``; its first 40 rows are darker."""
    image = np.zeros((*shape, 3), np.uint8)
    image[rows, columns] = COLOUR
    image[rows.start : rows.start + 40, columns] = [value // 2 for value in COLOUR]
    assert cv2.imwrite(str(folder / "cell.bmp"), np.ascontiguousarray(image[:, :, ::-1]))
    return fingerprint(folder / "cell.bmp")


def test_hash_area_and_density_are_of_the_file_and_of_the_cell_alone(tmp_path: Path) -> None:
    found = of_cell(tmp_path, slice(100, 300), slice(40, 240))
    assert found.sha256 == hashlib.sha256((tmp_path / "cell.bmp").read_bytes()).hexdigest()
    assert found.area == 200 * 200
    bright, dark = (-np.log(np.array(COLOUR) // part / 255).mean() for part in (1, 2))
    assert found.density == pytest.approx(0.8 * bright + 0.2 * dark, abs=1e-5)


def test_the_patch_is_grey_upright_and_centred_without_the_masks_edge(tmp_path: Path) -> None:
    patch = of_cell(tmp_path, slice(160, 360), slice(40, 360)).patch
    rows, columns = np.nonzero(patch)
    # 200 by 320 px are 50 by 80, of which 2 px go on every side.
    assert (np.ptp(rows) + 1, np.ptp(columns) + 1) == (46, 76)
    assert (rows.mean(), columns.mean()) == pytest.approx((PATCH / 2, PATCH / 2), abs=0.5)
    grey = round(0.299 * COLOUR[0] + 0.587 * COLOUR[1] + 0.114 * COLOUR[2])
    assert patch[rows.max(), 48] == grey
    assert patch[rows.min(), 48] == pytest.approx(grey / 2, abs=1)


@pytest.mark.parametrize("shape", [(448, 224), (224, 448)])
def test_an_images_longer_side_sets_the_scale(tmp_path: Path, shape: tuple[int, int]) -> None:
    rows, columns = np.nonzero(of_cell(tmp_path, slice(40, 160), slice(40, 160), shape).patch)
    assert (np.ptp(rows) + 1, np.ptp(columns) + 1) == (26, 26)  # 120 px are 30


def test_a_cell_too_small_to_lose_its_edge_keeps_it(tmp_path: Path) -> None:
    assert np.count_nonzero(of_cell(tmp_path, slice(100, 140), slice(100, 140)).patch) == 100  # 6 by 6 without it
    assert np.count_nonzero(of_cell(tmp_path, slice(100, 148), slice(100, 148)).patch) == 64  # 8 by 8 without it


def test_a_cell_at_the_edge_of_its_image_loses_its_edge_there_too(tmp_path: Path) -> None:
    rows, columns = np.nonzero(of_cell(tmp_path, slice(0, 200), slice(0, 320)).patch)
    assert (np.ptp(rows) + 1, np.ptp(columns) + 1) == (46, 76)


def test_a_pixel_that_is_half_covered_is_as_bright_as_the_cell_in_it(tmp_path: Path) -> None:
    patch = of_cell(tmp_path, slice(102, 142), slice(102, 142)).patch  # 9 by 9, and half a pixel on every side
    assert np.count_nonzero(patch) == 9 * 9 + 4 * 9
    assert len(np.unique(patch[patch > 0])) == 1


def test_the_darkest_cell_is_no_background_in_its_patch(tmp_path: Path) -> None:
    image = np.zeros((448, 448, 3), np.uint8)
    image[100:200, 100:200, 2] = 1  # red, and 0.299 of it is grey
    assert cv2.imwrite(str(tmp_path / "dark.bmp"), image)
    assert np.count_nonzero(fingerprint(tmp_path / "dark.bmp").patch == 1) == 21 * 21
