"""Letters of names in a picture: matplotlib's own font lacks Chinese, Japanese and Korean; others here may have them.

A picture without such letters is never touched: it has the same bytes whatever fonts a machine has.
"""

import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache

from matplotlib.figure import Figure
from matplotlib.font_manager import findfont, findSystemFonts, fontManager, get_font
from matplotlib.text import Text

from evaluate.cjk import CJK, INSTALL

OWN = "DejaVu Sans"  # comes with matplotlib: the same letters on every machine


def give_fonts(figure: Figure) -> None:
    """Draw letters that matplotlib's font lacks in fonts that are installed; a note names those that none has."""
    texts = [text for text in figure.findobj(Text) if isinstance(text, Text)]
    lacking = {ord(c) for text in texts for c in text.get_text() if not c.isspace()} - _letters(OWN)
    if not lacking:
        return
    families = [OWN, *_installed()]
    for text in texts:
        text.set_fontfamily(families)
    _note("".join(map(chr, sorted(lacking.difference(*map(_letters, families))))))


@contextmanager
def boxes_allowed() -> Iterator[None]:
    """Without matplotlib's warning for each letter that has no font: ``give_fonts`` has told them in one line."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", r"Glyph \d+ .* missing from font")
        yield


@cache
def _note(letters: str) -> None:
    if letters:
        print(f"note: no font for {letters!r}: pictures show boxes: {INSTALL}", file=sys.stderr)


@cache
def _letters(family: str) -> frozenset[int]:
    return frozenset(get_font(findfont(family)).get_charmap())


@cache
def _installed() -> tuple[str, ...]:
    """Those of ``CJK`` that are here; matplotlib lists a machine's fonts once, so one installed later is added."""
    if not _listed():
        for path in sorted({*findSystemFonts()} - {font.fname for font in fontManager.ttflist}):
            with suppress(OSError, RuntimeError):  # a font that it cannot read: bitmaps, say
                fontManager.addfont(path)
    return _listed()


def _listed() -> tuple[str, ...]:
    names = {font.name for font in fontManager.ttflist}
    return tuple(family for family in CJK if family in names)
