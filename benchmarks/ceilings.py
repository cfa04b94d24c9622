"""What bounds a training on a GPU: its fastest matrix product and copy, and how much of both an image needs."""

import time
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from train.resnet import build_resnet

TIMES = 20  # calls that are timed together
ROUNDS = 5  # of which the best counts; one before them does not


def measure_ceilings(device: torch.device, side: int = 8192, size: int = 2**30) -> tuple[float, float]:
    """Floating point operations a second of a bfloat16 product, and bytes a second of a copy (read and written)."""
    a, b = (torch.randn(side, side, device=device, dtype=torch.bfloat16) for _ in range(2))
    source = torch.empty(size, device=device, dtype=torch.uint8)
    target = torch.empty_like(source)
    return (
        2 * side**3 / _seconds(partial(torch.mm, a, b), device),
        2 * size / _seconds(partial(target.copy_, source), device),
    )


def _seconds(act: Callable[[], object], device: torch.device) -> float:
    """Of one call, in the best round."""
    rounds = [timed(partial(_repeat, act), device) / TIMES for _ in range(1 + ROUNDS)]
    return min(rounds[1:])


def _repeat(act: Callable[[], object]) -> None:
    for _ in range(TIMES):
        act()


def timed(act: Callable[[], object], device: torch.device) -> float:
    """Seconds until ``act`` is done, on the GPU as well."""
    began = time.perf_counter()
    act()
    if device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - began


def work_of(arch: str, size: int) -> tuple[float, float]:
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
