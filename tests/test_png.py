"""The fast way of reading a shard's PNGs against libpng's, and what it leaves to libpng."""

import struct
import zlib
from itertools import pairwise

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contract.errors import UserError
from contract.pixels import decode_pixels, encode_pixels
from contract.png import FILTERED_UP, decode_upwards, png_is_whole
from contract.recipe import Recipe

SIZE = 40
FILTER = cv2.IMWRITE_PNG_FILTER


def noise(seed: int, size: int = SIZE) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (size, size, 3), dtype=np.uint8)


def libpng(data: bytes) -> np.ndarray:
    return np.asarray(cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR_RGB))


def written(image: np.ndarray, *parameters: int) -> bytes:
    return bytes(cv2.imencode(".png", image[:, :, ::-1], parameters)[1])


def chunk(name: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))


def by_hand(stream: bytes, *more: bytes, method: bytes = bytes(3), pieces: int = 1) -> bytes:
    """A PNG of ``SIZE`` whose pixels are the zlib stream ``stream``; ``more``: chunks ahead of them."""
    head = chunk(b"IHDR", struct.pack(">IIBB", SIZE, SIZE, 8, 2) + method)
    cuts = [len(stream) * i // pieces for i in range(pieces + 1)]
    parts = [chunk(b"IDAT", stream[start:end]) for start, end in pairwise(cuts)]
    return b"\x89PNG\r\n\x1a\n" + head + b"".join(more) + b"".join(parts) + chunk(b"IEND", b"")


def rows(seed: int, filters: list[int]) -> bytes:
    lines = noise(seed).reshape(SIZE, -1)
    return b"".join(bytes([f]) + line.tobytes() for f, line in zip(filters, lines, strict=True))


UP = [2] * SIZE


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 70), st.booleans())
def test_pixels_are_libpngs(seed: int, size: int, even: bool) -> None:
    image = noise(seed, size) // (64 if even else 1)
    data = written(image, *FILTERED_UP)
    found = decode_upwards(data, size)
    assert found is not None
    np.testing.assert_array_equal(found, libpng(data))
    np.testing.assert_array_equal(found, image)
    assert (found.dtype, found.flags.c_contiguous, found.flags.writeable) == (np.uint8, True, True)


def test_what_the_builder_writes_never_needs_libpng(monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = Recipe(size=112)
    members = encode_pixels(noise(1, 112), recipe)
    monkeypatch.setattr("cv2.imdecode", pytest.fail)
    np.testing.assert_array_equal(decode_pixels(members, recipe, "s: k"), noise(1, 112))


@pytest.mark.parametrize("first", [0, 2])
@pytest.mark.parametrize("pieces", [1, 7])
def test_a_first_row_without_filter_and_pixels_in_several_chunks(first: int, pieces: int) -> None:
    data = by_hand(zlib.compress(rows(2, [first, *UP[1:]])), pieces=pieces)
    found = decode_upwards(data, SIZE)
    assert found is not None
    np.testing.assert_array_equal(found, libpng(data))


STREAM = zlib.compress(rows(3, UP))
OTHERS = {
    "no filter": written(noise(4), FILTER, cv2.IMWRITE_PNG_FILTER_NONE),
    "left": written(noise(4), FILTER, cv2.IMWRITE_PNG_FILTER_SUB),
    "average": written(noise(4), FILTER, cv2.IMWRITE_PNG_FILTER_AVG),
    "paeth": written(noise(4), FILTER, cv2.IMWRITE_PNG_FILTER_PAETH),
    "another in the first row": by_hand(zlib.compress(rows(3, [1, *UP[1:]]))),
    "another in the last row": by_hand(zlib.compress(rows(3, [*UP[:-1], 0]))),
    "a text": by_hand(STREAM, chunk(b"tEXt", b"a\0b")),
    "more rows": by_hand(zlib.compress(rows(3, UP) + bytes(5000))),
    "bytes behind the stream": by_hand(STREAM + b"more"),
}


@pytest.mark.parametrize("data", OTHERS.values(), ids=OTHERS.keys())
def test_any_other_png_is_libpngs_to_read(data: bytes) -> None:
    assert png_is_whole(data)
    assert decode_upwards(data, SIZE) is None
    np.testing.assert_array_equal(decode_pixels({"png": data}, Recipe(size=SIZE), "s: k"), libpng(data))


BROKEN = {
    "cut stream": by_hand(STREAM[:-3]),
    "wrong sum": by_hand(STREAM[:-4] + bytes(4)),
    "fewer rows": by_hand(zlib.compress(rows(3, UP)[:-200])),
    "no stream": by_hand(b"these are no pixels"),
    "nothing": by_hand(b""),
    "interlaced": by_hand(STREAM, method=b"\0\0\1"),
    "unknown compression": by_hand(STREAM, method=b"\1\0\0"),
    "unknown filters": by_hand(STREAM, method=b"\0\1\0"),
    "no chunk of pixels": b"\x89PNG\r\n\x1a\n" + by_hand(b"")[8:33] + chunk(b"IEND", b""),
    "wrong CRC": by_hand(STREAM)[:-20] + b"\0" + by_hand(STREAM)[-19:],
    "another size": written(noise(5, SIZE + 1), *FILTERED_UP),
    "bytes behind the end": by_hand(STREAM) + b"more",
    "not a PNG": b"GIF89a" + by_hand(STREAM)[6:],
    "empty": b"",
}


@pytest.mark.parametrize("data", BROKEN.values(), ids=BROKEN.keys())
def test_a_damaged_png_is_not_read_fast(data: bytes) -> None:
    assert decode_upwards(data, SIZE) is None


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_a_flipped_byte_is_never_other_pixels(data: st.DataObject) -> None:
    whole = bytearray(by_hand(STREAM))
    whole[data.draw(st.integers(0, len(whole) - 1))] ^= data.draw(st.integers(1, 255))
    assert decode_upwards(bytes(whole), SIZE) is None
    with pytest.raises(UserError, match=r"^s: k\.png "):
        decode_pixels({"png": bytes(whole)}, Recipe(size=SIZE), "s: k")


def test_a_stream_that_swells_is_not_inflated(monkeypatch: pytest.MonkeyPatch) -> None:
    swelling = by_hand(zlib.compress(bytes(50_000_000), 9))
    from isal import isal_zlib

    lengths, plain = [], isal_zlib.decompressobj

    class Watched:
        def __init__(self) -> None:
            self.stream = plain()

        def decompress(self, data: bytes, most: int) -> bytes:
            out = bytes(self.stream.decompress(data, most))
            lengths.append(len(out))
            return out

    monkeypatch.setattr("contract.png.isal_zlib.decompressobj", Watched)
    assert decode_upwards(swelling, SIZE) is None
    assert lengths == [SIZE * (1 + 3 * SIZE) + 1]
