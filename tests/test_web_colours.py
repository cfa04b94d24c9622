"""Colours of the page: text on its ground."""

import re

import numpy as np
import pytest

from evaluate import web as module


def _luminance(colour: str) -> float:
    """Of sRGB, as WCAG 2.2 defines it."""
    values = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [v / 12.92 if v <= 0.04045 else ((v + 0.055) / 1.055) ** 2.4 for v in values]
    return float(np.dot(linear, [0.2126, 0.7152, 0.0722]))


@pytest.mark.parametrize("theme", [0, 1])
def test_text_stands_out_from_its_ground(theme: int) -> None:
    text = (module.PAGE / "page.css").read_text(encoding="utf-8")
    colours = dict(re.findall(r"--([a-z-]+): (#[0-9a-f]{6})", re.findall(r":root \{([^}]+)\}", text)[theme]))
    pairs = [(ink, ground) for ink in ("ink", "quiet", "normal", "blast") for ground in ("paper", "sheet")]
    for ink, ground in [*pairs, ("ink", "warn"), ("ink", "bad")]:
        low, high = sorted((_luminance(colours[ink]), _luminance(colours[ground])))
        assert (high + 0.05) / (low + 0.05) >= 4.5, (ink, ground)
