"""Convolutions that train as matrix products on the CPU, where oneDNN's own weight gradients are slow.

On processors with matrix tiles (AMX) oneDNN takes three to five times as long for the weights' gradient of a small
feature map as for the forward pass, though both do the same arithmetic in bfloat16. The same sums as one product over a
matrix of patches run at the speed of a product; with AVX-512 alone both ways take the same time
(``benchmarks/convolution.py`` measures every layer). Source of the patches: Chellapilla, Puri & Simard, "High
performance convolutional neural networks for document processing", IWFHR 2006, section 3.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.grad import conv2d_input

LARGEST_MAP = 81  # positions of an output map: above it the patches cost more than their product saves
FEWEST_CHANNELS = 128  # of the input, likewise


class Convolution(nn.Conv2d):
    """A ``nn.Conv2d`` (square kernel, no bias, no groups, zero padding) whose gradients are matrix products.

    Only where it trains on the CPU under bfloat16 autocast; everywhere else it is ``nn.Conv2d`` itself. The values are
    the same sums of products of bfloat16 numbers, added in another order.
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
        if x.device.type != "cpu" or not torch.is_autocast_enabled("cpu") or not torch.is_grad_enabled():
            return super().forward(x)
        (kernel, _), (stride, _) = self.kernel_size, self.stride
        if kernel == 1 and self.padding == (0, 0):
            rows = x.permute(0, 2, 3, 1)[:, ::stride, ::stride]
            return functional.linear(rows, self.weight.flatten(1)).permute(0, 3, 1, 2)
        height, width = (side // stride for side in x.shape[2:])
        if self.in_channels < FEWEST_CHANNELS or height * width > LARGEST_MAP:
            return super().forward(x)
        dtype = torch.get_autocast_dtype("cpu")
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
