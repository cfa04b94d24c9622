"""Open a raw image of a cell for a demonstration: BMP and PNG as strictly as the builder does, and JPEG with a note.

Sizes are checked in the header, before anything is decoded: a small file can declare gigabytes of pixels.
"""

import stat
import struct
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from build_shards.preprocess import decode_image
from contract.errors import UserError

Image = NDArray[np.uint8]
MAXIMUM_BYTES = 16 * 2**20
MAXIMUM_PIXELS = 2048 * 2048
SUFFIXES = (".bmp", ".png", ".jpg", ".jpeg")
JPEG_BACKGROUND = 24  # of 255: JPEG smears black; a pixel with no channel above this is taken for background
FRAMES = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}  # markers that start a JPEG frame header (ITU-T T.81, table B.1)
BARE = {0x00, 0x01, *range(0xD0, 0xDA)}  # no segment follows these: who skips a length there reads another frame header


@dataclass(frozen=True)
class CellImage:
    """A decoded image, and what a person must know about how it was read."""

    pixels: Image  # uint8 [H, W, 3] RGB
    notes: tuple[str, ...]


def read_cell(path: Path) -> CellImage:
    """Read an image file; raises ``UserError`` as ``open_cell`` does, and where the file cannot be read."""
    try:
        found = path.stat()
        if found.st_size > MAXIMUM_BYTES:  # before a disk image is read into memory
            raise UserError(f"{path}: {found.st_size} bytes: at most {MAXIMUM_BYTES} are read")
        if not (stat.S_ISREG(found.st_mode) or stat.S_ISDIR(found.st_mode)):  # a pipe may never end, nor begin
            raise UserError(f"{path}: not a file: a pipe or a device, which has no size")
        data = path.read_bytes()
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}") from None
    return open_cell(data, str(path))


def open_cell(data: bytes, source: str) -> CellImage:
    """Decode the bytes of a BMP, PNG or JPEG; ``source`` names them in errors.

    Raises ``UserError`` for another format, too many bytes or pixels, a file that is cut short or damaged, and
    pixels that are not 8-bit RGB.
    """
    if len(data) > MAXIMUM_BYTES:
        raise UserError(f"{source}: {len(data)} bytes: at most {MAXIMUM_BYTES} are read")
    size = _declared_size(data, source)
    if size is None:
        raise UserError(f"{source}: not a BMP, PNG or JPEG image ({len(data)} bytes)")
    if size[0] * size[1] > MAXIMUM_PIXELS:
        raise UserError(f"{source}: declares {size[0]} x {size[1]} px: at most {MAXIMUM_PIXELS} pixels are read")
    if data[:2] == b"\xff\xd8":
        return _open_jpeg(data, source)
    return CellImage(decode_image(data, source), ())


def _declared_size(data: bytes, source: str) -> tuple[int, int] | None:
    """Width and height in pixels as the header says; ``None`` for another format."""
    if data[:2] == b"BM" and len(data) >= 26:
        width, height = struct.unpack_from("<ii", data, 18)
        return abs(width), abs(height)
    if data[:8] == b"\x89PNG\r\n\x1a\n" and len(data) >= 24:
        return struct.unpack_from(">II", data, 16)
    if data[:2] == b"\xff\xd8":
        return _jpeg_size(data, source)
    return None


def _jpeg_size(data: bytes, source: str) -> tuple[int, int]:
    """Walk the segments of a JPEG up to its frame header."""
    position = 2
    while position + 4 <= len(data) and data[position] == 0xFF:
        marker, length = data[position + 1], int.from_bytes(data[position + 2 : position + 4])
        if marker == 0xFF:  # a fill byte
            position += 1
        elif marker in BARE:
            break
        elif marker in FRAMES and position + 10 <= len(data):
            depth, height, width, channels = struct.unpack_from(">BHHB", data, position + 4)
            if depth != 8 or channels != 3:
                raise UserError(f"{source}: not an 8-bit 3-channel JPEG (depth {depth}, {channels} channels)")
            return width, height
        else:
            position += 2 + length
    raise UserError(f"{source}: cut short or damaged: a JPEG without a frame header ({len(data)} bytes)")


def _open_jpeg(data: bytes, source: str) -> CellImage:
    if not data.rstrip(b"\0").endswith(b"\xff\xd9"):
        raise UserError(f"{source}: cut short: the JPEG has no end ({len(data)} bytes)")
    bgr = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)
    if bgr is None:
        raise UserError(f"{source}: not a readable JPEG")
    pixels = np.ascontiguousarray(bgr[:, :, ::-1]).astype(np.uint8, copy=False)
    pixels[pixels.max(axis=2) <= JPEG_BACKGROUND] = 0
    note = (
        f"JPEG changes colours and smears the black background: pixels of at most {JPEG_BACKGROUND} of 255 were taken "
        "for background; the original BMP or PNG says more"
    )
    return CellImage(pixels, (note,))
