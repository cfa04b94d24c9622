import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from build_shards.preprocess import cell_mask, preprocess
from contract.errors import UserError
from contract.recipe import Recipe

CROPS = ["native", "box", "none"]


def disc(radius: int, colour: tuple[int, int, int] = (180, 60, 140), side: int = 450) -> np.ndarray:
    image = np.zeros((side, side, 3), np.uint8)
    cv2.circle(image, (side // 2, side // 2), radius, colour, -1)
    return image


def textured(radius: int, low: int = 1) -> np.ndarray:
    noise = np.random.default_rng(0).integers(low, 256, (450, 450, 3), dtype=np.uint8)
    return noise * cell_mask(disc(radius))[..., None].astype(np.uint8)


def area_weights(source: int, target: int) -> np.ndarray:
    """float64 ``[target, source]``: the share of every source pixel in every target pixel."""
    edges = np.arange(target + 1) * source / target
    low, high = edges[:-1, None], edges[1:, None]
    pixel = np.arange(source)[None]
    return np.clip(np.minimum(high, pixel + 1) - np.maximum(low, pixel), 0, None) * target / source


def reference_resize(image: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Mean colour of the cell pixels under every target pixel, and the covered share, in float64."""
    rows, columns = area_weights(image.shape[0], size), area_weights(image.shape[1], size)
    coverage = rows @ cell_mask(image).astype(np.float64) @ columns.T
    colour = np.stack([rows @ image[..., c].astype(np.float64) @ columns.T for c in range(3)], axis=2)
    return colour / np.maximum(coverage, 1e-12)[..., None], coverage


@pytest.mark.parametrize("crop", CROPS)
@pytest.mark.parametrize("size", [33, 112, 450, 600])  # 600 is larger than the source: size upscaling works
def test_a_cell_of_one_colour_keeps_it_exactly_to_its_border(crop: str, size: int):
    # A resize that mixes the border with the black background leaves a dark fringe.
    colour = (201, 3, 77)
    image = preprocess(disc(90, colour), Recipe(crop=crop, size=size), "x").image
    assert image.shape == (size, size, 3)
    assert image.dtype == np.uint8
    np.testing.assert_array_equal(np.unique(image.reshape(-1, 3), axis=0), [(0, 0, 0), colour])


@pytest.mark.parametrize("crop", CROPS)
def test_cell_pixels_are_never_zero_and_background_always_is(crop: str):
    recipe = Recipe(crop=crop)
    dim = preprocess(disc(90, (1, 0, 0)), recipe, "x").image
    bright = preprocess(disc(90, (255, 255, 255)), recipe, "x").image
    np.testing.assert_array_equal(cell_mask(dim), cell_mask(bright))
    assert (dim[cell_mask(dim)] > 0).all()
    assert not bright[[0, 0, -1, -1], [0, -1, 0, -1]].any()  # no disc reaches the corners


def test_a_hole_of_pure_black_in_a_cell_stays_background():
    image = disc(100)
    image[200:250, 200:250] = 0
    out = preprocess(image, Recipe(crop="box", size=101), "x").image
    assert (out[45:55, 45:55] == 0).all()


def test_native_keeps_one_scale_for_all_cells():
    small, large = (cell_mask(preprocess(disc(r), Recipe(), "x").image).sum() for r in (50, 100))
    assert large / small == pytest.approx(4, rel=0.05)


def test_box_gives_every_cell_the_same_size():
    small, large = (cell_mask(preprocess(disc(r), Recipe(crop="box"), "x").image).sum() for r in (50, 100))
    assert large / small == pytest.approx(1, rel=0.02)


def test_none_keeps_the_whole_frame():
    image = textured(120)
    crop = preprocess(image, Recipe(crop="none", size=450), "x")
    assert crop.box == (0, 0, 450, 450)
    np.testing.assert_array_equal(crop.image, image)


def test_none_pads_a_frame_that_is_not_square():
    crop = preprocess(disc(90)[50:400], Recipe(crop="none", size=450), "x")
    assert crop.box == (0, -50, 450, 450)
    np.testing.assert_array_equal(crop.image, disc(90))


def test_native_at_the_windows_own_size_is_a_plain_cut():
    crop = preprocess(textured(100), Recipe(window=288, size=288), "x")
    left, top, width, height = crop.box
    np.testing.assert_array_equal(crop.image, textured(100)[top : top + height, left : left + width])
    assert not crop.shrunk


def test_a_cell_larger_than_the_window_is_shrunk_whole_and_flagged():
    crop = preprocess(disc(170), Recipe(window=288), "x")
    mask = cell_mask(crop.image)
    assert crop.shrunk
    assert crop.box[2:] == (341, 341)
    assert mask.mean() == pytest.approx(np.pi / 4, abs=0.02)  # the whole disc in its box, nothing cut off
    assert not mask[[0, 0, -1, -1], [0, -1, 0, -1]].any()


def test_a_cell_as_large_as_the_window_is_not_shrunk():
    assert not preprocess(disc(144), Recipe(window=289), "x").shrunk
    assert preprocess(disc(144), Recipe(window=288), "x").shrunk  # a disc of radius 144 spans 289 px


@pytest.mark.parametrize("crop", ["box", "none"])
def test_only_native_can_shrink(crop: str):
    assert not preprocess(disc(170), Recipe(crop=crop, window=100), "x").shrunk


@pytest.mark.parametrize("crop", ["native", "box"])
@pytest.mark.parametrize("padding", [((0, 100), (0, 0)), ((37, 12), (5, 60)), ((1, 0), (1, 0))])
def test_more_background_around_the_cell_gives_the_same_crop(crop: str, padding: tuple[tuple[int, int], ...]):
    image, recipe = textured(95), Recipe(crop=crop)
    padded = np.pad(image, (*padding, (0, 0)))
    plain, shifted = preprocess(image, recipe, "x"), preprocess(padded, recipe, "x")
    np.testing.assert_array_equal(shifted.image, plain.image)
    assert shifted.box[0] - plain.box[0] == padding[1][0]
    assert shifted.box[1] - plain.box[1] == padding[0][0]


@pytest.mark.parametrize("corner", [np.s_[175:, 175:], np.s_[:276, :276]])
def test_a_crop_that_reaches_outside_the_image_is_filled_with_background(corner: tuple[slice, slice]):
    whole = preprocess(textured(50), Recipe(), "x").image
    np.testing.assert_array_equal(preprocess(textured(50)[corner], Recipe(), "x").image, whole)


@pytest.mark.parametrize("crop", CROPS)
def test_an_image_of_background_alone_is_refused_by_name(crop: str):
    with pytest.raises(UserError, match=r"cell\.bmp: all background"):
        preprocess(np.zeros((450, 450, 3), np.uint8), Recipe(crop=crop), "cell.bmp")


def test_a_speck_that_would_leave_an_empty_image_is_refused_by_name():
    # One bright pixel covers less than half of any stored pixel: stored, it would be a cell without a pixel.
    image = np.zeros((450, 450, 3), np.uint8)
    image[200, 200] = 90
    with pytest.raises(UserError, match=r"speck\.bmp"):
        preprocess(image, Recipe(), "speck.bmp")


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(40, 120), st.sampled_from(["native", "box"]), st.integers(33, 40))
def test_pixels_and_mask_agree_with_a_float64_reference(seed: int, side: int, crop: str, size: int):
    rng = np.random.default_rng(seed)
    noise = cv2.GaussianBlur(rng.normal(0, 1, (side, side)), (0, 0), 3)
    image = rng.integers(1, 256, (side, side, 3), dtype=np.uint8) * (noise > -0.02)[..., None].astype(np.uint8)
    image[0, 0] = image[-1, -1] = 200  # so the bounding box is the frame, and the crop needs no knowledge of ours
    out = preprocess(image, Recipe(crop=crop, window=side, size=size), "x")
    colour, coverage = reference_resize(image, size)
    assert out.box == (0, 0, side, side)
    kept, clear = cell_mask(out.image), np.abs(coverage - 0.5) > 1e-4
    np.testing.assert_array_equal(kept[clear], (coverage >= 0.5)[clear])
    assert np.abs(out.image[kept] - colour[kept]).max() <= 0.5 + 1e-2


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 300), st.integers(0, 300), st.integers(20, 150), st.integers(20, 150), st.sampled_from(CROPS))
def test_the_box_is_square_and_holds_the_cell(left: int, top: int, width: int, height: int, crop: str):
    image = np.zeros((450, 450, 3), np.uint8)
    image[top : top + height, left : left + width] = 77
    out = preprocess(image, Recipe(crop=crop, window=100, size=64), "x")
    x, y, w, h = out.box
    assert w == h
    assert x <= left
    assert y <= top
    assert left + width <= x + w
    assert top + height <= y + h
    assert out.shrunk == (crop == "native" and max(width, height) > 100)


def test_a_thread_of_cell_pixels_that_would_leave_an_empty_image_is_refused():
    # 20 pixels are enough for a cell, but in one row they cover less than half of any stored pixel.
    image = np.zeros((450, 450, 3), np.uint8)
    image[200, 200:220] = 90
    with pytest.raises(UserError, match="too few for one pixel"):
        preprocess(image, Recipe(size=33), "x")


def test_sixteen_pixels_are_a_cell_and_fifteen_are_none():
    image = np.zeros((60, 60, 3), np.uint8)
    image[10:14, 10:14] = 90
    preprocess(image, Recipe(size=33, window=33), "x")
    image[10, 10] = 0
    with pytest.raises(UserError, match="fewer than 16"):
        preprocess(image, Recipe(size=33, window=33), "x")


def test_a_window_that_cannot_lie_in_the_middle_lies_half_a_pixel_to_the_left_and_upwards():
    image = np.zeros((60, 60, 3), np.uint8)
    image[10:31, 3:20] = 200  # middle at 20.5 and 11.5; of a window of 40 px at whole pixels
    assert preprocess(image, Recipe(window=40, size=40), "x").box == (-9, 0, 40, 40)
