"""Training: ours beside two loops that people write, the same network on the same images, in one run.

    python benchmarks/train.py                       # make bench-train; all three networks at 112 and 224 px
    python benchmarks/train.py --archs resnet18 --sizes 112 --rounds 5

ours: the loop of `python -m train` with its defaults, from shards: reading, augmentation, EMA, checks. plain: float32,
NCHW, SGD, flips, images already decoded in memory. bf16: plain with autocast and channels_last, nothing else of ours.
Each loop is a process of its own, as it would be for who runs it (ours sets how memory is freed, for all of a process).
They take turns, so that a slow moment of the machine meets them all; the best round of each counts. On a GPU, two
ceilings are measured as well: a bfloat16 matrix product and a copy in memory.
"""

import platform
import sys
import tempfile
from collections.abc import Callable, Mapping
from concurrent.futures.process import BrokenProcessPool, ProcessPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from importlib.metadata import version
from multiprocessing import get_context
from pathlib import Path
from typing import Literal

if __name__ == "__main__":
    sys.path[0] = str(Path(__file__).resolve().parents[1])  # this file would hide the room of its name

import torch
import tyro
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn
from torch.nn import functional

from benchmarks.ceilings import measure_ceilings, timed, work_of
from benchmarks.counts import refuse_counts
from build_shards.dataset import read_dataset
from build_shards.shards import build
from build_shards.synthetic import write_synthetic
from contract.command import run_command
from contract.errors import UserError
from contract.manifest import load_manifest
from contract.recipe import Recipe
from train.config import Config
from train.interrupt import Interruption
from train.loop import train_epoch
from train.memory import keep_freed_memory
from train.processes import pick_device
from train.resnet import build_resnet
from train.run import Run

Loop = Callable[[], None]  # trains for one epoch
_loops: list[Loop] = []  # of this process: one


@dataclass(frozen=True)
class Bench:
    """Images a second of every loop, with the ratio to the plain one."""

    archs: tuple[Literal["resnet18", "resnet50", "resnet152"], ...] = ("resnet18", "resnet50", "resnet152")  # networks
    sizes: tuple[int, ...] = (112, 224)  # px a side
    cells: int = 320  # synthetic cells that are drawn; three in five of them are an epoch
    batch_size: int = 64  # images a step
    rounds: int = 3  # epochs of every loop, in turn; the best one counts
    threads: int = 0  # of torch on the CPU; 0: as torch chooses
    device: Literal["auto", "cpu", "cuda"] = "auto"  # auto: cuda where there is a usable GPU
    compile: bool = False  # a row more: ours with torch.compile


def main() -> None:
    """Run the loops in turn and print the table."""
    bench = tyro.cli(Bench, description=__doc__)
    refuse_counts(bench, zero=("threads",))
    if bench.threads:
        torch.set_num_threads(bench.threads)
    device = pick_device(bench.device)
    ceilings = measure_ceilings(device) if device.type == "cuda" else None
    table = _table(bench, ceilings is not None)
    with tempfile.TemporaryDirectory() as scratch:
        write_synthetic(Path(scratch) / "data", bench.cells, 0)
        try:
            for size in bench.sizes:
                shards = _shards(Path(scratch), size)
                for arch in bench.archs:
                    _measure(table, bench, arch, shards, device, ceilings)
        finally:  # what was measured before a failure is not lost
            if table.row_count:
                Console(width=120).print(table)
    name = torch.cuda.get_device_name() if device.type == "cuda" else f"{torch.get_num_threads()} threads, CPU"
    packages = ", ".join(f"{package} {version(package)}" for package in ("torch", "numpy", "opencv-python"))
    print(f"{name}; {packages}, python {platform.python_version()}")


def _shards(scratch: Path, size: int) -> Path:
    shards = scratch / f"shards-{size}"
    build(read_dataset(scratch / "data", "subject", 0), Recipe(size=size), shards, workers=1, force=False)
    return shards


