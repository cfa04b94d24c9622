"""A cell as JPEG beside its mask: the mask to the bit, no fringe, and what a header may hold."""

import struct

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from stored_pixels import SIZE, cell, jpg, round_trip

from build_shards.preprocess import cell_mask
from contract.errors import UserError
from contract.pixels import decode_pixels, encode_pixels
from contract.recipe import Recipe

QUALITIES = [1, 50, 75, 90, 95, 100]


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32 - 1), st.floats(0.01, 0.99), st.sampled_from(QUALITIES))
def test_the_mask_of_a_jpg_comes_back_to_the_bit_whatever_its_shape(seed: int, share: float, quality: int):
    rng = np.random.default_rng(seed)
    image = rng.integers(1, 256, (SIZE, SIZE, 3), dtype=np.uint8) * (rng.random((SIZE, SIZE, 1)) < share)
    image[0, 0] = (1, 0, 0)  # as dim as a cell pixel can be
    back = round_trip(image, jpg(quality))
    np.testing.assert_array_equal(cell_mask(back), cell_mask(image))
    assert (back[~cell_mask(image)] == 0).all()
    assert (back.dtype, back.flags.c_contiguous, back.flags.writeable) == (np.uint8, True, True)


@pytest.mark.parametrize("quality", QUALITIES[1:])
def test_a_jpg_has_no_fringe(quality: int):
    # The border's error must be a little noise: encoded on black, it is darker by 2 (90) to 7 (50) grey levels.
    errors = []
    for seed in range(8):
        image = cell(seed, 112)
        back = decode_pixels(encode_pixels(image, recipe := Recipe(format="jpg", quality=quality)), recipe, "x")
        mask = cell_mask(image)
        inner = cv2.erode(mask.astype(np.uint8), np.ones((3, 3), np.uint8), borderValue=0) > 0
        errors.append(back[mask & ~inner].astype(float) - image[mask & ~inner])
    error = np.concatenate(errors)
    assert abs(error.mean()) < 1
    assert np.abs(error).mean() < 5


@pytest.mark.parametrize("quality", [50, 75, 90])
def test_a_cell_of_one_colour_is_of_one_colour_to_its_border(quality: int):
    # Encoded on black, its border would ripple by some twenty grey levels.
    image = np.zeros((SIZE, SIZE, 3), np.uint8)
    cv2.circle(image, (SIZE // 2, SIZE // 2), 15, (180, 60, 140), -1)
    back = round_trip(image, jpg(quality))
    assert np.abs(back[cell_mask(image)].astype(int) - (180, 60, 140)).max() <= 3


def test_a_higher_quality_is_nearer_and_larger():
    image = cell(0, 112)
    recipes = [Recipe(format="jpg", quality=quality) for quality in (30, 75, 95)]
    encoded = [encode_pixels(image, recipe) for recipe in recipes]
    sizes = [len(members["jpg"]) for members in encoded]
    errors = [
        np.abs(decode_pixels(m, r, "x").astype(int) - image).mean() for m, r in zip(encoded, recipes, strict=True)
    ]
    assert sizes == sorted(set(sizes))  # three different ones
    assert errors == sorted(set(errors), reverse=True)


def test_a_jpg_stores_its_colours_as_finely_as_its_brightness():
    data = encode_pixels(cell(), jpg(90))["jpg"]
    frame = data.index(b"\xff\xc0")
    assert [data[frame + 11 + 3 * channel] for channel in range(3)] == [0x11] * 3  # sampling factors: one by one


def test_an_orientation_written_into_a_jpg_turns_nothing():
    members = encode_pixels(cell(), jpg(90))
    tiff = b"II*\0" + struct.pack("<IHHHIHHI", 8, 1, 0x0112, 3, 1, 6, 0, 0)  # orientation 6: a quarter turn
    exif = b"\xff\xe1" + struct.pack(">H", 8 + len(tiff)) + b"Exif\0\0" + tiff
    turned = members | {"jpg": members["jpg"][:2] + exif + members["jpg"][2:]}
    np.testing.assert_array_equal(decode_pixels(turned, jpg(90), "s: k"), decode_pixels(members, jpg(90), "s: k"))


def test_a_progressive_jpg_is_read():
    members = encode_pixels(cell(), jpg(90))
    pixels = cv2.imdecode(np.frombuffer(members["jpg"], np.uint8), cv2.IMREAD_COLOR)
    again = bytes(cv2.imencode(".jpg", pixels, (cv2.IMWRITE_JPEG_PROGRESSIVE, 1))[1])
    assert b"\xff\xc2" in again
    found, plain = (decode_pixels(m, jpg(90), "s: k").astype(int) for m in (members | {"jpg": again}, members))
    assert np.abs(found - plain).mean() < 2


def test_a_jpg_of_the_extended_process_is_read():
    members = encode_pixels(cell(), jpg(90))
    extended = members | {"jpg": members["jpg"].replace(b"\xff\xc0", b"\xff\xc1", 1)}  # of which baseline is a part
    np.testing.assert_array_equal(decode_pixels(extended, jpg(90), "s: k"), decode_pixels(members, jpg(90), "s: k"))


@pytest.mark.parametrize("marker", [0x00, 0x01, 0xD0, 0xD9])
def test_a_marker_without_a_length_hides_no_frame_in_a_jpg(marker: int):
    # OpenCV skips it; whoever takes the next two bytes for a length lands in a comment that holds another frame header.
    members = encode_pixels(cell(), jpg(90))
    other = encode_pixels(np.pad(cell(), ((0, 8), (0, 8), (0, 0))), Recipe(size=SIZE + 8, format="jpg", quality=90))
    start = members["jpg"].index(b"\xff\xc0")
    comment = bytes(int.from_bytes(b"\xff\xe1") - 4) + members["jpg"][start : start + 19]
    hiding = bytes([0xFF, marker]) + b"\xff\xe1" + struct.pack(">H", 2 + len(comment)) + comment
    larger = other["jpg"][:2] + hiding + other["jpg"][2:]
    with pytest.raises(UserError, match=r"^s: k\.jpg is not a 48 px colour image"):
        decode_pixels(members | {"jpg": larger}, jpg(90), "s: k")


def test_a_comment_ahead_of_the_frame_is_passed_over():
    members = encode_pixels(cell(), jpg(90))
    comment = b"\xff\xfe" + struct.pack(">H", 2 + 5) + b"words"
    said = members | {"jpg": members["jpg"][:2] + comment + members["jpg"][2:]}
    np.testing.assert_array_equal(decode_pixels(said, jpg(90), "s: k"), decode_pixels(members, jpg(90), "s: k"))


def test_the_filling_is_the_mean_of_the_border_to_the_nearest_level():
    image = np.zeros((SIZE, SIZE, 3), np.uint8)
    image[8:18, 8:18] = 200  # 100 pixels, of which 36 lie at the border
    image[8, 8:18] = image[17, 8:18] = image[9:17, 8] = image[9:17, 17] = 101
    image[8, 8:12] = 100  # mean of the border: 100.89
    filled = cv2.imdecode(np.frombuffer(encode_pixels(image, jpg(100))["jpg"], np.uint8), cv2.IMREAD_COLOR)
    assert (filled[32:, 32:] == 101).all()


def test_a_jpg_of_a_header_alone_is_refused():
    members = encode_pixels(cell(), jpg(90))
    scan = members["jpg"].index(b"\xff\xda")
    with pytest.raises(UserError, match=r"^s: k\.jpg cannot be decoded$"):
        decode_pixels(members | {"jpg": members["jpg"][:scan] + b"\xff\xd9"}, jpg(90), "s: k")
