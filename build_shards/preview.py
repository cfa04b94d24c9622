"""Let a person see what a recipe does: cells raw, normalised and cropped, and the stain before and after."""

import io
from dataclasses import replace
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib import font_manager
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from build_shards.dataset import Cell, Dataset
from build_shards.preprocess import cell_pixels, preprocess, read_image
from build_shards.stain_target import fit_recipe
from contract.errors import UserError
from contract.fonts import families
from contract.manifest import CLASSES
from contract.publish import publish_bytes
from contract.recipe import MAXIMUM_SIZE, MINIMUM_SIZE, Recipe

matplotlib.rcParams["font.family"] = families(font_manager)
matplotlib.rcParams["text.parse_math"] = False  # a $ in a name is a $
COLOURS = ("#0072B2", "#D55E00")  # normal, blast: blue and orange
SHOWN = 6  # cells of each class on the sheet
MEASURED = 100  # cells of each class in the distributions

Image = NDArray[np.uint8]


def preview(dataset: Dataset, recipe: Recipe, path: Path) -> Recipe:
    """Draw the sheet of a recipe as a PNG and return the recipe, fitted; cells are drawn from their paths, by class.

    Raises ``UserError`` when the training split lacks a class, or a drawn cell cannot be read.
    """
    fitted = fit_recipe(dataset, recipe, skip_bad=False)
    cells = [_draw_cells(dataset, label) for label in (0, 1)]
    figure = Figure(figsize=(2 * SHOWN, 15), dpi=150, layout="constrained")
    parts: Any = figure.subfigures(2, 1, height_ratios=(4, 1))
    sheet, distributions = parts
    panels = sheet.subplots(6, SHOWN)
    for label in (0, 1):
        for column, cell in enumerate(cells[label][:SHOWN]):
            _draw_column(panels[3 * label : 3 * label + 3, column], cell, fitted)
        for row, name in enumerate(("raw", f"stain: {recipe.stain}", f"crop: {recipe.crop}, {recipe.size} px")):
            panels[3 * label + row, 0].set_ylabel(f"{CLASSES[label]}\n{name}", fontsize=9)
    sheet.suptitle(f"{dataset.name}: what the recipe does", fontsize=12)
    _draw_distributions(list(distributions.subplots(1, 3)), cells, fitted)
    picture = io.BytesIO()
    figure.savefig(picture, format="png", metadata={"Software": None})
    publish_bytes(path, picture.getvalue())
    return fitted


def _draw_cells(dataset: Dataset, label: int) -> list[Cell]:
    """Cells of one class of the training split, in an order drawn from their paths."""
    cells = [cell for cell in dataset.cells if cell.split == "train" and cell.label == label]
    if not cells:
        raise UserError(f"{dataset.name}: the training split has no {CLASSES[label]} cells to preview")
    return sorted(cells, key=lambda cell: cell.scatter)[:MEASURED]


def _draw_column(panels: NDArray[np.object_], cell: Cell, recipe: Recipe) -> None:
    raw = read_image(cell.file)[0]
    found = preprocess(raw, recipe, str(cell.file))
    for panel, image in zip(panels, (raw, _normalised(raw, recipe, cell), found.image), strict=True):
        panel.imshow(np.where(image.any(axis=2, keepdims=True), image, 255))  # black would hide a dark border
        panel.set_xticks([])
        panel.set_yticks([])
    notes = ["stain cannot be told"] * (not found.normalised) + ["shrunk to fit"] * found.shrunk
    panels[0].set_title("\n".join([f"{cell.subject or '?'}  {Path(cell.source).name}", *notes]), fontsize=8)


def _normalised(raw: Image, recipe: Recipe, cell: Cell) -> Image:
    """The whole frame with the recipe's stain, at its own size as far as a recipe may have it."""
    size = min(max(*raw.shape, MINIMUM_SIZE), MAXIMUM_SIZE)
    return preprocess(raw, replace(recipe, crop="none", size=size), str(cell.file)).image


def _draw_distributions(panels: list[Axes], cells: list[list[Cell]], recipe: Recipe) -> None:
    """Mean optical density of each cell, channel by channel, before (outline) and after (filled)."""
    for label in (0, 1):
        raw = [read_image(cell.file)[0] for cell in cells[label]]
        after = [preprocess(image, recipe, str(c.file)).image for image, c in zip(raw, cells[label], strict=True)]
        for channel, panel in enumerate(panels):
            before_od, after_od = ([_density(image)[channel] for image in images] for images in (raw, after))
            bins = np.linspace(0, 3, 61)
            style: dict[str, Any] = {"bins": bins, "color": COLOURS[label], "density": True}
            panel.hist(before_od, histtype="step", label=f"{CLASSES[label]} before", **style)
            panel.hist(after_od, alpha=0.4, label=f"{CLASSES[label]} after", **style)
    for panel, name in zip(panels, ("red", "green", "blue"), strict=True):
        panel.set_xlabel(f"mean optical density of a cell, {name}")
        panel.set_yticks([])
    panels[0].set_ylabel("share of cells")
    panels[0].legend(loc="upper right", fontsize=8)  # "best" is a search, of which matplotlib warns where it is slow


def _density(image: Image) -> NDArray[np.float64]:
    """Mean optical density ``-ln((I + 1) / 256)`` of a cell's pixels, per RGB channel: float64 ``[3]``."""
    return -np.log((cell_pixels(image) + 1.0) / 256).mean(axis=0)
