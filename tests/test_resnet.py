"""The hand-written ResNets: sizes, names, shapes, starting values, and that they learn."""

import math
from collections.abc import Iterator

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from train.resnet import ARCHITECTURES, BasicBlock, Bottleneck, ResNet, build_resnet

BLOCKS = (BasicBlock, Bottleneck)
WIDTHS = {"resnet18": 512, "resnet50": 2048, "resnet152": 2048}


def build_on_meta(arch: str, classes: int = 2) -> ResNet:
    """A network without values: counts, names and shapes cost nothing."""
    with torch.device("meta"):
        return build_resnet(arch, classes)


def blocks_of(network: ResNet) -> list[BasicBlock | Bottleneck]:
    return [module for module in network.modules() if isinstance(module, BLOCKS)]


def batch(n: int, size: int, seed: int = 0) -> Tensor:
    return torch.randn((n, 3, size, size), generator=torch.Generator().manual_seed(seed))


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> Iterator[None]:
    """Threads that wait for each other on a busy machine cost more than they bring to small images."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def resnet152() -> ResNet:
    torch.manual_seed(0)
    return build_resnet("resnet152")


@pytest.mark.parametrize(
    ("arch", "classes", "parameters"),
    [
        ("resnet18", 2, 11_177_538),
        ("resnet50", 2, 23_512_130),
        ("resnet152", 2, 58_147_906),
        ("resnet18", 1000, 11_689_512),
        ("resnet50", 1000, 25_557_032),
        ("resnet152", 1000, 60_192_808),
    ],
)
def test_number_of_parameters_is_that_of_the_paper(arch: str, classes: int, parameters: int) -> None:
    assert sum(p.numel() for p in build_on_meta(arch, classes).parameters()) == parameters


@pytest.mark.parametrize(
    ("arch", "convolutions", "keys"), [("resnet18", 20, 122), ("resnet50", 53, 320), ("resnet152", 155, 932)]
)
def test_state_dict_holds_six_keys_a_convolution_and_the_classifier(arch: str, convolutions: int, keys: int) -> None:
    # Each convolution has a weight and a BatchNorm of weight, bias, mean, variance and count.
    assert len(build_on_meta(arch).state_dict()) == 6 * convolutions + 2 == keys


@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_state_dict_has_the_names_of_the_reference(arch: str) -> None:
    names = build_on_meta(arch).state_dict().keys()
    common = {"conv1.weight", "bn1.running_mean", "bn1.num_batches_tracked", "layer1.0.bn1.weight"}
    assert common | {"layer1.0.bn2.weight", "layer2.0.downsample.0.weight", "fc.weight", "fc.bias"} <= names
    # Only a bottleneck widens the first stage, and only it has a third convolution.
    assert ("layer1.0.downsample.0.weight" in names) == (arch != "resnet18")
    assert ("layer4.2.conv3.weight" in names) == (arch != "resnet18")
    assert "layer1.1.downsample.0.weight" not in names


@pytest.mark.parametrize("arch", ARCHITECTURES)
@pytest.mark.parametrize(("size", "side"), [(33, 2), (64, 2), (112, 4)])
def test_feature_map_is_a_32nd_of_the_image_rounded_up(arch: str, size: int, side: int) -> None:
    network = build_on_meta(arch)
    images = torch.empty((2, 3, size, size), device="meta")
    assert network.features(images).shape == (2, WIDTHS[arch], side, side)
    assert network(images).shape == (2, 2)


def test_logits_are_finite_at_the_smallest_size_with_one_image_in_training() -> None:
    # One image of the smallest size is the fewest values a channel that BatchNorm ever sees.
    torch.manual_seed(0)
    logits = build_resnet("resnet18", 5).train()(batch(1, 33))
    assert logits.shape == (1, 5)
    assert torch.isfinite(logits).all()


@pytest.mark.parametrize("shape", [(32, 32), (32, 64), (64, 32)])
def test_image_below_the_smallest_size_is_refused_with_its_size(shape: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match=rf"{shape[0]} x {shape[1]} px.*33 px"):
        build_on_meta("resnet18")(torch.empty((1, 3, *shape), device="meta"))


def test_stride_of_a_bottleneck_is_in_its_3x3_convolution() -> None:
    first = build_on_meta("resnet50").layer2[0]
    assert (first.conv1.stride, first.conv2.stride, first.conv3.stride) == ((1, 1), (2, 2), (1, 1))
    assert first.conv2.kernel_size == (3, 3)
    assert first.downsample[0].stride == (2, 2)


@pytest.mark.parametrize("block_type", BLOCKS)
def test_block_with_zero_last_gamma_is_the_relu_of_its_input(block_type: type[BasicBlock | Bottleneck]) -> None:
    x = torch.randn((2, 64, 8, 8), generator=torch.Generator().manual_seed(0))
    block = block_type(64, 64 // block_type.expansion, stride=1)
    torch.nn.init.zeros_(block.last_norm.weight)
    before = x.clone()
    assert torch.equal(block(x), torch.relu(x))
    assert torch.equal(x, before)  # the in-place ReLUs must not reach the shortcut


@pytest.mark.parametrize("block_type", BLOCKS)
def test_block_with_zero_last_gamma_is_the_relu_of_its_projection(block_type: type[BasicBlock | Bottleneck]) -> None:
    x = batch(2, 9)
    block = block_type(3, 16, stride=2).eval()
    torch.nn.init.zeros_(block.last_norm.weight)
    assert torch.equal(block(x), torch.relu(block.downsample(x)))
    torch.nn.init.ones_(block.last_norm.weight)
    assert not torch.equal(block(x), torch.relu(block.downsample(x)))


@pytest.mark.parametrize("block_type", BLOCKS)
def test_block_computes_the_equation_of_the_paper(block_type: type[BasicBlock | Bottleneck]) -> None:
    torch.manual_seed(0)
    block = block_type(6, 4, stride=2).double().train()
    torch.nn.init.normal_(block.last_norm.weight)
    x = batch(3, 9).repeat(1, 2, 1, 1).double()
    state = {name: value.clone() for name, value in block.state_dict().items()}

    def conv_norm(x: Tensor, conv: str, norm: str, stride: int) -> Tensor:
        weight = state[f"{conv}.weight"]
        x = functional.conv2d(x, weight, stride=stride, padding=weight.shape[-1] // 2)
        mean, variance = x.mean((0, 2, 3), keepdim=True), x.var((0, 2, 3), keepdim=True, unbiased=False)
        gamma, beta = (state[f"{norm}.{part}"].view(1, -1, 1, 1) for part in ("weight", "bias"))
        return (x - mean) / torch.sqrt(variance + 1e-5) * gamma + beta

    strides = (2, 1) if block_type is BasicBlock else (1, 2, 1)
    branch = x
    for number, stride in enumerate(strides, start=1):
        branch = conv_norm(branch, f"conv{number}", f"bn{number}", stride)
        branch = torch.relu(branch) if number < len(strides) else branch
    wanted = torch.relu(branch + conv_norm(x, "downsample.0", "downsample.1", 2))
    torch.testing.assert_close(block(x), wanted, rtol=1e-10, atol=1e-10)


def test_stem_and_head_are_those_of_the_paper() -> None:
    torch.manual_seed(0)
    network = ResNet(BasicBlock, (1, 1, 1, 1), 2).double().eval()
    nn.init.normal_(network.bn1.bias)
    seen: dict[str, Tensor] = {}
    network.layer1.register_forward_pre_hook(lambda _, inputs: seen.update(stem=inputs[0].clone()))
    network.layer4.register_forward_hook(lambda *call: seen.update(last=call[2].clone()))
    images = batch(2, 70).double()
    logits = network(images)
    stem = functional.conv2d(images, network.conv1.weight, stride=2, padding=3) / math.sqrt(1 + 1e-5)
    stem = torch.relu(stem + network.bn1.bias.view(1, -1, 1, 1))
    torch.testing.assert_close(seen["stem"], functional.max_pool2d(stem, 3, stride=2, padding=1))
    assert seen["last"].shape[2:] == (3, 3)
    torch.testing.assert_close(logits, network.fc(seen["last"].mean((2, 3))))


def test_every_fresh_block_has_a_zero_last_gamma_and_no_other_norm_has(resnet152: ResNet) -> None:
    for network in (resnet152, build_resnet("resnet18"), build_resnet("resnet50")):
        last = {id(block.last_norm) for block in blocks_of(network)}
        norms = [module for module in network.modules() if isinstance(module, torch.nn.BatchNorm2d)]
        assert len(last) == len(blocks_of(network)) > 0
        for norm in norms:
            assert (norm.weight == (0 if id(norm) in last else 1)).all()


def test_gradients_reach_both_ends_of_resnet152(resnet152: ResNet) -> None:
    network = resnet152.train()
    network.zero_grad(set_to_none=True)
    functional.cross_entropy(network(batch(4, 33)), torch.tensor([0, 1, 0, 1])).backward()
    # Zero last gammas stop the gradient in the branches, never on the shortcut or at the gammas themselves.
    for gradient in [network.conv1.weight.grad, *(block.last_norm.weight.grad for block in blocks_of(network))]:
        assert gradient is not None
        assert torch.isfinite(gradient).all()
        assert gradient.abs().max() > 0


def test_one_batch_can_be_overfitted() -> None:
    torch.manual_seed(0)
    network = build_resnet("resnet18").train()
    images, labels = batch(8, 33), torch.tensor([0, 1, 1, 0, 1, 0, 0, 1])
    optimizer = torch.optim.SGD(network.parameters(), lr=0.05, momentum=0.9)
    losses = []
    for _ in range(6):
        loss = functional.cross_entropy(network(images), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[0] > 0.3
    assert losses[-1] < 0.05


def test_convolutions_start_with_he_initialisation_of_fan_out() -> None:
    torch.manual_seed(0)
    weight = build_resnet("resnet18").layer4[0].conv1.weight  # 256 -> 512: fan-in would be 41 % wider
    wanted = math.sqrt(2 / (512 * 3 * 3))
    assert abs(weight.std().item() / wanted - 1) < 0.05
    assert abs(weight.mean().item()) < 0.05 * wanted


def test_same_seed_gives_the_same_weights() -> None:
    states = []
    for seed in (3, 3, 4):
        torch.manual_seed(seed)
        states.append(build_resnet("resnet18").state_dict())
    assert all(torch.equal(value, states[1][name]) for name, value in states[0].items())
    assert not torch.equal(states[0]["conv1.weight"], states[2]["conv1.weight"])


def test_unknown_architecture_lists_the_valid_ones() -> None:
    with pytest.raises(ValueError, match=r"'resnet34'.*resnet18, resnet50, resnet152"):
        build_resnet("resnet34")
