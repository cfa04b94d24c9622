"""The formats of a stored image: what comes back, to the bit or with an exact mask, and what is refused."""

import io
import struct
import zlib

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from build_shards.preprocess import cell_mask
from build_shards.synthetic import draw_cell
from contract.errors import UserError
from contract.pixels import IMAGE_MEMBERS, decode_pixels, encode_pixels
from contract.recipe import Recipe

SIZE = 48
PNG, NPY = Recipe(size=SIZE, format="png"), Recipe(size=SIZE, format="npy")
QUALITIES = [1, 50, 75, 90, 95, 100]


def jpg(quality: int) -> Recipe:
    return Recipe(size=SIZE, format="jpg", quality=quality)


def cell(seed: int = 0, size: int = SIZE) -> np.ndarray:
    return draw_cell(seed % 2, 0.3, np.random.default_rng(seed), size)


def round_trip(image: np.ndarray, recipe: Recipe) -> np.ndarray:
    return decode_pixels(encode_pixels(image, recipe), recipe, "s: k")


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(33, 60), st.sampled_from(["png", "npy"]))
def test_lossless_formats_are_identical_to_the_bit(seed: int, size: int, stored: str):
    image = np.random.default_rng(seed).integers(0, 256, (size, size, 3), dtype=np.uint8)
    back = round_trip(image, Recipe(size=size, format=stored))  # type: ignore[arg-type]
    np.testing.assert_array_equal(back, image)
    assert (back.dtype, back.flags.c_contiguous, back.flags.writeable) == (np.uint8, True, True)


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
    assert sizes == sorted(sizes)
    assert errors == sorted(errors, reverse=True)


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


def test_npy_is_what_numpy_reads_and_writes():
    image, file = cell(), io.BytesIO()
    np.save(file, image, allow_pickle=False)
    assert encode_pixels(image, NPY) == {"npy": file.getvalue()}
    np.testing.assert_array_equal(np.load(io.BytesIO(encode_pixels(image, NPY)["npy"]), allow_pickle=False), image)


def test_png_is_what_opencv_reads():
    image = cell()
    png = np.frombuffer(encode_pixels(image, PNG)["png"], np.uint8)
    np.testing.assert_array_equal(cv2.imdecode(png, cv2.IMREAD_UNCHANGED)[:, :, ::-1], image)


@pytest.mark.parametrize("recipe", [PNG, NPY, jpg(90)])
def test_the_members_are_those_of_the_format(recipe: Recipe):
    assert tuple(encode_pixels(cell(), recipe)) == IMAGE_MEMBERS[recipe.format]


def saved(array: np.ndarray, pickled: bool = False) -> bytes:
    file = io.BytesIO()
    np.save(file, array, allow_pickle=pickled)
    return file.getvalue()


def npy_with_header(text: str, size: int = SIZE) -> bytes:
    header = text.encode().ljust(117) + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header + bytes(size * size * 3)


SQUARE = np.zeros((SIZE, SIZE, 3), np.uint8)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"no array",
        saved(SQUARE)[:-1],
        saved(SQUARE) + b"\0",
        saved(SQUARE)[:60],
        saved(SQUARE[:, :, 0]),
        saved(SQUARE[1:]),
        saved(SQUARE.astype(np.int8)),
        saved(SQUARE.astype(np.float32)),
        saved(np.asfortranarray(np.ones_like(SQUARE))),
        saved(np.array([[print]], dtype=object), pickled=True),
        npy_with_header("{'descr': '|u1', 'fortran_order': False, 'shape': (20000, 20000, 3), }"),
        npy_with_header("{'descr': '|O', 'fortran_order': False, 'shape': (48, 48, 3), }"),
        npy_with_header("__import__('os').system('false')"),
        b"\x93NUMPY\x02\x00" + saved(SQUARE)[8:],
        b"PK\x03\x04" + saved(SQUARE),
    ],
)
def test_an_npy_that_is_not_this_very_array_is_refused_and_nothing_is_unpickled(data: bytes, monkeypatch):
    monkeypatch.setattr("pickle.load", pytest.fail)
    monkeypatch.setattr("pickle.loads", pytest.fail)
    with pytest.raises(UserError, match=r"^s: k\.npy (is not a 48 px colour image|has \d+ bytes of pixels)"):
        decode_pixels({"npy": data}, NPY, "s: k")


