"""Reports whose pictures are blank: they take most of a report's time, and most tests look at none."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from matplotlib.figure import Figure

from evaluate.rendering import Picture, png_bytes, render


@contextmanager
def blank_pictures() -> Iterator[None]:
    """Figures are made as ever, and every picture has its name and its files, but what is drawn is a blank sheet."""

    def draw(_: Figure, name: str, alt: str) -> Picture:
        return render(Figure(figsize=(1, 1)), name, alt)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("evaluate.pictures.render", draw)
        patch.setattr("evaluate.report.png_bytes", lambda _: png_bytes(Figure(figsize=(1, 1))))
        yield
