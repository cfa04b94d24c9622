"""Read one raw image file strictly: what is not a whole 8-bit 3-channel BMP or PNG is refused, never repaired.

OpenCV alone would return a partly grey picture for a truncated file and convert grey or 16-bit images in silence.
"""

import os
import struct
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray

from contract.errors import UserError
from contract.files import read_bytes
from contract.png import PNG_SIGNATURE, png_is_whole

Image = NDArray[np.uint8]
Item = TypeVar("Item")
AHEAD = 4  # files that the disk fetches while one is worked on: a cold file then costs a quarter of the time
MAXIMUM_SIDE = 8192  # px; a header that declares more is refused before anything is decoded


def read_image(path: Path) -> tuple[Image, bytes]:
    """Read an image as uint8 ``[H, W, 3]`` RGB, together with the file's bytes.

    Raises ``UserError`` naming the file and the rule when it cannot be read, is neither BMP nor PNG,
    is cut short, is not 8-bit 3-channel, or declares a side over ``MAXIMUM_SIDE``.
    """
    view, data = read_view(path)
    return _copied(view), data


def read_view(path: Path) -> tuple[Image, bytes]:
    """As ``read_image``, but the pixels are a view of where they lie in the file's bytes: see ``view_image``."""
    data = read_bytes(path)
    return view_image(data, str(path)), data


def announced(items: Iterable[Item], file_of: Callable[[Item], Path]) -> Iterator[Item]:
    """The items, each after the system was told that the files of the next ``AHEAD`` will be read.

    Advice only: a file that cannot be opened is left for ``read_image`` to refuse.
    """
    waiting: deque[Item] = deque()
    for item in items:
        _announce(file_of(item))
        waiting.append(item)
        if len(waiting) > AHEAD:
            yield waiting.popleft()
    yield from waiting


def _announce(path: Path) -> None:
    if not hasattr(os, "posix_fadvise"):  # macOS has none
        return
    try:
        number = os.open(path, os.O_RDONLY | os.O_NONBLOCK)  # a pipe in a file's place would wait for its writer
    except OSError:
        return
    try:
        os.posix_fadvise(number, 0, 0, os.POSIX_FADV_WILLNEED)
    except OSError:
        return
    finally:
        os.close(number)


def decode_image(data: bytes, source: str) -> Image:
    """Decode the bytes of a BMP or PNG file: uint8 ``[H, W, 3]`` RGB, contiguous; ``source`` names them in errors."""
    return _copied(view_image(data, source))


def view_image(data: bytes, source: str) -> Image:
    """As ``decode_image``, without a copy where the file holds plain pixels: to be read only.

    For those who want a part of the picture. In memory its channels run backwards, and so do most BMPs' rows.
    """
    if data[:2] == b"BM":
        return _view_bmp(data, source)
    if data[:8] == PNG_SIGNATURE:
        return _decode_png(data, source)[:, :, ::-1]
    raise UserError(f"{source}: not a BMP or PNG image ({len(data)} bytes)")


def _copied(view: Image) -> Image:
    return np.asarray(cv2.cvtColor(view[:, :, ::-1], cv2.COLOR_BGR2RGB), np.uint8)


def _view_bmp(data: bytes, source: str) -> Image:
    """Windows bitmap with a BITMAPINFOHEADER or later: 24 bits a pixel, rows padded to 4 bytes, BGR."""
    if len(data) < 54:
        raise UserError(f"{source}: cut short: {len(data)} bytes are less than a BMP header")
    (offset,) = struct.unpack_from("<I", data, 10)
    header, width, height, _, bits, compression = struct.unpack_from("<IiiHHI", data, 14)
    if header < 40 or bits != 24 or compression != 0:
        raise UserError(f"{source}: not an uncompressed 8-bit 3-channel BMP (it has {bits} bits a pixel)")
    _check_sides(width, abs(height), source)
    stride = (width * 3 + 3) // 4 * 4
    if offset < 14 + header or len(data) < offset + stride * abs(height):
        raise UserError(f"{source}: cut short: {len(data)} bytes where {offset + stride * abs(height)} belong")
    rows = np.frombuffer(data, np.uint8, stride * abs(height), offset).reshape(abs(height), stride)
    bgr = rows[:, : width * 3].reshape(abs(height), width, 3)
    return bgr[:: -1 if height > 0 else 1, :, ::-1]


def _decode_png(data: bytes, source: str) -> Image:
    """uint8 ``[H, W, 3]``, BGR."""
    if len(data) < 33 or not png_is_whole(data):
        raise UserError(f"{source}: cut short or damaged: the chunks of the PNG do not add up ({len(data)} bytes)")
    width, height, depth, colour = struct.unpack_from(">IIBB", data, 16)
    if depth != 8 or colour != 2:
        raise UserError(f"{source}: not an 8-bit 3-channel PNG (depth {depth}, colour type {colour})")
    _check_sides(width, height, source)
    bgr = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)
    if bgr is None:
        raise UserError(f"{source}: not a readable PNG")
    return bgr.astype(np.uint8, copy=False)


def _check_sides(width: int, height: int, source: str) -> None:
    if not (0 < width <= MAXIMUM_SIDE and 0 < height <= MAXIMUM_SIDE):
        raise UserError(f"{source}: declares {width} x {height} px: each side must be 1 to {MAXIMUM_SIDE}")
