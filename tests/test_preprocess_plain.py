"""The builder's fast path beside a plain one: the whole frame, bit for bit; Macenko, in float64."""

import sys
from concurrent.futures import ThreadPoolExecutor

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from build_shards.percentile import percentiles
from build_shards.preprocess import cell_pixels, preprocess
from build_shards.stain import fit_target, measure, normalise
from build_shards.synthetic import draw_cell
from contract.recipe import Recipe


def plain_crop(image: np.ndarray, box: tuple[int, int, int, int], size: int) -> np.ndarray:
    """Cut the whole window, average colours and mask apart, divide; no part of it is left out."""
    left, top, side, _ = box
    frame = np.pad(image, ((side, side), (side, side), (0, 0)))
    window = frame[top + side : top + 2 * side, left + side : left + 2 * side]
    mask = window.any(axis=2)
    colour = cv2.resize(window.astype(np.float32), (size, size), interpolation=cv2.INTER_AREA)
    coverage = cv2.resize(mask.astype(np.float32), (size, size), interpolation=cv2.INTER_AREA)
    kept = coverage >= 0.5
    out = np.zeros((size, size, 3), np.uint8)
    out[kept] = np.clip(np.rint(colour[kept] / coverage[kept, None]), 1, 255)
    return out


def plain_macenko(pixels: np.ndarray, target: tuple[float, ...]) -> np.ndarray:
    """Macenko et al. as written, by NumPy in float64: grey levels, ``[M, 3]``, not yet rounded."""
    OD = -np.log((pixels.T.astype(np.float64) + 1) / 240)  # noqa: N806
    stained = OD[:, (OD >= 0.15).all(axis=0)]
    plane = np.linalg.eigh(np.cov(stained))[1][:, 1:]
    plane = plane * np.where(stained.mean(axis=1) @ plane < 0, -1, 1)
    x, y = plane.T @ stained
    extremes = np.percentile(np.arctan2(y, x), [1, 99])
    stains = plane @ np.stack([np.cos(extremes), np.sin(extremes)])
    stains = stains[:, ::-1] if stains[0, 0] <= stains[0, 1] else stains
    amounts = np.linalg.pinv(stains) @ OD
    gains = np.array(target[6:]) / np.percentile(amounts, 99, axis=1)
    wanted = np.array(target[:6]).reshape(2, 3).T
    return np.clip(240 * np.exp(-wanted @ (gains[:, None] * amounts)) - 1, 1, 255).T


@settings(max_examples=60, deadline=None)
@given(
    st.integers(0, 2**32 - 1),
    st.sampled_from(["native", "box", "none"]),
    st.integers(33, 130),
    st.integers(33, 130),
    st.tuples(*[st.integers(0, 100)] * 4),
)
def test_averaging_around_the_cell_alone_gives_the_bits_of_the_whole_window(
    seed: int, crop: str, window: int, size: int, edges: tuple[int, ...]
):
    rng = np.random.default_rng(seed)
    top, left, height, width = edges[0], edges[1], 20 + edges[2], 20 + edges[3]
    image = np.zeros((230, 250, 3), np.uint8)
    cell = cv2.GaussianBlur(rng.normal(0, 1, (height, width)), (0, 0), 2) > -0.05
    cell[:20, :20] = True  # large enough to be stored whatever the sizes
    image[top : top + height, left : left + width] = rng.integers(1, 256, (height, width, 3)) * cell[..., None]
    out = preprocess(image, Recipe(crop=crop, window=window, size=size), "x")
    np.testing.assert_array_equal(out.image, plain_crop(image, out.box, size))


@pytest.mark.parametrize(
    ("window", "size"), [(288, 112), (288, 96), (288, 288), (300, 100), (256, 224), (90, 100), (240, 480), (240, 360)]
)
@pytest.mark.parametrize("crop", ["native", "box", "none"])
def test_drawn_cells_are_cropped_as_plainly_written_code_does(crop: str, window: int, size: int):
    image = draw_cell(1, 0.5, np.random.default_rng(3))
    for shift in (0, 1, 17, 40):
        moved = np.roll(image, (shift, -shift), axis=(0, 1))
        out = preprocess(moved, Recipe(crop=crop, window=window, size=size), "x")
        np.testing.assert_array_equal(out.image, plain_crop(moved, out.box, size))


def test_an_image_that_is_not_contiguous_gives_the_same_cell():
    image = draw_cell(1, 0.5, np.random.default_rng(3))
    whole = preprocess(image, Recipe(), "x").image
    upside_down = np.ascontiguousarray(image[::-1, :, ::-1])  # as a BMP lies in its file
    for view in (
        np.ascontiguousarray(image[..., ::-1])[..., ::-1],
        upside_down[::-1, :, ::-1],
        np.asfortranarray(image),
    ):
        np.testing.assert_array_equal(view, image)
        np.testing.assert_array_equal(preprocess(view, Recipe(), "x").image, whole)
        np.testing.assert_array_equal(cell_pixels(view), cell_pixels(image))


