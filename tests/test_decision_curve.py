"""The decision curve's picture: its legend covers nothing."""

from types import SimpleNamespace

import numpy as np
import pytest

from evaluate.curves import draw_decision
from evaluate.rendering import DASHES, png_bytes

LABELS = np.array([0, 1, 1, 0, 1])
SAID = SimpleNamespace(labels=LABELS, probability=np.array([0.2, 0.9, 0.4, 0.6, 0.7], np.float32))


@pytest.mark.parametrize("count", [1, len(DASHES)])
def test_the_legend_lies_beside_the_curves_and_inside_the_picture(count: int) -> None:
    figure = draw_decision(dict.fromkeys(list(DASHES)[:count], SAID), ("normal", "blast"))
    png_bytes(figure)  # lays it out
    (legend,) = [*figure.legends, *filter(None, [axes.get_legend() for axes in figure.axes])]
    box = legend.get_window_extent()
    assert len(legend.get_texts()) == 2 + count
    assert not box.overlaps(figure.axes[0].get_tightbbox())
    assert figure.bbox.contains(*box.min)
    assert figure.bbox.contains(*box.max)
