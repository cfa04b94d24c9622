"""Convolutions on the CPU: ours, whose gradients are matrix products, beside torch's own, layer by layer.

    python -m benchmarks.convolution                               # ResNet18 at 112 px, 64 images
    python -m benchmarks.convolution --arch resnet152 --size 64 --batch-size 32

Every distinct layer of the network: forward and both gradients, as a training step runs them, in turn; the least of the
rounds, multiplied by how often the network has it. In bfloat16 where the processor computes in it, else in float32.
Layers that stay torch's own have the ratio 1 by definition.
"""

import platform
import time
from collections import Counter
from dataclasses import dataclass
from importlib.metadata import version
from typing import Literal

import torch
import tyro
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn

from benchmarks.counts import refuse_counts
from contract.command import run_command
from train.bfloat16 import has_bfloat16
from train.convolution import Convolution
from train.memory import keep_freed_memory
from train.resnet import build_resnet

Shape = tuple[int, int, int, int, int]  # channels in and out, kernel, stride, side of the input


@dataclass(frozen=True)
class Bench:
    """Milliseconds of every distinct layer of a network, with the ratio of torch's own to ours."""

    arch: Literal["resnet18", "resnet50", "resnet152"] = "resnet18"  # network
    size: int = 112  # px a side
    batch_size: int = 64  # images
    rounds: int = 15  # of every layer; the least counts
    threads: int = 0  # of torch; 0: as torch chooses


def main() -> None:
    """Time the layers and print the table."""
    bench = tyro.cli(Bench, description=__doc__)
    refuse_counts(bench, zero=("threads",))
    keep_freed_memory()  # as training does
    if bench.threads:
        torch.set_num_threads(bench.threads)
    title = (
        f"{bench.arch}, {bench.size} px, {bench.batch_size} images: ms forward and backward, least of {bench.rounds}"
    )
    table = Table(title=title)
    for column in ("channels", "kernel, stride", "map", "layers", "torch", "ours", "torch / ours"):
        table.add_column(column, justify="right")
    totals = [0.0, 0.0]
    for shape, layers in layers_of(bench.arch, bench.size).items():
        best = [layers * ms for ms in timed(shape, bench)]
        totals = [total + ms for total, ms in zip(totals, best, strict=True)]
        channels, out_channels, kernel, stride, side = shape
        name = (f"{channels} to {out_channels}", f"{kernel}, {stride}", str(-(-side // stride)), str(layers))
        table.add_row(*name, *(f"{ms:.2f}" for ms in best), f"{best[0] / best[1]:.2f}")
    table.add_section()
    table.add_row("all", "", "", "", *(f"{ms:.1f}" for ms in totals), f"{totals[0] / totals[1]:.2f}")
    Console(width=100).print(table)
    print(f"{torch.get_num_threads()} threads, CPU; torch {version('torch')}, python {platform.python_version()}")


def layers_of(arch: str, size: int) -> Counter[Shape]:
    """How often a network has each kind of convolution."""
    found: Counter[Shape] = Counter()
    model = build_resnet(arch).eval()

    def note(layer: nn.Conv2d, inputs: tuple[Tensor, ...], _: Tensor) -> None:
        found[layer.in_channels, layer.out_channels, layer.kernel_size[0], layer.stride[0], inputs[0].shape[2]] += 1

    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            module.register_forward_hook(note)
    with torch.inference_mode():
        model(torch.zeros(1, 3, size, size))
    return found


def timed(shape: Shape, bench: Bench) -> tuple[float, float]:
    """Milliseconds of torch's layer and of ours, in turn."""
    channels, out_channels, kernel, stride, side = shape
    plain = nn.Conv2d(channels, out_channels, kernel, stride, padding=kernel // 2, bias=False).to(
        memory_format=torch.channels_last  # type: ignore[call-overload]
    )
    amp = has_bfloat16("cpu")
    dtype = torch.bfloat16 if amp else torch.float32
    x = torch.randn(bench.batch_size, channels, side, side).to(dtype, memory_format=torch.channels_last)
    x.requires_grad_(channels != 3)  # nobody asks for the gradient of an image
    layers, best = (plain, Convolution.of(plain)), [float("inf")] * 2
    with torch.autocast("cpu", torch.bfloat16, enabled=amp):
        gradient = torch.randn_like(plain(x))
    for counted in [False, *[True] * bench.rounds]:  # the first one finds caches and memory cold
        for i, layer in enumerate(layers):
            x.grad = plain.weight.grad = None
            began = time.perf_counter()
            with torch.autocast("cpu", torch.bfloat16, enabled=amp):
                out = layer(x)
            out.backward(gradient)
            ms = 1000 * (time.perf_counter() - began)
            best[i] = min(best[i], ms) if counted else best[i]
    return best[0], best[1]


if __name__ == "__main__":
    run_command("benchmarks.convolution")
