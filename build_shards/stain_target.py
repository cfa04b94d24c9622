"""Fit the stain target of a recipe: on the training split alone, over many subjects."""

from collections import defaultdict
from dataclasses import dataclass, replace

import cv2

from build_shards.dataset import Cell, Dataset
from build_shards.pool import WorkerPool
from build_shards.preprocess import cell_pixels, read_view
from build_shards.stain import fit_target, measure
from contract.errors import UserError
from contract.recipe import Recipe

CELLS_PER_SUBJECT = 8
CELLS_WITHOUT_SUBJECTS = 400
CHUNK = 16  # cells that a process takes at a time


@dataclass(frozen=True)
class Job:
    """One training cell to measure."""

    cell: Cell
    stain: str
    skip_bad: bool


def fit_recipe(dataset: Dataset, recipe: Recipe, skip_bad: bool, pool: WorkerPool | None = None) -> Recipe:
    """The recipe with its stain target: the median over subjects of each subject's median cell.

    Where subjects are unknown, the median over cells. Which cells are measured is drawn from their paths; nothing
    depends on ``pool`` (default: this process). Raises ``UserError`` for a cell that cannot be read, unless
    ``skip_bad``, and when no stain can be told.
    """
    if recipe.stain == "none":
        return recipe
    groups: dict[str, list[tuple[float, ...]]] = defaultdict(list)
    cells = _sample(dataset)
    jobs = [Job(cell, recipe.stain, skip_bad) for cell in cells]
    measured = (pool or WorkerPool(1)).map_in_order(measure_cell, jobs, CHUNK)
    for cell, statistics in zip(cells, measured, strict=True):
        if statistics is not None:
            groups[cell.subject or cell.source].append(statistics)
    medians = [fit_target(measured, recipe.stain) for _, measured in sorted(groups.items())]
    return replace(recipe, target=fit_target(medians, recipe.stain))


def measure_cell(job: Job) -> tuple[float, ...] | None:
    """The stain of one cell; None where it cannot be told, or the file not be read and ``skip_bad``."""
    cv2.setNumThreads(1)  # one worker, one core
    try:
        return measure(cell_pixels(read_view(job.cell.file)[0]), job.stain)
    except UserError:
        if not job.skip_bad:
            raise
        return None


def _sample(dataset: Dataset) -> list[Cell]:
    train = [cell for cell in dataset.cells if cell.split == "train"]
    drawn = sorted(train, key=lambda cell: cell.scatter)
    of_subject: dict[str | None, list[Cell]] = defaultdict(list)
    for cell in drawn:
        limit = CELLS_WITHOUT_SUBJECTS if cell.subject is None else CELLS_PER_SUBJECT
        if len(of_subject[cell.subject]) < limit:
            of_subject[cell.subject].append(cell)
    return [cell for cells in of_subject.values() for cell in cells]
