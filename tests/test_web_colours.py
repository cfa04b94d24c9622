"""Colours of the page: activation maps, and text on its ground."""

import re

import cv2
import numpy as np
import pytest

from build_shards.synthetic import draw_cell
from evaluate import web as module
from evaluate.gallery import evidence_map, paint_evidence
from evaluate.web_page import SIDE, draw_activation_map


def test_a_map_is_orange_for_a_blast_blue_for_normal_and_white_for_neither() -> None:
    crop = np.zeros((40, 40, 3), np.uint8)
    cam = np.zeros((2, 3, 3), np.float32)
    cam[1, 0, 0], cam[0, 2, 2] = 2.0, 2.0
    drawn = draw_activation_map(crop, cam).astype(int)
    assert drawn.shape == (SIDE, SIDE, 3)
    (r, g, b), (r2, g2, b2) = drawn[10, 10], drawn[-10, -10]
    assert r > g + 30 > b
    assert b2 > g2 > r2 + 30
    assert (drawn[10, -10] > 240).all()
    assert (draw_activation_map(crop, np.zeros((2, 3, 3), np.float32)) == 255).all()


def test_a_map_has_the_colours_of_the_reports_gallery() -> None:
    """Two painters, because matplotlib takes longer to import than the page may take to start: the same picture."""
    rng = np.random.default_rng(0)
    crop = cv2.resize(draw_cell(1, 0.0, rng), (SIDE, SIDE))
    cam = rng.normal(0, 1, (2, 7, 7)).astype(np.float32)
    painted = paint_evidence(crop, evidence_map([cam], [1.0], SIDE))
    assert np.abs(draw_activation_map(crop, cam).astype(int) - painted).max() <= 2  # matplotlib's scale has 256 steps


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
