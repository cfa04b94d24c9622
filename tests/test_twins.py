"""Twins: candidates, turned or mirrored; what no verification passes; how many pairs would be alike by chance."""

import cv2
import numpy as np
import pytest

from build_shards.fingerprint import Fingerprint
from build_shards.synthetic import draw_cell
from build_shards.twins import (
    CANDIDATE,
    Chance,
    _chance,
    _correlation,
    _detail,
    candidates,
    compare,
    describe,
    find_twins,
)


@pytest.fixture
def texture_and_mask() -> tuple[np.ndarray, np.ndarray]:
    """The texture of a drawn cell's patch and where the cell is, both float32 ``[96, 96]``."""
    return _detail(draw_cell(1, 0.0, np.random.default_rng(0), 96)[:, :, 1])


def test_a_mirrored_cell_is_no_twin_and_is_found_among_mirrored_pairs() -> None:
    first = np.zeros((96, 96), np.uint8)
    first[10:86, 10:86] = np.random.default_rng(0).integers(1, 255, (19, 19)).repeat(4, 0).repeat(4, 1)
    pair = np.stack([describe(first), describe(np.ascontiguousarray(first[:, ::-1]))])
    assert candidates(pair, mirrored=False) == []
    assert candidates(pair, mirrored=True) == [(0, 1, 0)]


def test_two_views_of_a_cell_that_is_its_own_mirror_image_are_twins_and_no_chance() -> None:
    patch = np.zeros((96, 96), np.uint8)
    half = np.random.default_rng(0).integers(1, 255, (19, 10)).repeat(4, 0).repeat(4, 1)
    patch[10:86, 8:88] = np.hstack([half, half[:, ::-1]])
    matches, chance = find_twins([Fingerprint(f"{i}", 6080, 1.0, patch) for i in range(2)], workers=1)
    assert [(match.first, match.second, match.identical) for match in matches] == [(0, 1, False)]
    assert (chance.pairs, chance.mirrored_twins) == (1, 0)


def test_candidates_do_not_depend_on_the_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    cells = rng.normal(size=(23, 32, 32)).astype(np.float32)
    again = np.stack([np.rot90(cell, k % 4) for k, cell in enumerate(cells)])
    both = np.concatenate([cells, again])[rng.permutation(46)]
    both /= np.linalg.norm(both, axis=(1, 2), keepdims=True)
    whole = candidates(both, mirrored=False)
    assert len(whole) == 23
    assert len({k for *_, k in whole}) == 4
    monkeypatch.setattr("build_shards.twins.BLOCK", 7)
    assert candidates(both, mirrored=False) == whole


def test_of_too_many_candidates_the_best_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("build_shards.twins.MOST", 1)
    rng = np.random.default_rng(0)
    cell = rng.normal(size=(32, 32)).astype(np.float32)
    noises = (0.01, 0.02, 0.6, 0.6, 0.6)
    noisy = np.stack([cell + noise * rng.normal(size=cell.shape).astype(np.float32) for noise in noises])
    noisy /= np.linalg.norm(noisy, axis=(1, 2), keepdims=True)
    found = candidates(noisy, mirrored=False)
    assert len(found) == 5
    assert (0, 1, 0) in found


def uneven(seed: int) -> np.ndarray:
    """A patch of a square cell, unlike that of another seed."""
    patch, noise = np.zeros((96, 96), np.uint8), np.random.default_rng(seed).normal(0, 1, (76, 76))
    patch[10:86, 10:86] = np.clip(120 + 40 * cv2.GaussianBlur(noise, (0, 0), 1.5), 1, 200)
    return patch


def test_a_descriptor_has_no_mean_and_norm_1_and_is_empty_outside_the_mask() -> None:
    described = describe(uneven(1))
    assert described.sum() == pytest.approx(0, abs=1e-4)
    assert np.linalg.norm(described) == pytest.approx(1)
    assert not described[:3].any()  # outside the mask


def test_a_bright_vacuole_in_both_makes_no_strangers_alike() -> None:
    first, second = uneven(1), uneven(2)
    for patch in (first, second):
        patch[44:54, 46:56] = 255
    assert candidates(np.stack([describe(first), describe(second)]), mirrored=False) == []
    assert compare(first, second, 0, False) < 0.5


@pytest.mark.parametrize("shift", [(3, -4), (-5, 6)])
def test_a_cell_that_lies_elsewhere_in_its_patch_is_aligned(shift: tuple[int, int]) -> None:
    assert compare(uneven(1), np.roll(uneven(1), shift, (0, 1)), 0, False) > 0.99


def test_an_alignment_that_misleads_is_not_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    astray = np.array([[1, 0, 50], [0, 1, 0]], np.float32)
    monkeypatch.setattr("cv2.findTransformECC", lambda *_: (0.0, astray))
    assert compare(uneven(1), uneven(1), 0, False) == pytest.approx(1)


@pytest.mark.parametrize(("shift", "compared"), [(0, True), (11, True), (13, False)])
def test_cells_that_lie_further_than_twelve_pixels_apart_are_not_compared(
    texture_and_mask: tuple[np.ndarray, np.ndarray], shift: int, compared: bool
) -> None:
    warp = np.array([[1, 0, shift], [0, 1, 0]], np.float32)
    assert (_correlation(*texture_and_mask, *texture_and_mask, warp) > -1) == compared


def test_masks_that_hardly_overlap_are_not_compared(texture_and_mask: tuple[np.ndarray, np.ndarray]) -> None:
    texture, inside = texture_and_mask
    right, left = inside.copy(), inside.copy()
    right[:, :48] = 0
    left[:, 51:] = 0
    unmoved = np.eye(2, 3, dtype=np.float32)
    assert _correlation(texture * right, right, texture * left, left, unmoved) == -1


@pytest.mark.parametrize(("degrees", "compared"), [(11, True), (-11, True), (13, False), (-13, False)])
def test_cells_that_are_turned_by_more_than_twelve_degrees_are_not_compared(
    texture_and_mask: tuple[np.ndarray, np.ndarray], degrees: float, compared: bool
) -> None:
    warp = cv2.getRotationMatrix2D((48, 48), degrees, 1).astype(np.float32)
    assert (_correlation(*texture_and_mask, *texture_and_mask, warp) > -1) == compared


def test_chance_is_fitted_to_the_fifty_most_alike_of_the_mirrored_pairs() -> None:
    z = 0.5 + 0.01 * np.random.default_rng(0).permutation(100)  # the fifty highest: 1.00 to 1.49
    chance = _chance(np.tanh(z).tolist(), 4950)
    assert (chance.pairs, chance.count) == (4950, 50)
    assert chance.mirrored_twins == 20  # a twin's 0.86 is 1.293
    assert (chance.highest, chance.start, chance.scale) == pytest.approx((np.tanh(1.49), 1, 0.245))


def test_chance_is_that_of_the_archives_cells_where_mirrored_pairs_are_few_or_hardly_differ() -> None:
    few = _chance([0.9, 0.6], 10)
    assert (few.mirrored_twins, few.highest, few.count, few.scale) == (1, 0.9, 2, 0.11)
    assert few.start == pytest.approx(np.arctanh(CANDIDATE))
    assert _chance([], 10) == Chance(10, 0, 0.0, float(np.arctanh(CANDIDATE)), 1, 0.11)
    assert _chance([-1.0], 10).highest == 0  # of a pair that does not align
    assert _chance([0.7] * 20, 10).scale == 0.08  # a steeper tail would call any pair sure
