"""The reliability diagram's picture: the cells of a bin stand below its point."""

from types import SimpleNamespace

import pytest

from evaluate.curves import draw_reliability
from evaluate.rendering import DASHES, png_bytes

BINS = [SimpleNamespace(probability=p, blasts=b, n=9) for p, b in ((0.02, 0.0), (0.4, 0.7), (0.99, 1.0))]
NETWORK = SimpleNamespace(before=SimpleNamespace(bins=BINS, ece=0.1), after=SimpleNamespace(bins=BINS, ece=0.1))
NETWORK.temperature = 1.2


@pytest.mark.parametrize("count", range(1, len(DASHES) + 1))
def test_both_panels_of_a_network_have_one_x_axis(count: int) -> None:
    figure = draw_reliability(dict.fromkeys(list(DASHES)[:count], NETWORK), ("normal", "blast"))
    png_bytes(figure)  # lays it out
    for upper, lower in zip(figure.axes[:count], figure.axes[count:], strict=True):
        for x in (0.0, 0.4, 1.0):
            above, below = (axes.transData.transform((x, 0))[0] for axes in (upper, lower))
            assert above == pytest.approx(below, abs=0.5)
        one = upper.transData.transform([(0, 0), (1, 1)])
        assert one[1][0] - one[0][0] == pytest.approx(one[1][1] - one[0][1], abs=0.5)
