"""Convolutions whose gradients are matrix products: the numbers of ``nn.Conv2d``, where they are meant to run."""

import copy
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

import benchmarks.convolution
import train.convolution
from benchmarks.convolution import Bench
from train.config import Config
from train.convolution import BFLOAT16, FLOAT32, Convolution, as_products, patches
from train.resnet import BasicBlock, Bottleneck, ResNet
from train.run import Run

# in_channels, out_channels, kernel, stride, side of the input
PRODUCTS = [
    (8, 16, 1, 1, 5),
    (8, 16, 1, 2, 7),
    (8, 16, 1, 2, 4),
    (128, 32, 3, 1, 4),
    (128, 32, 3, 2, 9),
    (130, 8, 3, 1, 1),
]


def _plain(shape: tuple[int, ...]) -> nn.Conv2d:
    torch.manual_seed(0)
    channels, out_channels, kernel, stride, _ = shape
    return nn.Conv2d(channels, out_channels, kernel, stride, padding=kernel // 2, bias=False).to(
        memory_format=torch.channels_last  # type: ignore[call-overload]
    )


@pytest.fixture(params=[torch.bfloat16, torch.float32], ids=["bfloat16", "float32"])
def dtype(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> torch.dtype:
    """What training computes in; float32 as on x86."""
    monkeypatch.setattr(train.convolution, "X86", True)
    return cast(torch.dtype, request.param)


def _image(shape: tuple[int, ...], dtype: torch.dtype = torch.bfloat16) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(3, shape[0], shape[4], shape[4], generator=generator).to(dtype)
    return x.contiguous(memory_format=torch.channels_last)


def _trained(layer: nn.Conv2d, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Output, and the gradients of input and weights, for a gradient of the output that is a function of its place."""
    x = x.clone().requires_grad_()
    layer.weight.grad = None
    with torch.autocast("cpu", torch.bfloat16, enabled=x.dtype == torch.bfloat16):
        out = layer(x)
    out.backward(torch.linspace(-1, 1, out.numel()).view_as(out).to(out.dtype))
    assert x.grad is not None
    assert layer.weight.grad is not None
    return out.detach(), x.grad, layer.weight.grad


def _exact(layer: nn.Conv2d, x: Tensor, *, absolute: bool = False) -> tuple[Tensor, Tensor, Tensor]:
    """The same in float64, of the same numbers; ``absolute``: of their absolute values."""
    sign = torch.abs if absolute else torch.clone
    weight = sign(layer.weight.detach().to(x.dtype).double()).requires_grad_()
    exact = sign(x.double()).requires_grad_()
    out = functional.conv2d(exact, weight, stride=layer.stride, padding=layer.padding)
    out.backward(sign(torch.linspace(-1, 1, out.numel()).view_as(out).to(x.dtype).double()))
    assert exact.grad is not None
    assert weight.grad is not None
    return out.detach(), exact.grad, weight.grad


def _terms(layer: nn.Conv2d, out: Tensor) -> tuple[int, int, int]:
    """How many products one number of output, input gradient and weight gradient is the sum of, at most."""
    area = layer.weight[0, 0].numel()
    return layer.in_channels * area, layer.out_channels * area, out.numel() // layer.out_channels


@pytest.mark.parametrize("shape", PRODUCTS)
def test_output_and_gradients_are_the_sums_rounded_in_some_order_or_no_worse_than_the_plain_layer(
    shape: tuple[int, ...], dtype: torch.dtype
) -> None:
    """A float32 sum of n products errs by at most n u / (1 - n u) of the sum of their absolute values, u = 2^-24.

    Whatever the order, and so on every processor; a result in bfloat16 is rounded once more. Source: Higham, "Accuracy
    and Stability of Numerical Algorithms", 2002, section 3.1.
    """
    plain, x = _plain(shape), _image(shape, dtype)
    exact, sizes = _exact(plain, x), _exact(plain, x, absolute=True)
    ours, peers = _trained(Convolution.of(plain), x), _trained(plain, x)
    once_more = 2.0**-8 if dtype == torch.bfloat16 else 0.0
    for value, size, found, peer, n in zip(exact, sizes, ours, peers, _terms(plain, exact[0]), strict=True):
        summed = n * 2.0**-24 / (1 - n * 2.0**-24) * size
        bound = summed + once_more * (value.abs() + summed)
        beyond, peer_beyond = (((r.double() - value).abs() - bound).clamp(min=0).max() for r in (found, peer))
        assert found.shape == value.shape
        assert beyond <= peer_beyond


@pytest.mark.parametrize(("kernel", "stride", "side"), [(3, 1, 4), (3, 2, 5), (1, 2, 6)])
def test_patches_are_what_unfold_cuts(kernel: int, stride: int, side: int) -> None:
    x = torch.arange(2 * 3 * side * side, dtype=torch.float32).view(2, 3, side, side)
    padding = kernel // 2
    out = (side + 2 * padding - kernel) // stride + 1
    unfolded = functional.unfold(x, kernel, padding=padding, stride=stride)  # [N, C kernel kernel, positions]
    expected = unfolded.view(2, 3, kernel * kernel, -1).permute(0, 3, 2, 1).reshape(2 * out * out, -1)
    assert torch.equal(patches(x, kernel, stride, padding, out, out), expected)


@pytest.mark.parametrize(
    ("shape", "in_bfloat16", "in_float32"),
    [
        ((128, 32, 3, 1, 7), "PatchGradient", "PatchGradient"),
        ((128, 32, 3, 1, 9), "PatchGradient", "Convolution"),
        ((128, 32, 3, 1, 10), "Convolution", "Convolution"),
        ((64, 32, 3, 1, 4), "Convolution", "Convolution"),
        ((8, 16, 1, 1, 7), "Permute", "Permute"),
        ((8, 16, 1, 1, 40), "Permute", "Convolution"),
    ],
)
def test_which_layers_are_products(
    shape: tuple[int, ...], in_bfloat16: str, in_float32: str, dtype: torch.dtype
) -> None:
    assert (BFLOAT16.positions, FLOAT32.positions) == (9 * 9, 7 * 7)
    with torch.autocast("cpu", torch.bfloat16, enabled=dtype == torch.bfloat16):
        out = Convolution.of(_plain(shape))(_image(shape, dtype))
    assert out.dtype == dtype
    assert out.grad_fn is not None
    assert (in_bfloat16 if dtype == torch.bfloat16 else in_float32) in out.grad_fn.name()


@pytest.mark.parametrize("shape", PRODUCTS)
@pytest.mark.parametrize("way", ["float32", "inference"])
def test_elsewhere_it_is_the_plain_layer_to_the_bit(
    shape: tuple[int, ...], way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(train.convolution, "X86", way == "inference")
    for product in ("functional", "_PatchGradient"):
        monkeypatch.setattr(train.convolution, product, None)  # none is made: what it gives may have the same bits
    plain, x = _plain(shape), _image(shape)
    ours = Convolution.of(plain)
    with torch.inference_mode(way == "inference"), torch.autocast("cpu", torch.bfloat16, enabled=way == "inference"):
        x = x if way == "inference" else x.float()
        assert torch.equal(ours(x), plain(x))


@pytest.mark.parametrize("block", [BasicBlock, Bottleneck])
def test_a_network_keeps_its_parameters_and_names_and_gives_the_same_gradients(
    block: type[BasicBlock] | type[Bottleneck], dtype: torch.dtype
) -> None:
    torch.manual_seed(0)
    plain = ResNet(block, (2, 1, 1, 1), 2).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    for module in plain.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.ones_(module.weight)  # a block's last one begins with zeros: no gradient would reach the block
    ours = copy.deepcopy(plain)
    before = dict(ours.named_parameters())
    as_products(ours)
    assert list(ours.state_dict()) == list(plain.state_dict())
    assert all(parameter is before[name] for name, parameter in ours.named_parameters())
    assert not any(type(module) is nn.Conv2d for module in ours.modules())
    x = torch.randn(4, 3, 64, 64, generator=torch.Generator().manual_seed(0)).contiguous(
        memory_format=torch.channels_last
    )
    for network in (plain, ours):
        with torch.autocast("cpu", torch.bfloat16, enabled=dtype == torch.bfloat16):
            logits = network(x)
        functional.cross_entropy(logits.float(), torch.arange(4) % 2).backward()
    for (name, one), other in zip(plain.named_parameters(), ours.parameters(), strict=True):
        assert one.grad is not None
        assert other.grad is not None
        assert other.grad.stride() == one.grad.stride() or one.shape[2:] == (1, 1), name
        cosine = functional.cosine_similarity(one.grad.flatten().double(), other.grad.flatten().double(), dim=0)
        assert cosine > {torch.bfloat16: 0.98, torch.float32: 0.999}[dtype], name


def test_what_cannot_be_one_stays_what_it_is() -> None:
    layers = [
        nn.Conv2d(4, 8, 3),
        nn.Conv2d(4, 8, 3, groups=2, bias=False),
        nn.Conv2d(4, 8, 3, dilation=2, bias=False),
        nn.Conv2d(4, 8, (3, 1), bias=False),
        nn.Conv2d(4, 8, 3, stride=(2, 1), bias=False),
    ]
    network = nn.Sequential(*layers, nn.Conv2d(4, 8, 3, bias=False))
    as_products(network)
    assert [type(layer) for layer in network] == [nn.Conv2d] * len(layers) + [Convolution]


def test_training_on_the_cpu_uses_them(shards: Path, tmp_path: Path) -> None:
    run = Run(Config(shards=shards, artifacts=tmp_path, start_size=0, device="cpu"))
    for model in (run.model, run.ema.model):
        assert {type(module) for module in model.modules() if isinstance(module, nn.Conv2d)} == {Convolution}


def test_the_benchmark_counts_no_round_before_those_it_names(monkeypatch: pytest.MonkeyPatch) -> None:
    # A clock on which the round before them takes a second, each of theirs three.
    spent = [1.0] * 2 + [3.0] * 4
    ticks = iter([tick for second in spent for tick in (0.0, second)])
    monkeypatch.setattr(benchmarks.convolution, "time", SimpleNamespace(perf_counter=lambda: next(ticks)))
    assert benchmarks.convolution.timed((3, 4, 1, 1, 4), Bench(batch_size=1, rounds=2)) == (3000, 3000)
    assert next(ticks, None) is None
