"""The formats of a stored image: what comes back, to the bit or with an exact mask, and what is refused."""

import io
import struct
import zlib

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from stored_pixels import SIZE, cell, jpg, round_trip

from build_shards.preprocess import cell_mask
from contract.errors import UserError
from contract.pixels import IMAGE_MEMBERS, decode_pixels, encode_pixels
from contract.recipe import Recipe

PNG, NPY = Recipe(size=SIZE, format="png"), Recipe(size=SIZE, format="npy")
QUALITIES = [1, 50, 75, 90, 95, 100]


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(33, 60), st.sampled_from(["png", "npy"]))
def test_lossless_formats_are_identical_to_the_bit(seed: int, size: int, stored: str):
    image = np.random.default_rng(seed).integers(0, 256, (size, size, 3), dtype=np.uint8)
    back = round_trip(image, Recipe(size=size, format=stored))  # type: ignore[arg-type]
    np.testing.assert_array_equal(back, image)
    assert (back.dtype, back.flags.c_contiguous, back.flags.writeable) == (np.uint8, True, True)


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
