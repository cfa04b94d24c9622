import os
import struct
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest

from build_shards import image_file
from build_shards.image_file import MAXIMUM_SIDE, announced, decode_image, read_image, read_view, view_image
from contract.errors import UserError


def random_image(height: int, width: int, channels: int = 3) -> np.ndarray:
    return np.random.default_rng(height * 100 + width).integers(0, 256, (height, width, channels), dtype=np.uint8)


def bmp(rgb: np.ndarray, top_down: bool = False) -> bytes:
    """Encode by the format's definition: BGR rows, each padded to 4 bytes, the lowest first unless ``top_down``."""
    height, width = rgb.shape[:2]
    rows = [row[:, ::-1].tobytes().ljust((width * 3 + 3) // 4 * 4, b"\xee") for row in rgb]
    body = b"".join(rows if top_down else rows[::-1])
    header = struct.pack("<2sIHHI", b"BM", 54 + len(body), 0, 0, 54)
    return header + struct.pack("<IiiHHIIiiII", 40, width, -height if top_down else height, 1, 24, *[0] * 6) + body


def encode(pixels: np.ndarray, suffix: str) -> bytes:
    ok, data = cv2.imencode(suffix, pixels)
    assert ok
    return data.tobytes()


def png_with_header(width: int, height: int) -> bytes:
    """A PNG of one pixel whose header, with a right checksum, declares other sides."""
    data = bytearray(encode(random_image(1, 1), ".png"))
    struct.pack_into(">II", data, 16, width, height)
    struct.pack_into(">I", data, 29, zlib.crc32(data[12:29]))
    return bytes(data)


@pytest.mark.parametrize("width", [1, 2, 3, 4, 5, 6, 7, 8, 33])
@pytest.mark.parametrize("top_down", [False, True])
def test_a_bmp_decodes_as_opencv_decodes_it(width: int, top_down: bool):
    rgb = random_image(5, width)
    data = bmp(rgb, top_down)
    reference = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)[:, :, ::-1]
    image = decode_image(data, "x.bmp")
    np.testing.assert_array_equal(image, rgb)
    np.testing.assert_array_equal(image, reference)
    assert image.dtype == np.uint8
    assert image.flags.c_contiguous


@pytest.mark.parametrize("top_down", [False, True])
def test_a_view_has_the_pixels_where_the_file_has_them(tmp_path: Path, top_down: bool):
    rgb = random_image(6, 7)
    (tmp_path / "x.bmp").write_bytes(bmp(rgb, top_down))
    view, data = read_view(tmp_path / "x.bmp")
    np.testing.assert_array_equal(view, rgb)
    assert np.shares_memory(view, np.frombuffer(data, np.uint8))
    np.testing.assert_array_equal(view_image(encode(rgb[:, :, ::-1], ".png"), "x.png"), rgb)


def test_a_bmp_that_opencv_wrote_is_read(tmp_path: Path):
    rgb = random_image(7, 10)
    cv2.imwrite(str(tmp_path / "x.bmp"), rgb[:, :, ::-1])
    image, data = read_image(tmp_path / "x.bmp")
    np.testing.assert_array_equal(image, rgb)
    assert data == (tmp_path / "x.bmp").read_bytes()


def test_a_png_is_read_whatever_its_suffix(tmp_path: Path):
    rgb = random_image(7, 10)
    (tmp_path / "x.bmp").write_bytes(encode(rgb[:, :, ::-1], ".png"))
    np.testing.assert_array_equal(read_image(tmp_path / "x.bmp")[0], rgb)


def test_an_orientation_written_into_a_png_turns_nothing():
    rgb = random_image(7, 10)
    tiff = b"II*\0" + struct.pack("<IHHHIHHI", 8, 1, 0x0112, 3, 1, 6, 0, 0)  # orientation 6: a quarter turn
    plain = encode(rgb[:, :, ::-1], ".png")
    chunk = struct.pack(">I", len(tiff)) + b"eXIf" + tiff + struct.pack(">I", zlib.crc32(b"eXIf" + tiff))
    tagged = plain[:33] + chunk + plain[33:]  # behind the header
    turned = cv2.imdecode(np.frombuffer(tagged, np.uint8), cv2.IMREAD_COLOR)
    assert turned.shape == (10, 7, 3), "else OpenCV does not read the tag"
    np.testing.assert_array_equal(decode_image(tagged, "cell.png"), rgb)


def test_a_bmp_cut_anywhere_is_refused():
    data = bmp(random_image(4, 5))
    for length in range(len(data)):
        with pytest.raises(UserError, match=r"^cell\.bmp: "):
            decode_image(data[:length], "cell.bmp")


def test_a_png_cut_anywhere_is_refused():
    data = encode(random_image(4, 5), ".png")
    for length in range(len(data)):
        with pytest.raises(UserError, match=r"^cell\.png: "):
            decode_image(data[:length], "cell.png")


def test_a_png_that_lacks_its_middle_is_refused(capfd: pytest.CaptureFixture[str]):
    data = encode(random_image(40, 40), ".png")
    with pytest.raises(UserError, match=r"^cell\.png: cut short or damaged"):
        decode_image(data[:2000] + data[-12:], "cell.png")
    # libpng's and OpenCV's own lines would stand beside the command's one line
    assert capfd.readouterr().err == ""


def test_a_png_with_a_flipped_bit_in_its_pixels_is_refused():
    data = encode(random_image(20, 20), ".png")
    for position in range(41, len(data) - 16, 29):
        damaged = bytearray(data)
        damaged[position] ^= 0x10
        with pytest.raises(UserError, match=r"^cell\.png: cut short or damaged"):
            decode_image(bytes(damaged), "cell.png")


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", r"not a BMP or PNG image \(0 bytes\)"),
        (b"just text, however it is called", "not a BMP or PNG image"),
        (b"GIF89a" + bytes(60), "not a BMP or PNG image"),
        (b"BM", "cut short"),
        (encode(random_image(9, 9), ".jpg"), "not a BMP or PNG image"),
        (encode(random_image(9, 9, 4), ".png"), r"not an 8-bit 3-channel PNG \(depth 8, colour type 6\)"),
        (encode(random_image(9, 9, 1), ".png"), r"not an 8-bit 3-channel PNG \(depth 8, colour type 0\)"),
        (encode(random_image(9, 9).astype(np.uint16), ".png"), r"not an 8-bit 3-channel PNG \(depth 16"),
        (encode(random_image(9, 9, 4), ".bmp"), "not an uncompressed 8-bit 3-channel BMP"),
        (encode(random_image(9, 9, 1), ".bmp"), r"not an uncompressed 8-bit 3-channel BMP \(it has 8 bits"),
        (png_with_header(MAXIMUM_SIDE + 1, 1), f"declares {MAXIMUM_SIDE + 1} x 1 px"),
        (png_with_header(2**31 - 1, 2**31 - 1), "each side must be 1 to"),
        (png_with_header(1, MAXIMUM_SIDE + 1), f"declares 1 x {MAXIMUM_SIDE + 1} px"),
        (png_with_header(0, 5), "declares 0 x 5 px"),
    ],
)
def test_what_is_not_an_8_bit_3_channel_image_is_refused(data: bytes, message: str):
    with pytest.raises(UserError, match=rf"^cell\.bmp: .*{message}"):
        decode_image(data, "cell.bmp")


