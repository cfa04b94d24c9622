"""Training: ours beside two loops that people write, the same network on the same images, in one run.

    python benchmarks/train.py                       # make bench-train; all three networks at 112 and 224 px
    python benchmarks/train.py --archs resnet18 --sizes 112 --rounds 5

ours: the loop of `python -m train` with its defaults, from shards: reading, augmentation, EMA, checks. plain: float32,
NCHW, SGD, flips, images already decoded in memory. bf16: plain with autocast and channels_last, nothing else of ours.
The loops take turns, so that a slow moment of the machine meets them all; the best round of each counts. On a GPU,
two ceilings are measured as well: a bfloat16 matrix product and a copy in memory.
"""

import platform
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
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
from torch.utils.flop_counter import FlopCounterMode

from build_shards.dataset import read_dataset
from build_shards.shards import build
from build_shards.synthetic import write_synthetic
from contract.command import run_command
from contract.recipe import Recipe
from train.config import Config
from train.interrupt import Interruption
from train.loop import train_epoch
from train.processes import pick_device
from train.resnet import build_resnet
from train.run import Run

Loop = Callable[[], None]  # trains for one epoch


@dataclass(frozen=True)
class Bench:
    """Images a second of every loop, with the ratio to the plain one."""

    archs: tuple[Literal["resnet18", "resnet50", "resnet152"], ...] = ("resnet18", "resnet50", "resnet152")  # networks
    sizes: tuple[int, ...] = (112, 224)  # px a side
    cells: int = 320  # synthetic cells that are drawn; three in five of them are an epoch
    batch_size: int = 64  # images a step
    rounds: int = 3  # epochs of every loop, in turn; the best one counts
    threads: int = 0  # of torch on the CPU; 0: as torch chooses
    device: str = "auto"  # auto: cuda where there is a usable GPU
    compile: bool = False  # a row more: ours with torch.compile


def main() -> None:
    """Run the loops in turn and print the table."""
    bench = tyro.cli(Bench, description=__doc__)
    if bench.threads:
        torch.set_num_threads(bench.threads)
    device = pick_device(bench.device)
    ceilings = _ceilings(device) if device.type == "cuda" else None
    table = _table(bench, ceilings is not None)
    with tempfile.TemporaryDirectory() as scratch:
        write_synthetic(Path(scratch) / "data", bench.cells, 0)
        for size in bench.sizes:
            shards = _shards(Path(scratch), size)
            for arch in bench.archs:
                _measure(table, bench, arch, shards, device, ceilings)
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
    run = Run(config)
    images, labels = _decoded(run)
    size, n = run.manifest.recipe.size, run.samples
    loops = {"ours": _ours(run), "plain": _plain(run, images, labels, False), "bf16": _plain(run, images, labels, True)}
    if bench.compile:
        loops["ours, compiled"] = _ours(Run(Config(**{**vars(config), "compile": True})))
    rates = {name: n / seconds for name, seconds in _best(loops, bench.rounds, device).items()}
    for name, rate in rates.items():
        row = [arch, str(size), name, f"{rate:.1f}", f"{rate / rates['plain']:.2f}"]
        if ceilings:
            row += [f"{100 * rate * work / most:.0f} %" for work, most in zip(_work(arch, size), ceilings, strict=True)]
        table.add_row(*row, end_section=name == list(rates)[-1])


def _best(loops: dict[str, Loop], rounds: int, device: torch.device) -> dict[str, float]:
    """Seconds of the best epoch of each; one before them is not counted."""
    best = dict.fromkeys(loops, float("inf"))
    for counted in [False, *[True] * rounds]:
        for name, loop in loops.items():
            began = time.perf_counter()
            loop()
            if device.type == "cuda":
                torch.cuda.synchronize()
            if counted:
                best[name] = min(best[name], time.perf_counter() - began)
    return best


def _ours(run: Run) -> Loop:
    epochs = iter(range(1, run.config.epochs + 1))

    def epoch() -> None:
        with Interruption() as interruption:
            train_epoch(run, run.new_phase(next(epochs)), interruption)

    return epoch


def _plain(run: Run, images: Tensor, labels: Tensor, bf16: bool) -> Loop:
    """What a course solution writes; its images lie decoded in the device's memory already."""
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


def _ceilings(device: torch.device) -> tuple[float, float]:
    """Floating point operations a second of a bfloat16 product, and bytes a second of a copy (read and written)."""
    a, b = (torch.randn(8192, 8192, device=device, dtype=torch.bfloat16) for _ in range(2))
    source = torch.empty(2**30, device=device, dtype=torch.uint8)
    target = torch.empty_like(source)
    product = _best({"product": lambda: _times(20, lambda: torch.mm(a, b))}, 5, device)["product"] / 20
    copy = _best({"copy": lambda: _times(20, lambda: target.copy_(source))}, 5, device)["copy"] / 20
    return 2 * 8192**3 / product, 2 * 2**30 / copy


def _times(n: int, act: Callable[[], Tensor]) -> None:
    for _ in range(n):
        act()


def _work(arch: str, size: int) -> tuple[float, float]:
    """Per image: floating point operations of forward and backward, and bytes that must move at the least.

    Bytes: every layer reads its input and writes its output once forward, and twice as much backward, in bfloat16 and
    without fusion; weights are left out, as a batch shares them.
    """
    model, moved = build_resnet(arch), 0

    def count(_: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        nonlocal moved
        moved += inputs[0].numel() + output.numel()

    for module in model.modules():
        if not list(module.children()) and not isinstance(module, nn.Identity):
            module.register_forward_hook(count)
    with FlopCounterMode(display=False) as counter:
        model(torch.zeros(2, 3, size, size)).sum().backward()
    return counter.get_total_flops() / 2, 3 * 2 * moved / 2


def _table(bench: Bench, ceilings: bool) -> Table:
    table = Table(title=f"training, batches of {bench.batch_size}, best of {bench.rounds} epochs")
    columns = ["network", "px", "loop", "images/s", "ratio to plain"]
    for column in columns + ["of the matrix ceiling", "of the memory ceiling"] * ceilings:
        table.add_column(column, justify="left" if column in ("network", "loop") else "right")
    return table


if __name__ == "__main__":
    run_command("benchmarks.train")
