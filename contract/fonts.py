"""Fonts for names in pictures and on paper: matplotlib's own lacks Chinese, Japanese and Korean, these have them."""

from contextlib import suppress
from typing import Any

OWN = "DejaVu Sans"  # comes with matplotlib: the same letters on every machine

# As systems name them, in the order in which they are taken.
CJK = (
    *("Noto Serif CJK TC", "Noto Serif TC", "Source Han Serif TC", "Songti TC", "PMingLiU", "MingLiU"),
    *("Noto Sans CJK TC", "Noto Sans TC", "Source Han Sans TC", "PingFang TC", "Microsoft JhengHei", "Heiti TC"),
    *("Noto Serif CJK JP", "Noto Sans CJK JP", "Noto Sans CJK SC", "WenQuanYi Micro Hei", "WenQuanYi Zen Hei"),
    *("AR PL UMing TW", "AR PL UKai TW", "Hiragino Sans", "Yu Gothic", "Malgun Gothic", "SimSun", "Unifont"),
)
INSTALL = "install one that can (Debian: apt-get install fonts-noto-cjk)"


def families(fonts: Any) -> list[str]:
    """Fonts to draw names with: matplotlib's own for all letters that it has, then those of ``CJK`` that are here.

    ``fonts`` is ``matplotlib.font_manager``. It lists a machine's fonts once, so one that was installed later is added.
    """
    if not _listed(fonts):
        for path in sorted({*fonts.findSystemFonts()} - {font.fname for font in fonts.fontManager.ttflist}):
            with suppress(OSError, RuntimeError):  # a font that it cannot read: bitmaps, say
                fonts.fontManager.addfont(path)
    return [OWN, *_listed(fonts)]


def _listed(fonts: Any) -> list[str]:
    names = {font.name for font in fonts.fontManager.ttflist}
    return [family for family in CJK if family in names]
