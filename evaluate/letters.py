"""Letters of names in a picture: matplotlib's own font lacks Chinese, Japanese and Korean; others here may have them.

A picture without such letters is never touched: it has the same bytes whatever fonts a machine has.
"""

import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

from matplotlib import font_manager
from matplotlib.figure import Figure
from matplotlib.text import Text

from contract.fonts import INSTALL, OWN, families


def give_fonts(figure: Figure) -> None:
    """Draw letters that matplotlib's font lacks in fonts that are installed; a note names those that none has."""
    texts = [text for text in figure.findobj(Text) if isinstance(text, Text)]
    lacking = {ord(c) for text in texts for c in text.get_text() if not c.isspace()} - _letters(OWN)
    if not lacking:
        return
    fonts = families(font_manager)
    for text in texts:
        text.set_fontfamily(fonts)
    _note("".join(map(chr, sorted(lacking.difference(*map(_letters, fonts))))))


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
    return frozenset(font_manager.get_font(font_manager.findfont(family)).get_charmap())
