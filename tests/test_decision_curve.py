"""Curves that fill their axes, of decisions and of thresholds: the legend covers nothing."""

from collections.abc import Callable
from types import SimpleNamespace

import numpy as np
import pytest
from matplotlib.figure import Figure

from evaluate.curves import draw_decision, draw_thresholds
from evaluate.rendering import DASHES, png_bytes

LABELS = np.array([0, 1, 1, 0, 1])
SAID = SimpleNamespace(labels=LABELS, probability=np.array([0.2, 0.9, 0.4, 0.6, 0.7], np.float32))
RECORD = SimpleNamespace(networks=dict.fromkeys(DASHES, SimpleNamespace(threshold=0.5)))
RECORD.dataset = SimpleNamespace(classes=("normal", "blast"))


@pytest.mark.parametrize("count", [1, len(DASHES)])
@pytest.mark.parametrize(
    "draw",
    [
        pytest.param(lambda found: draw_decision(found, ("normal", "blast")), id="decision"),
        pytest.param(lambda found: draw_thresholds(found, RECORD), id="thresholds"),
    ],
)
def test_the_legend_lies_beside_the_curves_and_inside_the_picture(
    draw: Callable[[dict[str, SimpleNamespace]], Figure], count: int
) -> None:
    figure = draw(dict.fromkeys(list(DASHES)[:count], SAID))
    png_bytes(figure)  # lays it out
    (legend,) = [*figure.legends, *filter(None, [axes.get_legend() for axes in figure.axes])]
    box = legend.get_window_extent()
    assert len(legend.get_texts()) == 2 + count
    assert not box.overlaps(figure.axes[0].get_tightbbox())
    assert figure.bbox.contains(*box.min)
    assert figure.bbox.contains(*box.max)