def test_the_cells_pixels_come_in_row_order_and_alone():
    image = draw_cell(0, 0.5, np.random.default_rng(4))
    np.testing.assert_array_equal(cell_pixels(image), image[image.any(axis=2)])
    assert cell_pixels(np.zeros((9, 9, 3), np.uint8)).shape == (0, 3)


@pytest.mark.parametrize("bright", [0, 500])  # pixels below BETA, which are left out of the stain vectors
def test_macenko_rounds_what_plainly_written_code_gives_in_float64(bright: int):
    rng = np.random.default_rng(5)
    cells = [cell_pixels(draw_cell(i % 2, rng.normal(), rng)) for i in range(6)]
    target = fit_target([found for cell in cells if (found := measure(cell, "macenko")) is not None], "macenko")
    compared = 0
    for cell in cells:
        pixels = np.concatenate([cell, rng.integers(215, 256, (bright, 3), dtype=np.uint8)])
        result = normalise(pixels, "macenko", target)
        if result is not None:
            # Half a grey level is the rounding itself; the rest, float32 on the way.
            assert np.abs(result - plain_macenko(pixels, target)).max() <= 0.5 + 1e-3
            compared += 1
    assert compared >= 4


def plain_reinhard(pixels: np.ndarray, target: tuple[float, ...]) -> np.ndarray:
    """Reinhard et al. with every pixel taken to Lab and back for itself, however often its colour comes."""
    levels = np.arange(256) / 255
    linear = np.where(levels > 0.04045, ((levels + 0.055) / 1.055) ** 2.4, levels / 12.92).astype(np.float32)
    lab = cv2.cvtColor(linear[pixels][:, None], cv2.COLOR_LRGB2Lab)
    means, stds = cv2.meanStdDev(lab)
    for channel in range(3):
        gain = target[3 + channel] / stds[channel, 0]
        lab[..., channel] = lab[..., channel] * np.float32(gain)
        lab[..., channel] += np.float32(target[channel] - gain * means[channel, 0])
    light = cv2.cvtColor(lab, cv2.COLOR_Lab2RGB)[:, 0] * np.float32(255)
    return np.rint(np.clip(light, 1, 255)).astype(np.uint8)


def test_reinhard_is_bit_for_bit_what_plainly_written_code_gives():
    rng = np.random.default_rng(6)
    cells = [cell_pixels(draw_cell(i % 2, rng.normal(), rng)) for i in range(4)]
    cells += [rng.integers(0, 256, (20000, 3), dtype=np.uint8), np.repeat(cells[0][:50], 40, axis=0)]
    target = fit_target([found for cell in cells[:4] if (found := measure(cell, "reinhard")) is not None], "reinhard")
    for cell in cells:  # one after the other: what a cell leaves in the table of colours must not reach the next
        result = normalise(cell, "reinhard", target)
        assert result is not None
        np.testing.assert_array_equal(result, plain_reinhard(cell, target))


def test_threads_that_normalise_at_once_do_not_mix_their_colours():
    rng = np.random.default_rng(7)
    cells = [rng.integers(0, 256, (20000, 3), dtype=np.uint8) for _ in range(4)] * 6
    own = measure(cells[0], "reinhard")
    assert own is not None
    alone = [normalise(cell, "reinhard", own) for cell in cells[:4]] * 6
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        with ThreadPoolExecutor(4) as pool:
            together = list(pool.map(lambda cell: normalise(cell, "reinhard", own), cells))
    finally:
        sys.setswitchinterval(interval)
    for one, other in zip(alone, together, strict=True):
        np.testing.assert_array_equal(one, other)


def plain_percentile(values: np.ndarray, percent: float) -> float:
    ordered, place = np.sort(values).astype(np.float64), percent / 100 * (len(values) - 1)
    low, high = ordered[int(np.floor(place))], ordered[int(np.ceil(place))]
    return float(low + (high - low) * (place - np.floor(place)))


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(100, 5000), st.sampled_from(["normal", "ties", "sorted", "periodic"]))
def test_percentiles_are_those_of_numpy(seed: int, count: int, kind: str):
    rng = np.random.default_rng(seed)
    values = {
        "normal": rng.normal(0, 1, count),
        "ties": rng.integers(0, 3, count),
        "sorted": np.sort(rng.normal(0, 1, count)),
        "periodic": np.where(np.arange(count) % 16 == 0, rng.uniform(5, 6, count), rng.uniform(0, 1, count)),
    }[kind].astype(np.float32)  # periodic: the pixels that tell where the tail begins all lie above it, or below
    for sign in (1, -1):
        found = percentiles(sign * values, 1, 99)
        np.testing.assert_array_equal(found, [plain_percentile(sign * values, p) for p in (1, 99)])
        np.testing.assert_allclose(found, np.percentile(sign * values.astype(np.float64), [1, 99]), rtol=1e-12)
