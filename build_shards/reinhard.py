"""Reinhard's stain normalisation of one cell: mean and standard deviation in CIE Lab.

A cell of 30,000 pixels has some 5,000 colours. Each colour is taken to Lab and back once, and its pixels get the
result: the bits of converting every pixel, in a third of the time.
"""

import threading
from functools import cache

import cv2
import numpy as np
from numpy.typing import NDArray

MINIMUM_STD = 0.25  # Lab units; about that of 8-bit rounding alone

Pixels = NDArray[np.uint8]
Floats = NDArray[np.float32]
Places = NDArray[np.intp]

_ONE_AT_A_TIME = threading.Lock()  # the demo's server preprocesses in threads, and there is one table
_LEVELS = np.arange(256) / 255
LINEAR_OF_LEVEL = np.where(_LEVELS > 0.04045, ((_LEVELS + 0.055) / 1.055) ** 2.4, _LEVELS / 12.92).astype(np.float32)


def measure_lab(pixels: Pixels) -> tuple[float, ...] | None:
    """The means of L, a, b and their standard deviations over the pixels, uint8 ``[M, 3]`` RGB; None if too uniform."""
    colours, places = _distinct(pixels)
    return _statistics(_lab(colours), places)


def shift_lab(pixels: Pixels, target: tuple[float, ...]) -> Pixels | None:
    """Give the pixels, uint8 ``[M, 3]`` RGB, the means and deviations of ``target``: uint8 ``[M, 3]`` of 1 to 255.

    ``target`` is as ``measure_lab`` gives it. None where the cell's own cannot be told. Source: Reinhard et al. 2001,
    IEEE CG&A 21(5):34.
    """
    colours, places = _distinct(pixels)
    lab = _lab(colours)
    source = _statistics(lab, places)
    if source is None:
        return None
    for channel in range(3):
        gain = target[3 + channel] / source[3 + channel]
        lab[..., channel] *= np.float32(gain)
        lab[..., channel] += np.float32(target[channel] - gain * source[channel])
    light = cv2.cvtColor(lab, cv2.COLOR_Lab2RGB)[:, 0] * np.float32(255)
    np.clip(light, 1, 255, out=light)
    levels = np.asarray(cv2.convertScaleAbs(light), dtype=np.uint8)  # rounds half to even
    return levels.take(places, axis=0, mode="clip")


def _distinct(pixels: Pixels) -> tuple[Pixels, Places]:
    """Every colour once, uint8 ``[K, 3]``, and for each pixel its place among them, ``[M]``: ``colours[places]``.

    A table with a slot for each of the 16.7 million colours finds them in two passes, where sorting would take longer
    than converting every pixel. What earlier cells left in a slot is never read: each is written first.
    """
    rgba = cv2.cvtColor(np.ascontiguousarray(pixels)[None], cv2.COLOR_RGB2RGBA)
    codes = (rgba.view("<u4")[0, :, 0] & 0xFFFFFF).astype(np.intp)
    order = np.arange(len(codes), dtype=np.int32)
    with _ONE_AT_A_TIME:
        slots = _slots()
        slots[codes] = order  # one pixel of each colour, whichever it is, finds itself there again
        first = np.flatnonzero(slots.take(codes, mode="clip") == order)
        slots[codes.take(first)] = order[: len(first)]
        return pixels.take(first, axis=0), slots.take(codes, mode="clip").astype(np.intp)


@cache
def _slots() -> NDArray[np.int32]:
    """64 MiB of address space, of which only the pages with colours of some cell are ever touched."""
    return np.empty(1 << 24, np.int32)


def _lab(colours: Pixels) -> Floats:
    """float32 ``[K, 1, 3]``: L of 0 to 100, a and b around 0.

    The table makes the light linear, because OpenCV's own step from sRGB interpolates coarsely (off by 0.4 in a).
    One colour a row keeps OpenCV to its plain code: its vector code gives other bits, up to 0.03 off, and only to those
    pixels of a row that fill a register, so that equal colours would differ.
    """
    linear = cv2.LUT(np.ascontiguousarray(colours)[:, None], LINEAR_OF_LEVEL)
    return np.asarray(cv2.cvtColor(linear, cv2.COLOR_LRGB2Lab), dtype=np.float32)


def _statistics(lab: Floats, places: Places) -> tuple[float, ...] | None:
    means, stds = cv2.meanStdDev(lab.take(places, axis=0, mode="clip"))  # in float64, over the population
    return (*means[:, 0].tolist(), *stds[:, 0].tolist()) if stds.min() >= MINIMUM_STD else None
