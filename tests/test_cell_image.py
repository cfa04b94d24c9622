"""What a demonstration opens: BMP, PNG and JPEG, with limits that are checked before anything is decoded."""

import struct
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest

from contract.errors import UserError
from evaluate import cell_image
from evaluate.cell_image import MAXIMUM_BYTES, open_cell, read_cell


def _cell() -> np.ndarray:
    image = np.zeros((60, 64, 3), np.uint8)
    cv2.circle(image, (32, 30), 20, (180, 60, 120), -1)
    return image


def _encode(suffix: str, image: np.ndarray | None = None) -> bytes:
    ok, data = cv2.imencode(suffix, (_cell() if image is None else image)[:, :, ::-1])
    assert ok
    return data.tobytes()


@pytest.mark.parametrize("suffix", [".bmp", ".png"])
def test_bmp_and_png_come_back_exactly_and_without_a_note(suffix: str, tmp_path: Path) -> None:
    (tmp_path / "cell").write_bytes(_encode(suffix))
    read = read_cell(tmp_path / "cell")
    assert (read.pixels == _cell()).all()
    assert read.notes == ()


def test_jpeg_keeps_an_exactly_black_background_and_says_what_it_is() -> None:
    read = open_cell(_encode(".jpg"), "cell.jpg")
    assert "JPEG" in read.notes[0]
    outside = cv2.dilate(_cell().max(axis=2), np.ones((17, 17))) == 0
    assert not read.pixels[outside].any()
    assert np.abs(read.pixels[30, 32].astype(int) - (180, 60, 120)).max() < 12
    covered = (read.pixels.max(axis=2) > 0).sum() / (_cell().max(axis=2) > 0).sum()
    assert 0.95 < covered < 1.05


def test_a_dark_channel_of_a_jpeg_s_cell_is_kept() -> None:
    image = np.zeros((48, 48, 3), np.uint8)
    image[8:40, 8:40] = (200, 14, 170)
    found = open_cell(_encode(".jpg", image), "cell.jpg").pixels[24, 24].astype(int)
    assert np.abs(found - (200, 14, 170)).max() < 8


def test_a_jpeg_may_end_in_zeros_and_tell_its_tables_before_its_size() -> None:
    data = _encode(".jpg")
    start = data.index(b"\xff\xc4")  # a table, whose marker lies among those of frames
    table = data[start : start + 2 + int.from_bytes(data[start + 2 : start + 4])]
    found = open_cell(data[:2] + table + data[2:] + bytes(3), "cell.jpg")
    assert (found.pixels == open_cell(data, "cell.jpg").pixels).all()


def test_a_jpeg_is_read_as_it_is_stored_whatever_its_orientation_tag_says() -> None:
    image = np.zeros((40, 64, 3), np.uint8)
    image[10:30, 5:25] = (200, 90, 140)
    data = _encode(".jpg", image)
    tiff = b"II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0\0\0\0\0"  # orientation 6: turn by 90 degrees
    exif = b"\xff\xe1" + struct.pack(">H", 2 + 6 + len(tiff)) + b"Exif\0\0" + tiff
    turned = open_cell(data[:2] + exif + data[2:], "cell.jpg")
    assert (turned.pixels == open_cell(data, "cell.jpg").pixels).all()


@pytest.mark.parametrize("marker", [0x00, 0x01, 0xD0, 0xD7, 0xD8, 0xD9])
def test_a_marker_without_a_length_hides_no_size(marker: int) -> None:
    # OpenCV skips it; whoever takes the next two bytes for a length lands in a comment that holds another frame header.
    frame = b"\xff\xc2" + struct.pack(">HBHHB", 17, 8, 100, 100, 3) + bytes(9)
    comment = bytes(int.from_bytes(b"\xff\xe1") - 4) + frame
    data = _encode(".jpg", np.zeros((8, 2600, 3), np.uint8))
    hiding = b"\xff\xe1" + struct.pack(">H", 2 + len(comment)) + comment
    with pytest.raises(UserError, match=r"cell\.jpg: cut short or damaged"):
        open_cell(data[:2] + bytes([0xFF, marker]) + hiding + data[2:], "cell.jpg")
    assert open_cell(data[:2] + hiding + data[2:], "cell.jpg").pixels.shape == (8, 2600, 3)


