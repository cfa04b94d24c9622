"""How a preprocessed cell lies in a shard: as PNG or NPY to the bit, or as JPEG beside a lossless mask.

JPEG knows no exact black: at a cell's border it would smear tissue into the background and black into the tissue, a
fringe that a network could learn from. So before encoding, the background is filled with the mean colour of the cell's
border pixels (no step there on average, instead of a large one; the files shrink, too), colours keep their full
resolution (4:4:4), and the mask becomes a member of its own, ``KEY.mask.png``. Decoding sets everything outside the
mask to exact zero and cell pixels to at least (1, 1, 1): the mask comes back to the bit, only colours inside it differ.
Who reads ``KEY.jpg`` alone sees the filling.
"""

import io
import struct
from collections.abc import Mapping

import cv2
import numpy as np
from numpy.lib import format as npy_format
from numpy.typing import NDArray

from contract.errors import UserError
from contract.png import COLOUR, FILTERED_UP, GREY, PNG_SIGNATURE, decode_upwards, png_is_whole
from contract.recipe import Recipe

Image = NDArray[np.uint8]
IMAGE_MEMBERS = {"png": ("png",), "jpg": ("jpg", "mask.png"), "npy": ("npy",)}  # extensions, by the recipe's format
NPY_SIGNATURE = b"\x93NUMPY\x01\x00"
START_OF_FRAME = (0xC0, 0xC1, 0xC2)  # JPEG: baseline, extended, progressive (ITU-T T.81, table B.1)
SEGMENTS = range(0xC0, 0xFF)  # markers that a length follows, but for those from RST0 to EOI
BARE = range(0xD0, 0xDA)


def encode_pixels(image: Image, recipe: Recipe) -> dict[str, bytes]:
    """Encode uint8 ``[size, size, 3]`` RGB, background exactly zero, as the members of a sample: extension -> bytes."""
    if recipe.format == "npy":
        file = io.BytesIO()
        npy_format.write_array(file, np.ascontiguousarray(image), version=(1, 0), allow_pickle=False)
        return {"npy": file.getvalue()}
    if recipe.format == "png":
        return {"png": _encode(".png", cv2.cvtColor(image, cv2.COLOR_RGB2BGR), *FILTERED_UP)}
    mask = np.asarray(image.any(axis=2), np.uint8)
    border = mask > cv2.erode(mask, np.ones((3, 3), np.uint8), borderValue=0)
    filled = image.copy()
    filled[mask == 0] = np.rint(image[border].mean(axis=0))
    sampling = (cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444)
    quality = (cv2.IMWRITE_JPEG_QUALITY, recipe.quality or 0)
    jpg = _encode(".jpg", cv2.cvtColor(filled, cv2.COLOR_RGB2BGR), *quality, *sampling)
    return {"jpg": jpg, "mask.png": _encode(".png", np.asarray(mask * 255))}


def decode_pixels(members: Mapping[str, bytes], recipe: Recipe, source: str) -> Image:
    """Decode what ``encode_pixels`` made: uint8 ``[size, size, 3]`` RGB, writable, background exactly zero.

    Nothing is unpickled, and headers are read before anything is decoded. Raises ``UserError`` that opens with
    ``source`` (shard and key) for bytes that are not a whole image of the recipe's size, type and format.
    """
    size = recipe.size
    if recipe.format == "npy":
        return _decode_npy(members["npy"], size, f"{source}.npy")
    if recipe.format == "png":
        return _decode_png(members["png"], size, COLOUR, f"{source}.png")
    colours = _decode_jpg(members["jpg"], size, f"{source}.jpg")
    mask = _decode_png(members["mask.png"], size, GREY, f"{source}.mask.png")
    if not ((mask == 0) | (mask == 255)).all():
        raise UserError(f"{source}.mask.png holds other values than 0 and 255")
    return np.maximum(colours, 1) * (mask >> 7)[..., None]


def _encode(suffix: str, pixels: NDArray, *parameters: int) -> bytes:
    ok, data = cv2.imencode(suffix, pixels, parameters)
    if not ok:
        raise RuntimeError(f"OpenCV could not encode a {suffix} image")
    return bytes(data)


def _decode_png(data: bytes, size: int, colour: int, source: str) -> Image:
    image = decode_upwards(data, size) if colour == COLOUR else None
    if image is not None:
        return image
    header = struct.pack(">IIBB", size, size, 8, colour)
    if data[:8] != PNG_SIGNATURE or data[16:26] != header or not png_is_whole(data):
        raise _refusal(source, size, "colour" if colour == COLOUR else "grey")
    return _decode(data, cv2.IMREAD_COLOR_RGB if colour == COLOUR else cv2.IMREAD_GRAYSCALE, source)


def _decode_jpg(data: bytes, size: int, source: str) -> Image:
    if _jpg_frame(data) != struct.pack(">BHHB", 8, size, size, 3) or data[-2:] != b"\xff\xd9":
        raise _refusal(source, size, "colour")
    return _decode(data, cv2.IMREAD_COLOR_RGB, source)


def _jpg_frame(data: bytes) -> bytes:
    """Precision, height, width and components as the frame header declares them; nothing where there is none."""
    position = 2 if data[:2] == b"\xff\xd8" else len(data)
    while position + 10 <= len(data) and data[position] == 0xFF:
        marker, (length,) = data[position + 1], struct.unpack_from(">H", data, position + 2)
        if marker not in SEGMENTS or marker in BARE:
            break
        if marker in START_OF_FRAME:
            return data[position + 4 : position + 10]
        position += 2 + length
    return b""


def _decode_npy(data: bytes, size: int, source: str) -> Image:
    """NPY version 1.0, uint8, C order, ``[size, size, 3]``, and not a byte more.

    The header is compared as text (NumPy's format description fixes it but for padding), not evaluated.
    """
    start = 10 + int.from_bytes(data[8:10], "little")
    header = f"{{'descr': '|u1', 'fortran_order': False, 'shape': ({size}, {size}, 3), }}"
    if data[:8] != NPY_SIGNATURE or data[10:start].rstrip(b" \n") != header.encode():
        raise _refusal(source, size, "colour")
    if len(data) - start != size * size * 3:
        raise UserError(f"{source} has {len(data) - start} bytes of pixels where {size * size * 3} belong")
    return np.frombuffer(data, np.uint8, offset=start).reshape(size, size, 3).copy()


def _decode(data: bytes, flags: int, source: str) -> Image:
    image = cv2.imdecode(np.frombuffer(data, np.uint8), flags | cv2.IMREAD_IGNORE_ORIENTATION)
    if image is None:
        raise UserError(f"{source} cannot be decoded")
    return np.asarray(image, np.uint8)


def _refusal(source: str, size: int, colours: str) -> UserError:
    return UserError(f"{source} is not a {size} px {colours} image")
