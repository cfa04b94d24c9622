"""The loader: ours beside what people use, on the same cells, in one run.

    python -m benchmarks.loader --data DATA          # make bench-loader; without --data it draws synthetic cells

Every row reads one whole epoch in shuffled batches of uint8 RGB images, start of the workers included; wall time,
best of the repeats, the rows in turn so that a slow moment of the machine meets them all. Ratio: to webdataset
with as many workers. Then: how long a training step of ResNet18 waits for its batch.
"""

import platform
import tempfile
import time
from collections.abc import Callable, Iterable, Sized
from dataclasses import dataclass, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import cv2
import torch
import tyro
from rich.console import Console
from rich.table import Table
from torch import nn

from benchmarks.counts import refuse_counts
from benchmarks.loader_peers import Counted, Epoch, opened, ours, peers
from build_shards.dataset import Cell, read_dataset
from build_shards.shards import build
from build_shards.synthetic import write_synthetic
from contract.command import run_command
from contract.errors import UserError
from contract.recipe import Recipe
from train.bfloat16 import has_bfloat16
from train.cache import CacheKind
from train.resnet import build_resnet


@dataclass(frozen=True)
class Bench:
    """Samples a second of every loader, and the share of a training step that is waiting."""

    data: Path | None = None  # folder of a dataset; default: synthetic cells are drawn
    cells: int = 1500  # cells of the training split to read
    sizes: tuple[int, ...] = (128, 224)  # px
    workers: tuple[int, ...] = (0, 2)  # loader processes, 0: none beside the one that reads
    batch_size: int = 64  # samples a batch
    repeats: int = 3  # the best one counts
    steps: int = 8  # training steps whose waiting is measured, after the first; 0: none
    threads: int = 1  # of torch in the training step


def main() -> None:
    """Build the shards, run the rows in turn and print the tables."""
    command = tyro.cli(Bench, description=__doc__)
    refuse_counts(command, zero=("workers", "steps"))
    cv2.setNumThreads(1)
    torch.set_num_threads(command.threads)
    packages = ("numpy", "opencv-python", "torch", "webdataset", "litdata")
    with tempfile.TemporaryDirectory() as scratch:
        cells = _cells(command, Path(scratch))
        if command.steps >= (batches := len(cells) // command.batch_size):
            raise UserError(
                f"--steps {command.steps}: {len(cells)} cells make {batches} batches, the first is not counted"
            )
        for size in command.sizes:
            folder = Path(scratch) / str(size)
            rows = peers(cells, size, folder, command.batch_size)
            for workers in command.workers:
                _print_rates(_time(rows, workers, command.repeats), size, workers, len(cells))
            if command.steps:
                _print_waiting(folder / "png", size, command)
    print(", ".join(f"{p} {_version(p)}" for p in packages), f"python {platform.python_version()}")


def _cells(command: Bench, scratch: Path) -> list[Cell]:
    if command.data is None:
        write_synthetic(scratch / "synthetic", 600, 0)
    dataset = read_dataset(command.data or scratch / "synthetic")
    chosen = {split: [c for c in dataset.cells if c.split == split] for split in ("train", "valid")}
    cells = chosen["train"][: command.cells]
    few = replace(dataset, cells=(*cells, *chosen["valid"][:8]), submissions=(), stated=(), identities={})
    many = max(1, *command.workers)  # webdataset gives whole shards to workers: none may go without
    for size in command.sizes:
        for kind in ("png", "npy"):
            build(
                few,
                Recipe(size=size, format=kind),
                scratch / str(size) / kind,
                workers=1,
                force=False,
                multiple_of=many,
            )
    return cells


def _time(rows: dict[str, Callable[[int], Epoch]], workers: int, repeats: int) -> dict[str, float]:
    """Samples a second of each row, its best epoch."""
    epochs = {name: peer(workers) for name, peer in rows.items()}
    best = dict.fromkeys(epochs, 0.0)
    for repeat in range(1, repeats + 1):
        for name, epoch in epochs.items():
            began = time.perf_counter()
            n = _read(epoch(repeat))
            best[name] = max(best[name], n / (time.perf_counter() - began))
    return best


def _read(epoch: Iterable[Any] | Counted) -> int:
    n = sum(len(_images(batch)) for batch in (epoch.batches if isinstance(epoch, Counted) else epoch))
    if isinstance(epoch, Counted) and n != epoch.cells:
        raise RuntimeError(f"{n} samples came where {epoch.cells} are")
    return n


def _images(batch: Any) -> Sized:
    return batch["image"] if isinstance(batch, dict) else batch[0]


def _waiting(folder: Path, kind: CacheKind, workers: int, command: Bench) -> tuple[float, float]:
    """Seconds of waiting and of work a training step of ResNet18, mean over the steps after the first."""
    epochs = ours(opened(folder), command.batch_size, kind, workers)
    model = build_resnet("resnet18").to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimizer = torch.optim.SGD(model.parameters(), 0.01, momentum=0.9)
    amp = has_bfloat16("cpu")  # as training does
    waited, worked, batches = 0.0, 0.0, iter(epochs(1))
    for step in range(command.steps + 1):
        began = time.perf_counter()
        batch = next(batches)
        arrived = time.perf_counter()
        x = batch.images.permute(0, 3, 1, 2).float() / 255
        with torch.autocast("cpu", torch.bfloat16, enabled=amp):
            logits = model(x)
        optimizer.zero_grad()
        nn.functional.cross_entropy(logits.float(), batch.labels).backward()
        optimizer.step()
        if step:
            waited, worked = waited + arrived - began, worked + time.perf_counter() - arrived
    return waited / command.steps, worked / command.steps


def _print_rates(best: dict[str, float], size: int, workers: int, cells: int) -> None:
    table = Table(title=f"{size} px, {workers} workers, {cells} cells")
    for column in ("loader", "samples/s", "ratio to webdataset"):
        table.add_column(column, justify="left" if column == "loader" else "right")
    for name, rate in best.items():
        table.add_row(name, f"{rate:,.0f}", f"{rate / best['webdataset']:.1f}")
    Console(width=100).print(table)


def _print_waiting(folder: Path, size: int, command: Bench) -> None:
    table = Table(title=f"{size} px, ResNet18, batches of {command.batch_size}, {command.steps} steps")
    for column in ("cache", "workers", "waiting ms", "step ms", "waiting %"):
        table.add_column(column, justify="left" if column == "cache" else "right")
    kinds: tuple[CacheKind, ...] = ("none", "ram", "device")
    for kind in kinds:
        for workers in command.workers:
            waited, worked = _waiting(folder, kind, workers, command)
            share = f"{100 * waited / (waited + worked):.2f}"
            table.add_row(kind, str(workers), f"{1000 * waited:.1f}", f"{1000 * worked:.0f}", share)
    Console(width=100).print(table)


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "(absent)"


if __name__ == "__main__":
    run_command("benchmarks.loader")
