"""Convolutions that train as matrix products on the CPU, where oneDNN's own weight gradients are slow.

On processors with matrix tiles (AMX) oneDNN takes three to five times as long for the weights' gradient of a small
feature map as for the forward pass, though both do the same arithmetic in bfloat16; in float32, with AVX2 or AVX-512,
up to twice as long. The same sums as one product over a matrix of patches run at the speed of a product; in bfloat16
with AVX-512 and no tiles both ways take the same time (``benchmarks/convolution.py`` measures every layer). Source of
the patches: Chellapilla, Puri & Simard, "High performance convolutional neural networks for document processing",
IWFHR 2006, section 3.
"""

import math
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.grad import conv2d_input


class Bounds(NamedTuple):
    """Of the layers that are products: elsewhere that costs more than it saves."""

    positions: int  # of an output map, at most
    channels: int  # of the input, at least
    pointwise: float  # positions of a layer of 1 x 1, at most; it needs no patches


BFLOAT16 = Bounds(81, 128, math.inf)
FLOAT32 = Bounds(49, 128, 49)
X86 = torch.backends.cpu.get_cpu_capability() in ("AVX2", "AVX512")  # where float32 was measured


def _bounds() -> Bounds | None:
    """Those of the arithmetic that is at work; None where ``nn.Conv2d`` is as good."""
    if torch.is_autocast_enabled("cpu"):
        return BFLOAT16
    return FLOAT32 if X86 else None


class Convolution(nn.Conv2d):
    """A ``nn.Conv2d`` (square kernel, no bias, no groups, zero padding) whose gradients are matrix products.

    Only where it trains on the CPU, under bfloat16 autocast or, on x86, in float32; everywhere else it is
    ``nn.Conv2d`` itself. The values are the same sums of products, added in another order.
    """

    @classmethod
    def of(cls, plain: nn.Conv2d) -> "Convolution":
        """One that shares the parameter of ``plain``."""
        (kernel, _), (stride, _), padding = plain.kernel_size, plain.stride, int(plain.padding[0])
        same = cls(plain.in_channels, plain.out_channels, kernel, stride, padding, bias=False, device="meta")
        same.weight = plain.weight
        return same

    def forward(self, x: Tensor) -> Tensor:
        """``[N, C, H, W] -> [N, O, H/stride, W/stride]``."""
        bounds = _bounds()
        if x.device.type != "cpu" or bounds is None or not torch.is_grad_enabled():
            return super().forward(x)
        (kernel, _), (stride, _) = self.kernel_size, self.stride
        height, width = (side // stride for side in x.shape[2:])
        if kernel == 1 and self.padding == (0, 0) and height * width <= bounds.pointwise:
            rows = x.permute(0, 2, 3, 1)[:, ::stride, ::stride]
            return functional.linear(rows, self.weight.flatten(1)).permute(0, 3, 1, 2)
        if kernel == 1 or self.in_channels < bounds.channels or height * width > bounds.positions:
            return super().forward(x)
        dtype = torch.get_autocast_dtype("cpu") if torch.is_autocast_enabled("cpu") else x.dtype
        out: Tensor = _PatchGradient.apply(x.to(dtype), self.weight.to(dtype), stride, int(self.padding[0]))
        return out


class _PatchGradient(torch.autograd.Function):
    """A convolution whose weights' gradient is one product: output gradients by patches of the input."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, stride: int, padding: int) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.stride, ctx.padding = stride, padding
        return functional.conv2d(x, weight, stride=stride, padding=padding)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        (x, weight), (gradient,) = ctx.saved_tensors, gradients
        by_input = conv2d_input(x.shape, weight, gradient, ctx.stride, ctx.padding)
        kernel = weight.shape[-1]
        rows = gradient.permute(0, 2, 3, 1).flatten(0, 2)
        product = rows.t() @ patches(x, kernel, ctx.stride, ctx.padding, gradient.shape[2], gradient.shape[3])
        return by_input, product.unflatten(1, (kernel, kernel, -1)).permute(0, 3, 1, 2), None, None


def patches(x: Tensor, kernel: int, stride: int, padding: int, height: int, width: int) -> Tensor:
    """What each output position sees: ``[N, C, H, W] -> [N height width, kernel kernel C]``, zeros outside."""
    padded = functional.pad(x.permute(0, 2, 3, 1), (0, 0, padding, padding, padding, padding))
    n, row, column, channel = padded.stride()
    shape = (len(x), height, width, kernel, kernel, x.shape[1])
    seen = padded.as_strided(shape, (n, row * stride, column * stride, row, column, channel))
    return seen.reshape(len(x) * height * width, -1)


def as_products(network: nn.Module) -> None:
    """Replace every ``nn.Conv2d`` of ``network`` that can be one by a ``Convolution`` of its parameter and name."""
    for parent in list(network.modules()):
        for name, child in list(parent.named_children()):
            if type(child) is nn.Conv2d and _can_be_one(child):
                setattr(parent, name, Convolution.of(child))


def _can_be_one(plain: nn.Conv2d) -> bool:
    square = all(len(set(pair)) == 1 for pair in (plain.kernel_size, plain.stride, plain.padding))
    return square and plain.bias is None and plain.groups == 1 and plain.dilation == (1, 1)
