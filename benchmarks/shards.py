"""Building shards: ours beside the chain that people write with torchstain, on the same cells, in one run.

    python benchmarks/shards.py --data DATA          # make bench; without --data it draws synthetic cells

Every chain reads BMPs, normalises, crops and resizes, and writes a WebDataset tar. One process on one core; wall time
a cell, best of the repeats, chains in turn so that a slow moment of the machine meets them all. Ratio: chain / ours
with the same stain method.
"""

import platform
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
import torchstain
import tyro
import webdataset
from rich.console import Console
from rich.table import Table

from build_shards.dataset import Cell, read_dataset
from build_shards.plan import ShardPlan
from build_shards.shard_writer import Job, write_shard
from build_shards.stain_target import fit_recipe
from build_shards.synthetic import write_synthetic
from contract.recipe import Recipe

WINDOW = 288


@dataclass(frozen=True)
class Bench:
    """Milliseconds a cell of every chain, with the ratio to ours."""

    data: Path | None = None  # folder of a dataset; default: synthetic cells are drawn
    cells: int = 100  # cells of the training split to build
    repeats: int = 3  # the best one counts


def main() -> None:
    """Run the chains in turn and print the table."""
    command = tyro.cli(Bench, description=__doc__)
    cv2.setNumThreads(1)
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as scratch:
        data = command.data or _drawn(Path(scratch) / "synthetic")
        dataset = read_dataset(data)
        cells = [cell for cell in dataset.cells if cell.split == "train"][: command.cells]
        methods = ("none", "reinhard", "macenko", "vahadane")
        recipes = {m: fit_recipe(dataset, Recipe(stain=m), skip_bad=False) for m in methods}  # type: ignore[arg-type]
        chains: dict[str, Callable[[Path], None]] = {f"ours {m}": _ours(cells, r) for m, r in recipes.items()}
        chains |= {f"torchstain {b} {m}": _torchstain(cells, b, m) for b, m in PEERS}
        best = _time(chains, command.repeats, Path(scratch), len(cells))
    _print(best, dataset.name, len(cells))


PEERS = (("numpy", "reinhard"), ("numpy", "macenko"), ("torch", "reinhard"), ("torch", "macenko"))


def _drawn(folder: Path) -> Path:
    write_synthetic(folder, 160, 0)
    return folder


def _time(chains: dict[str, Callable[[Path], None]], repeats: int, scratch: Path, cells: int) -> dict[str, float]:
    best = dict.fromkeys(chains, float("inf"))
    for repeat in range(repeats):
        for name, chain in chains.items():
            folder = scratch / f"{repeat}-{name.replace(' ', '-')}"
            folder.mkdir()
            began = time.perf_counter()
            chain(folder)
            best[name] = min(best[name], 1000 * (time.perf_counter() - began) / cells)
    return best


def _ours(cells: list[Cell], recipe: Recipe) -> Callable[[Path], None]:
    keyed = tuple((f"train-{i:06d}", cell) for i, cell in enumerate(cells))
    return lambda folder: _discard(
        write_shard(Job(ShardPlan("train-000000.tar", "train", keyed), recipe, folder, False))
    )


def _torchstain(cells: list[Cell], backend: str, method: str) -> Callable[[Path], None]:
    """What course solutions write: the library on the whole frame, a crop, a resize, ``ShardWriter``."""
    make: Any = torchstain.normalizers.MacenkoNormalizer if method == "macenko" else None
    make = make or torchstain.normalizers.ReinhardNormalizer
    normalizer = make(backend=backend)
    normalizer.fit(_convert(cv2.cvtColor(cv2.imread(str(cells[0].file)), cv2.COLOR_BGR2RGB), backend))

    def run(folder: Path) -> None:
        with webdataset.ShardWriter(str(folder / "train-%06d.tar"), verbose=0) as writer:
            for i, cell in enumerate(cells):
                image = cv2.cvtColor(cv2.imread(str(cell.file)), cv2.COLOR_BGR2RGB)
                mask = image.any(axis=2)
                normed = normalizer.normalize(_convert(image, backend))
                normed = normed[0] if isinstance(normed, tuple) else normed
                pixels = np.asarray(normed).astype(np.uint8) * mask[..., None]
                writer.write({"__key__": f"{i:06d}", "png": _crop(pixels, mask), "cls": cell.label})

    return run


def _convert(image: np.ndarray, backend: str) -> Any:
    return torch.from_numpy(image).permute(2, 0, 1) if backend == "torch" else image


def _crop(pixels: np.ndarray, mask: np.ndarray) -> np.ndarray:
    y, x = (int(c.mean()) for c in np.nonzero(mask))
    padded = np.pad(pixels, ((WINDOW // 2,) * 2, (WINDOW // 2,) * 2, (0, 0)))
    return cv2.resize(padded[y : y + WINDOW, x : x + WINDOW], (112, 112), interpolation=cv2.INTER_AREA)


def _discard(_: object) -> None:
    """A chain returns nothing."""


def _print(best: dict[str, float], dataset: str, cells: int) -> None:
    table = Table(title=f"{dataset}: {cells} cells, one core of {platform.processor() or platform.machine()}")
    for column in ("chain", "ms a cell", "cells/s a core", "ratio to ours"):
        table.add_column(column, justify="left" if column == "chain" else "right")
    for name, milliseconds in best.items():
        ratio = milliseconds / best[f"ours {name.split()[-1]}"]
        table.add_row(name, f"{milliseconds:.2f}", f"{1000 / milliseconds:.0f}", f"{ratio:.1f}")
    Console(width=100).print(table)
    packages = ("numpy", "opencv-python", "torch", "torchstain", "webdataset")
    print(", ".join(f"{package} {version(package)}" for package in packages), f"python {platform.python_version()}")


if __name__ == "__main__":
    main()
