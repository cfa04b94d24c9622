"""The picture of twins, to be checked by eye: pairs side by side, with split, subject and correlation."""

import io
from collections.abc import Sequence
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib import font_manager
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from build_shards.audit import Twin
from build_shards.preprocess import cell_mask, read_image
from contract.fonts import families

matplotlib.rcParams["font.family"] = families(font_manager)
matplotlib.rcParams["text.parse_math"] = False  # a $ in a name is a $
IDENTICAL, NEAR = "#0072B2", "#D55E00"  # blue and vermilion (Okabe-Ito), colour-blind-safe
COLUMNS = 4  # pairs in a row


def draw_twins(twins: Sequence[Twin], files: dict[str, Path], title: str) -> bytes:
    """Draw ``twins`` as a PNG; ``files`` gives the image of each source path.

    Both images of a pair are drawn at one scale, the first turned onto the second, each brightened by itself (raw
    cells are dark), its background white. Raises ``UserError`` for an image that cannot be read.
    """
    rows = max(1, -(-len(twins) // COLUMNS))
    figure = Figure(figsize=(3.2 * COLUMNS, 2.15 * rows + 0.7), dpi=150, layout="constrained")
    figure.suptitle(f"{title}\n(shown: {len(twins)}; blue: identical files, orange: near-identical)", fontsize=11)
    for number, axes in enumerate(figure.subplots(rows, COLUMNS, squeeze=False).flat):
        if number < len(twins):
            _draw_pair(axes, twins[number], files)
        else:
            axes.set_axis_off()
    image = io.BytesIO()
    figure.savefig(image, format="png", metadata={"Software": None})
    return image.getvalue()


def _draw_pair(axes: Axes, twin: Twin, files: dict[str, Path]) -> None:
    first, second = read_image(files[twin.first])[0], read_image(files[twin.second])[0]
    cut = [_cell(np.rot90(first, twin.turns)), _cell(second)]
    side = max(max(image.shape[:2]) for image in cut)
    axes.imshow(np.hstack([_on_white(image, side + 8) for image in cut]))
    colour = IDENTICAL if twin.identical else NEAR
    axes.set_title(f"{_who(twin, 0)}  |  {_who(twin, 1)}", fontsize=8)
    how = "identical files" if twin.identical else f"r = {twin.correlation:.3f}"
    turned = f", turned {90 * twin.turns}°" if twin.turns else ""
    names = f"{Path(twin.first).name} | {Path(twin.second).name}"
    axes.set_xlabel(f"{how}{turned}\n{names}", fontsize=7, color=colour)
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set_color(colour)
        spine.set_linewidth(2)


def _who(twin: Twin, side: int) -> str:
    subject = (twin.first_subject, twin.second_subject)[side]
    split = (twin.first_split, twin.second_split)[side]
    return f"{'?' if subject is None else subject} ({split})"


def _cell(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The bounding box of the cell, its 99th percentile brought to 230: contrast is kept, dark cells are seen."""
    mask = cell_mask(image)
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    top = max(float(np.percentile(image[mask], 99)), 1.0)
    bright = np.clip(image.astype(np.float32) * (230 / top), 0, 255).astype(np.uint8)
    bright[~mask] = 255
    return bright[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]


def _on_white(image: NDArray[np.uint8], side: int) -> NDArray[np.uint8]:
    canvas = np.full((side, side, 3), 255, np.uint8)
    top, left = (side - image.shape[0]) // 2, (side - image.shape[1]) // 2
    canvas[top : top + image.shape[0], left : left + image.shape[1]] = image
    return canvas
