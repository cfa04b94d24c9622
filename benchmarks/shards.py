"""Building shards: ours beside the chains that people write with stain libraries, on the same cells, in one run.

    make bench DATA=folder                           # 100 cells; without DATA it draws synthetic ones
    make bench DATA=folder FLAGS="--total 10661"     # and whole builds of 10,661 and 21,322 cells

Chains: every one reads BMPs, normalises, crops and resizes, and writes a WebDataset tar, in a process of its own on one
core; then in two processes at once, half of the cells each. Best of the repeats, chains in turn, so that a slow moment
of the machine meets them all. Ratio: chain / ours with the same stain method. Whole builds: the command, from start to
end, with all its processes watched. Their ratio: torchstain numpy's time a cell on one core, halved (the best that two
cores could do: the peer is not timed in whole builds), to the command's with two workers.
"""

import os
import platform
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import Executor, ProcessPoolExecutor
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from multiprocessing import get_context
from pathlib import Path

import cv2
from rich.console import Console
from rich.table import Table

from benchmarks import peers, whole_build
from benchmarks.counts import refuse_counts
from build_shards.dataset import Cell, read_dataset
from build_shards.plan import ShardPlan
from build_shards.preprocess import preprocess, read_image
from build_shards.shard_writer import Job, write_shard
from build_shards.stain_target import fit_recipe
from build_shards.synthetic import write_synthetic
from contract.command import run_command
from contract.recipe import TARGET_LENGTHS, Recipe

PACKAGES = (
    "numpy",
    "opencv-python",
    "scikit-learn",
    "torch",
    "torchstain",
    "tiatoolbox",
    "torch-staintools",
    "webdataset",
)
THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")  # one a process: a chain is timed on one core


@dataclass(frozen=True)
class Bench:
    """Milliseconds a cell and images a second of every chain, with the ratio to ours; whole builds and their memory."""

    data: Path | None = None  # folder of a dataset; default: synthetic cells are drawn
    cells: int = 100  # cells of the training split that every chain builds
    repeats: int = 3  # the best one counts
    total: int = 0  # cells of the whole builds, and twice as many; default: as many as the dataset has
    stains: tuple[str, ...] = ("none", "macenko")  # of the whole builds
    scratch: Path | None = None  # folder for what is built, on the file system of the data; default: the system's


@dataclass(frozen=True)
class Chain:
    """One way to build; small enough to be sent to a process."""

    library: str  # "ours", or one of peers.PEERS
    method: str
    recipe: Recipe | None  # of ours
    reference: Path  # the picture that a peer fits on

    @property
    def name(self) -> str:
        return f"{self.library} {self.method}"


def main() -> None:
    """Run everything and print the tables."""
    import tyro

    command = tyro.cli(Bench, description=__doc__)
    refuse_counts(command, zero=("total",))
    if command.scratch is not None:
        command.scratch.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=command.scratch) as scratch:
        data = command.data or _drawn(Path(scratch) / "synthetic")
        dataset = read_dataset(data)
        cells = [cell for cell in dataset.cells if cell.split == "train"][: command.cells]
        recipes = {m: fit_recipe(dataset, Recipe(stain=m), skip_bad=False) for m in TARGET_LENGTHS}  # type: ignore[arg-type]
        chains = [Chain("ours", method, recipe, cells[0].file) for method, recipe in recipes.items()]
        for library, methods in peers.PEERS.items():
            reason = peers.why_missing(library)
            if reason:
                print(f"left out: {library}: not usable here ({reason})")
            else:
                chains += [Chain(library, method, None, cells[0].file) for method in methods]
        one, two = _time(chains, cells, command.repeats, Path(scratch))
        _print_chains(one, two, dataset.name, len(cells))
        _print_crops({m: _time_crops(cells, recipe, command.repeats) for m, recipe in recipes.items()}, len(cells))
        _whole_builds(dataset.cells, command, Path(scratch), one)
    print(", ".join(f"{package} {_version(package)}" for package in PACKAGES) + f", python {platform.python_version()}")


def _drawn(folder: Path) -> Path:
    write_synthetic(folder, 160, 0)
    return folder


def _time(
    chains: list[Chain], cells: list[Cell], repeats: int, scratch: Path
) -> tuple[dict[str, float], dict[str, float]]:
    """Milliseconds a cell in one process, and images a second in two, by the chain's name."""
    one, two = {chain.name: float("inf") for chain in chains}, {chain.name: 0.0 for chain in chains}
    context = get_context("spawn")
    os.environ.update(dict.fromkeys(THREADS, "1"))  # before a process starts: BLAS reads them when it is loaded
    with ProcessPoolExecutor(1, context) as first, ProcessPoolExecutor(1, context) as second:
        for _ in range(repeats):
            for chain in chains:
                _both(first, second, chain, cells[:4], scratch)  # imports, fits, warms up
                milliseconds = 1000 * first.submit(run_chain, chain, cells, scratch).result() / len(cells)
                one[chain.name] = min(one[chain.name], milliseconds)
                two[chain.name] = max(two[chain.name], len(cells) / _both(first, second, chain, cells, scratch))
    return one, two