def _bmp_header(width: int, height: int) -> bytes:
    return (
        b"BM" + struct.pack("<IHHI", 54, 0, 0, 54) + struct.pack("<IiiHHIIiiII", 40, width, height, 1, 24, 0, *[0] * 5)
    )


def _bmp_from_the_top(width: int, height: int) -> bytes:
    return _bmp_header(width, -height)


def _png_header(width: int, height: int) -> bytes:
    body = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + body + struct.pack(">I", zlib.crc32(body))


def _jpeg_header(width: int, height: int, depth: int = 8, channels: int = 3) -> bytes:
    return (
        b"\xff\xd8\xff\xff\xe0\x00\x04ab\xff\xc2" + struct.pack(">HBHHB", 17, depth, height, width, channels) + bytes(9)
    )


@pytest.mark.parametrize("header", [_bmp_header, _bmp_from_the_top, _png_header, _jpeg_header])
def test_too_many_pixels_are_refused_from_the_header_alone(header, monkeypatch: pytest.MonkeyPatch) -> None:
    def decode(*_: object) -> None:
        raise AssertionError("decoded")

    monkeypatch.setattr(cell_image, "decode_image", decode)
    monkeypatch.setattr(cv2, "imdecode", decode)
    with pytest.raises(UserError, match=r"bomb: declares 30000 x 20000 px: at most 4194304 pixels"):
        open_cell(header(30000, 20000), "bomb")


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "not a BMP, PNG or JPEG image"),
        (b"Path,label\n", "not a BMP, PNG or JPEG image"),
        (b"BM", "not a BMP, PNG or JPEG image"),
        (b"\xff\xd8", "without a frame header"),
        (b"\xff\xd8\xff\xe0\x00\x00" * 4, "without a frame header"),
        (_encode(".jpg")[:-40], "cut short: the JPEG has no end"),
        (_encode(".jpg")[:200] + b"\xff\xd9", "JPEG"),
        (_jpeg_header(8, 8, channels=1), "1 channels"),
        (_jpeg_header(8, 8, depth=12), "depth 12"),
        (_jpeg_header(8, 8) + b"\xff\xd9", "not a readable JPEG"),
        (_encode(".bmp")[:-1], "cut short"),
        (_encode(".png")[:-1], "cut short or damaged"),
        (bytes(MAXIMUM_BYTES + 1), "at most 16777216 are read"),
    ],
)
def test_what_is_no_whole_image_is_refused_by_name(data: bytes, words: str) -> None:
    with pytest.raises(UserError, match=words) as caught:
        open_cell(data, "the file")
    assert str(caught.value).startswith("the file: ")


def test_bytes_and_pixels_are_read_up_to_their_limit(tmp_path: Path) -> None:
    largest = np.zeros((2048, 2048, 3), np.uint8)
    largest[9, 9] = 200
    assert open_cell(_encode(".png", largest), "cell.png").pixels.shape == (2048, 2048, 3)
    with pytest.raises(UserError, match="declares 2048 x 2049 px"):
        open_cell(_png_header(2048, 2049), "cell.png")
    (tmp_path / "zeros").write_bytes(bytes(MAXIMUM_BYTES))
    with pytest.raises(UserError, match=r"not a BMP, PNG or JPEG image \(16777216 bytes\)"):
        read_cell(tmp_path / "zeros")


def test_a_large_file_is_refused_unread(tmp_path: Path) -> None:
    path = tmp_path / "disk.img"
    with path.open("wb") as file:
        file.truncate(1 << 40)  # sparse: it takes no room
    with pytest.raises(UserError, match=r"disk\.img: 1099511627776 bytes"):
        read_cell(path)


def test_a_device_which_may_be_endless_is_refused_unread(tmp_path: Path) -> None:
    (tmp_path / "link.bmp").symlink_to("/dev/null")  # which ends, unlike /dev/zero
    with pytest.raises(UserError, match=r"link\.bmp: not a file: a pipe or a device"):
        read_cell(tmp_path / "link.bmp")


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"gone\.bmp: cannot be read"):
        read_cell(tmp_path / "gone.bmp")