def png_with_header(data: bytes, width: int, height: int) -> bytes:
    changed = bytearray(data)
    struct.pack_into(">II", changed, 16, width, height)
    struct.pack_into(">I", changed, 29, zlib.crc32(changed[12:29]))
    return bytes(changed)


def encoded(pixels: np.ndarray, suffix: str) -> bytes:
    return bytes(cv2.imencode(suffix, pixels)[1])


BAD_PNGS = [
    b"",
    b"no image",
    encoded(cell(), ".png")[:-20],
    encoded(cell(), ".png")[:-1],
    encoded(cell(), ".png")[:300] + encoded(cell(), ".png")[-12:],
    encoded(cell(), ".jpg"),
    encoded(cell(0, 47), ".png"),
    encoded(cell().astype(np.uint16), ".png"),
    encoded(np.dstack([cell(), cell()[:, :, 0]]), ".png"),
    png_with_header(encoded(cell(), ".png"), 20000, 20000),
    encoded(cell(), ".png") + b"\0",
]


@pytest.mark.parametrize("data", [*BAD_PNGS, encoded(cell()[:, :, 0], ".png")])
def test_a_png_that_is_not_whole_and_of_the_size_is_refused_before_decoding(data: bytes, monkeypatch):
    monkeypatch.setattr("cv2.imdecode", pytest.fail)
    with pytest.raises(UserError, match=r"^s: k\.png is not a 48 px colour image"):
        decode_pixels({"png": data}, PNG, "s: k")


def jpg_with_header(width: int, height: int) -> bytes:
    data = bytearray(encoded(cell(), ".jpg"))
    frame = data.index(b"\xff\xc0")
    struct.pack_into(">HH", data, frame + 5, height, width)
    return bytes(data)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xff\xd8",
        b"\xff\xd8\xff\xd9",
        encoded(cell(), ".jpg")[:-1],
        encoded(cell(), ".jpg")[:100],
        encoded(cell(), ".png"),
        encoded(cell(0, 47), ".jpg"),
        encoded(cell()[:, :, 0], ".jpg"),
        jpg_with_header(20000, 20000),
    ],
)
def test_a_jpg_that_is_not_whole_and_of_the_size_is_refused_before_decoding(data: bytes, monkeypatch):
    members = encode_pixels(cell(), jpg(90)) | {"jpg": data}
    monkeypatch.setattr("cv2.imdecode", pytest.fail)
    with pytest.raises(UserError, match=r"^s: k\.jpg is not a 48 px colour image"):
        decode_pixels(members, jpg(90), "s: k")


@pytest.mark.parametrize("data", [*BAD_PNGS, encoded(cell(), ".png")])
def test_a_mask_that_is_not_whole_and_of_the_size_is_refused(data: bytes):
    members = encode_pixels(cell(), jpg(90)) | {"mask.png": data}
    with pytest.raises(UserError, match=r"^s: k\.mask\.png is not a 48 px grey image"):
        decode_pixels(members, jpg(90), "s: k")


def test_a_mask_with_half_tones_is_refused():
    grey = cell_mask(cell()).astype(np.uint8) * 255
    grey[3, 3] = 128
    members = encode_pixels(cell(), jpg(90)) | {"mask.png": encoded(grey, ".png")}
    with pytest.raises(UserError, match=r"^s: k\.mask\.png holds other values than 0 and 255"):
        decode_pixels(members, jpg(90), "s: k")


def test_a_progressive_jpg_is_read():
    members = encode_pixels(cell(), jpg(90))
    pixels = cv2.imdecode(np.frombuffer(members["jpg"], np.uint8), cv2.IMREAD_COLOR)
    again = bytes(cv2.imencode(".jpg", pixels, (cv2.IMWRITE_JPEG_PROGRESSIVE, 1))[1])
    assert b"\xff\xc2" in again
    found, plain = (decode_pixels(m, jpg(90), "s: k").astype(int) for m in (members | {"jpg": again}, members))
    assert np.abs(found - plain).mean() < 2


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