def _measure(
    table: Table, bench: Bench, arch: str, shards: Path, device: torch.device, ceilings: tuple[float, float] | None
) -> None:
    """Time the loops of one network at one size and add their rows."""
    config = Config(
        arch=arch,  # type: ignore[arg-type]
        shards=shards,
        batch_size=bench.batch_size,
        start_size=0,  # the whole run at the size that the table names
        checkpoint_every=0,
        device=device.type,  # type: ignore[arg-type]
        cache="device" if device.type == "cuda" else "none",
    )
    names = ["ours", "plain", "bf16"] + ["ours, compiled"] * bench.compile
    context, threads = get_context("spawn"), torch.get_num_threads()
    with ExitStack() as stack:
        pools = {name: ProcessPoolExecutor(1, context, _prepare, (name, config, threads)) for name in names}
        rounds = {name: partial(_asked, stack.enter_context(pool)) for name, pool in pools.items()}
        try:
            best = _best(rounds, bench.rounds)
        except BrokenProcessPool:
            said = f"where memory ran out, use a smaller --batch-size than {bench.batch_size}"
            name = f"{arch}, {shards.name.removeprefix('shards-')} px"
            raise UserError(f"{name}: a loop's process was killed; {said}") from None
    manifest = load_manifest(shards)
    size, n = manifest.recipe.size, manifest.split("train").samples
    rates = {name: n / seconds for name, seconds in best.items()}
    for name, rate in rates.items():
        row = [arch, str(size), name, f"{rate:.1f}", f"{rate / rates['plain']:.2f}"]
        if ceilings:
            row += [
                f"{100 * rate * work / most:.0f} %" for work, most in zip(work_of(arch, size), ceilings, strict=True)
            ]
        table.add_row(*row, end_section=name == list(rates)[-1])


def _best(rounds_of: Mapping[str, Callable[[], float]], rounds: int) -> dict[str, float]:
    """The best of each one's seconds, taken in turn; one round before them is not counted."""
    best = dict.fromkeys(rounds_of, float("inf"))
    for counted in [False, *[True] * rounds]:
        for name, seconds_of_round in rounds_of.items():
            seconds = seconds_of_round()
            if counted:
                best[name] = min(best[name], seconds)
    return best


def _prepare(name: str, config: Config, threads: int) -> None:
    """Make this process the one of a loop."""
    torch.set_num_threads(threads)
    if name.startswith("ours"):
        keep_freed_memory()  # as the command does
        _loops.append(_ours(Run(replace(config, compile=name == "ours, compiled"))))
    else:
        _loops.append(_plain(Run(config), name == "bf16"))


def _asked(pool: ProcessPoolExecutor) -> float:
    return pool.submit(_epoch).result()


def _epoch() -> float:
    return timed(_loops[0], torch.device("cuda" if torch.cuda.is_initialized() else "cpu"))


def _ours(run: Run) -> Loop:
    epochs = iter(range(1, run.config.epochs + 1))

    def epoch() -> None:
        with Interruption() as interruption:
            train_epoch(run, run.new_phase(next(epochs)), interruption)

    return epoch


def _plain(run: Run, bf16: bool) -> Loop:
    """What a course solution writes; its images lie decoded in the device's memory already."""
    images, labels = _decoded(run)
    model: nn.Module = build_resnet(run.config.arch).to(run.device)
    model = model.to(memory_format=torch.channels_last) if bf16 else model  # type: ignore[call-overload]
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9, nesterov=True, weight_decay=5e-4)
    mean, std = run.normalise.mean, run.normalise.std

    def epoch() -> None:
        model.train()
        for rows in torch.randperm(len(images), device=run.device).split(run.config.batch_size):
            x = (images[rows].permute(0, 3, 1, 2).float() - mean) / std
            x = x.flip(3) if torch.rand(()) < 0.5 else x
            x = x.contiguous(memory_format=torch.channels_last) if bf16 else x.contiguous()
            optimizer.zero_grad()
            with torch.autocast(run.device.type, torch.bfloat16, enabled=bf16):
                logits = model(x)
            functional.cross_entropy(logits.float(), labels[rows]).backward()
            optimizer.step()

    return epoch


def _decoded(run: Run) -> tuple[Tensor, Tensor]:
    batches = list(run.train_batches(run.new_phase(1)))
    images, labels = torch.cat([b.images for b in batches]), torch.cat([b.labels for b in batches])
    return images.to(run.device), labels.to(run.device)


def _table(bench: Bench, ceilings: bool) -> Table:
    table = Table(title=f"training, batches of {bench.batch_size}, best of {bench.rounds} epochs")
    columns = ["network", "px", "loop", "images/s", "ratio to plain"]
    for column in columns + ["of the matrix ceiling", "of the memory ceiling"] * ceilings:
        table.add_column(column, justify="left" if column in ("network", "loop") else "right")
    return table


if __name__ == "__main__":
    run_command("benchmarks.train")
