"""PNG as a shard holds it: 8-bit RGB, every row filtered "Up", a difference to the row above.

Inflating is ISA-L's, which is about three times as fast as zlib; the filter is undone on whole images. libpng, through
OpenCV, writes these files and reads every other kind. Source: W3C, Portable Network Graphics (Third Edition).
"""

import struct
from itertools import pairwise

import cv2
import numpy as np
from isal import isal_zlib
from numpy.typing import NDArray

Image = NDArray[np.uint8]
PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
GREY, COLOUR = 0, 2  # colour types
FILTER_NONE, FILTER_UP = 0, 2
FILTERED_UP = (cv2.IMWRITE_PNG_FILTER, cv2.IMWRITE_PNG_FILTER_UP)  # what cv2.imencode is told


def png_is_whole(data: bytes) -> bool:
    """Every chunk's length and CRC-32 fit, and IEND is the last one: then libpng has nothing to complain about."""
    return _chunk_ends(data) is not None


def decode_upwards(data: bytes, size: int) -> Image | None:
    """uint8 ``[size, size, 3]`` RGB of a PNG written with ``FILTERED_UP``; none for any other, which libpng must judge.

    No more is ever inflated than such an image takes.
    """
    ends = _chunk_ends(data)
    if ends is None or data[:33] != _head(size) + data[29:33]:
        return None
    chunks = [(data[start + 4 : start + 8], data[start + 8 : end - 4]) for start, end in pairwise(ends)]
    if {name for name, _ in chunks[1:-1]} != {b"IDAT"}:
        return None
    rows = _inflated(b"".join(content for _, content in chunks[1:-1]), size)
    if rows is None or rows[0, 0] not in (FILTER_NONE, FILTER_UP) or (rows[1:, 0] != FILTER_UP).any():
        return None
    return _sums_from_the_top(rows[:, 1:]).reshape(size, size, 3)


def _chunk_ends(data: bytes) -> list[int] | None:
    """Where the signature and every chunk end, of a file whose chunks fit and that ends with IEND."""
    ends = [len(PNG_SIGNATURE)]
    while (start := ends[-1]) + 12 <= len(data):
        (length,) = struct.unpack_from(">I", data, start)
        ends.append(end := start + 12 + length)
        if end > len(data) or isal_zlib.crc32(data[start + 4 : end - 4]) != int.from_bytes(data[end - 4 : end]):
            return None
        if data[start + 4 : start + 8] == b"IEND":
            return ends if end == len(data) else None
    return None


def _head(size: int) -> bytes:
    """Signature and IHDR: 8-bit RGB, neither another compression, filter method nor interlacing."""
    return PNG_SIGNATURE + struct.pack(">I4sIIBBBBB", 13, b"IHDR", size, size, 8, COLOUR, 0, 0, 0)


def _inflated(data: bytes, size: int) -> Image | None:
    """uint8 ``[size, 1 + 3 * size]``: every row behind the number of its filter."""
    whole, stream = size * (1 + 3 * size), isal_zlib.decompressobj()
    try:
        rows = stream.decompress(data, whole + 1)
    except isal_zlib.error:  # type: ignore[misc]  # the stub takes the class for an instance
        return None
    if len(rows) != whole or not stream.eof or stream.unused_data:
        return None
    return np.frombuffer(rows, np.uint8).reshape(size, 1 + 3 * size)


def _sums_from_the_top(rows: Image) -> Image:
    """Every row plus all above it, modulo 256: in passes that add 1, 2, 4, ... rows above to all rows at once."""
    summed, other, reach = rows.copy(), np.empty(rows.shape, np.uint8), 1
    while reach < len(rows):
        other[:reach] = summed[:reach]
        np.add(summed[reach:], summed[:-reach], out=other[reach:])
        summed, other, reach = other, summed, 2 * reach
    return summed