def _both(first: Executor, second: Executor, chain: Chain, cells: list[Cell], scratch: Path) -> float:
    began = time.perf_counter()
    halves = [pool.submit(run_chain, chain, cells[i::2], scratch) for i, pool in enumerate((first, second))]
    for half in halves:
        half.result()
    return time.perf_counter() - began


def run_chain(chain: Chain, cells: Sequence[Cell], scratch: Path) -> float:
    """Build ``cells`` with one chain in this process: seconds."""
    cv2.setNumThreads(1)
    if chain.library.startswith("torch"):
        import torch

        torch.set_num_threads(1)
    with tempfile.TemporaryDirectory(dir=scratch) as folder:
        began = time.perf_counter()
        if chain.recipe is None:
            peers.build(chain.library, chain.method, cells, Path(folder), chain.reference)
        else:
            keyed = tuple((f"train-{i:06d}", cell) for i, cell in enumerate(cells))
            write_shard(Job(ShardPlan("train-000000.tar", "train", keyed), chain.recipe, Path(folder), False))
        return time.perf_counter() - began


def _time_crops(cells: list[Cell], recipe: Recipe, repeats: int) -> float:
    """Milliseconds a cell of normalising and cropping alone, of decoded images."""
    cv2.setNumThreads(1)
    images = [read_image(cell.file)[0] for cell in cells]
    best = [float("inf")] * len(images)
    for _ in range(repeats):
        for i, image in enumerate(images):
            began = time.perf_counter()
            preprocess(image, recipe, "")
            best[i] = min(best[i], time.perf_counter() - began)
    return 1000 * sum(best) / len(best)


def _whole_builds(cells: Sequence[Cell], command: Bench, scratch: Path, one: dict[str, float]) -> None:
    total = command.total or len(cells)
    table = Table(title="whole builds: python -m build_shards build, 2 workers")
    for column in ("stain", "cells", "file cache", "s", "ms a cell", "ratio", "MB parent", "MB workers"):
        table.add_column(column, justify="left" if column in ("stain", "file cache") else "right")
    for count in (total, 2 * total):
        try:
            data = whole_build.enlarge(cells, count, scratch / f"data-{count}")
        except OSError as error:
            print(f"left out: whole builds: cells cannot be linked to {scratch} ({error.strerror}): give --scratch")
            return
        for stain in command.stains:
            for cache in ("cold", "warm") if count == total else ("warm",):
                if cache == "cold" and not whole_build.evict(cells):
                    continue
                shards = scratch / f"{count}-{stain}-{cache}"
                found = whole_build.run(data, count, stain, 2, shards)
                table.add_row(stain, str(count), cache, *_whole_row(found, one.get(f"torchstain numpy {stain}")))
    Console(width=110).print(table)
    print(
        "ratio: half of torchstain numpy's ms a cell and core (chains), as if two cores took half the time,"
        " to the whole command's ms a cell with 2 workers"
    )


def _whole_row(found: whole_build.WholeBuild, peer: float | None) -> list[str]:
    milliseconds = 1000 * found.seconds / found.cells
    ratio = f"{peer / 2 / milliseconds:.1f}" if peer else ""
    workers = ", ".join(f"{peak:.0f}" for peak in found.workers)
    return [f"{found.seconds:.1f}", f"{milliseconds:.2f}", ratio, f"{found.parent:.0f}", workers]


def _print_chains(one: dict[str, float], two: dict[str, float], dataset: str, cells: int) -> None:
    table = Table(title=f"{dataset}: {cells} cells, {platform.processor() or platform.machine()}")
    for column in ("chain", "ms a cell and core", "ratio to ours", "images/s on 2 cores", "ratio"):
        table.add_column(column, justify="left" if column == "chain" else "right")
    for name, milliseconds in one.items():
        ours = f"ours {name.split()[-1]}"
        ratios = f"{milliseconds / one[ours]:.1f}", f"{two[ours] / two[name]:.1f}"
        table.add_row(name, f"{milliseconds:.2f}", ratios[0], f"{two[name]:.0f}", ratios[1])
    Console(width=110).print(table)


def _print_crops(crops: dict[str, float], cells: int) -> None:
    found = ", ".join(f"{method} {milliseconds:.2f}" for method, milliseconds in crops.items())
    print(f"normalise + crop alone, ms a cell on one core (best of the repeats for every cell, n = {cells}): {found}")


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


if __name__ == "__main__":
    run_command("benchmarks.shards")
