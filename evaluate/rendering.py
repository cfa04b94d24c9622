"""A drawn figure as PNG (150 dpi), as SVG, and as an SVG that lives in the page and takes its colours.

The same figure gives the same bytes: no date, and ids in an SVG are hashes under one salt.
"""

import io
import re
from dataclasses import dataclass
from html import escape
from typing import Any

import matplotlib
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

from contract.fonts import OWN
from evaluate.evidence import BLAST, NORMAL
from evaluate.letters import boxes_allowed, give_fonts

DPI = 150
INK, MUTED, GRID, PAPER = "#1f2328", "#59636e", "#d1d9e0", "#ffffff"
ON_LIGHT, ON_DARK = "#1f2329", "#fffffe"  # letters on a coloured square: the page's dark mode leaves them as they are
BLUE, ORANGE = NORMAL, BLAST  # wherever a picture tells normal cells and blasts apart
COLOURS = {"resnet18": "#0072b2", "resnet50": "#e69f00", "resnet152": INK, "baseline": "#cc79a7", "ensemble": "#009e73"}
# Lines differ in a grey print too.
DASHES = {"resnet18": "-", "resnet50": "--", "resnet152": "-.", "baseline": ":", "ensemble": "-"}
MARKERS = {"resnet18": "o", "resnet50": "s", "resnet152": "^", "baseline": "X", "ensemble": "D"}
STYLE: dict[Any, Any] = {
    "svg.hashsalt": "leukoshard",
    "font.family": OWN,
    "font.size": 9,
    "axes.titlesize": 10,
    "axes.labelsize": 9,
    "legend.fontsize": 8,
    "legend.frameon": False,
    "xtick.labelsize": 8,
    "ytick.labelsize": 8,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.titlecolor": INK,
    "axes.edgecolor": MUTED,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "axes.facecolor": PAPER,
    "figure.facecolor": PAPER,
    "savefig.facecolor": PAPER,
    "text.parse_math": False,  # a $ in a name is a $
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": GRID,
    "grid.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
}
PAGE_COLOURS = {INK: "var(--ink)", MUTED: "var(--muted)", GRID: "var(--grid)", PAPER: "var(--paper)"}


@dataclass(frozen=True)
class Picture:
    """One figure in three forms."""

    name: str  # of its files, without suffix
    alt: str  # what it shows, for those who do not see it
    png: bytes
    svg: bytes  # letters as outlines: looks the same everywhere
    inline: str  # for the page: letters as text, ink and paper as the page's CSS variables

    @property
    def files(self) -> dict[str, bytes]:
        """Its two files by name."""
        return {f"{self.name}.png": self.png, f"{self.name}.svg": self.svg}


def render(figure: Figure, name: str, alt: str) -> Picture:
    """Draw a figure in its three forms; laid out once, so all three are the same."""
    png = png_bytes(figure)
    svg = _svg(figure, "path")
    return Picture(name, alt, png, svg, _inline(_svg(figure, "none").decode(), name, alt))


def png_bytes(figure: Figure) -> bytes:
    """The figure as PNG, 150 dpi."""
    canvas, image = FigureCanvasAgg(figure), io.BytesIO()  # print_png draws once, savefig twice
    give_fonts(figure)
    engine = figure.get_layout_engine()
    with boxes_allowed():
        if engine is not None:
            engine.execute(figure)
            figure.set_layout_engine("none")
        with matplotlib.rc_context(STYLE):
            canvas.print_png(image, metadata={"Software": None})
    return image.getvalue()


def _svg(figure: Figure, letters: str) -> bytes:
    canvas, image = FigureCanvasSVG(figure), io.BytesIO()
    with boxes_allowed(), matplotlib.rc_context({**STYLE, "svg.fonttype": letters}):
        canvas.print_svg(image, metadata={"Date": None, "Creator": None})
    return image.getvalue()


def _inline(svg: str, name: str, alt: str) -> str:
    """An SVG without prolog, its ids its own among many on a page, its colours the page's."""
    width, height = re.search(r'viewBox="0 0 ([\d.]+) ([\d.]+)"', svg).groups()  # type: ignore[union-attr]
    body = svg[svg.index(">", svg.index("<svg")) + 1 : svg.rindex("</svg>")]
    body = re.sub(r"<metadata>.*?</metadata>|<style.*?</style>", "", body, flags=re.DOTALL)
    body = re.sub(r'\bid="|url\(#|xlink:href="#', lambda match: f"{match[0]}{name}-", body)
    for colour, variable in PAGE_COLOURS.items():
        body = body.replace(colour, variable)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" role="img" '
        f'viewBox="0 0 {width} {height}" style="--natural:{float(width):.0f}px" aria-label="{escape(alt)}">{body}</svg>'
    )