@pytest.mark.parametrize(
    ("offset", "layout", "value"),
    [
        (18, "<i", 2**31 - 1),  # width
        (18, "<i", 0),
        (18, "<i", -5),
        (22, "<i", 2**31 - 1),  # height
        (22, "<i", -(2**31)),
        (22, "<i", 0),
        (14, "<I", 12),  # OS/2 header
        (30, "<I", 1),  # run-length compression
        (10, "<I", 0),  # pixels inside the header
        (10, "<I", 2**32 - 1),  # pixels far behind the end
    ],
)
def test_a_bmp_whose_header_lies_is_refused(offset: int, layout: str, value: int):
    data = bytearray(bmp(random_image(4, 5)))
    struct.pack_into(layout, data, offset, value)
    with pytest.raises(UserError, match=r"^cell\.bmp: "):
        decode_image(bytes(data), "cell.bmp")


def test_a_missing_file_and_a_folder_are_refused_by_name(tmp_path: Path):
    (tmp_path / "folder.bmp").mkdir()
    with pytest.raises(UserError, match=r"gone\.bmp: no such file"):
        read_image(tmp_path / "gone.bmp")
    with pytest.raises(UserError, match=r"folder\.bmp: cannot be read: Is a directory"):
        read_image(tmp_path / "folder.bmp")


def test_announcing_files_changes_nothing_about_the_items(tmp_path: Path):
    files = [tmp_path / f"{i}.bmp" for i in range(12)]
    files[3].write_bytes(b"BM")
    (tmp_path / "5.bmp").mkdir()
    os.mkfifo(files[7])  # opening one for reading waits for a writer
    assert list(announced(files, lambda path: path)) == files
    assert list(announced([], lambda path: path)) == []


def test_files_are_announced_before_their_turn_and_not_all_at_once(monkeypatch: pytest.MonkeyPatch):
    told: list[Path] = []
    monkeypatch.setattr(image_file, "_announce", told.append)
    paths = [Path(f"{i}.bmp") for i in range(40)]
    for place, path in enumerate(announced(paths, lambda path: path)):
        assert told == paths[: place + 1 + image_file.AHEAD]
        assert path == paths[place]


def test_files_that_were_announced_are_closed(tmp_path: Path):
    (tmp_path / "a").touch()
    before = len(os.listdir("/proc/self/fd"))
    assert len(list(announced(range(9), lambda _: tmp_path / "a"))) == 9
    assert len(os.listdir("/proc/self/fd")) == before
