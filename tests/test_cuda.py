"""On a GPU, where there is one, and on a pretended one: no step waits for it, and it learns what the CPU learns."""

from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
import torch
from equality import assert_equal
from pretended_gpu import pretended_gpu
from small_network import SmallNetwork, config_of, stopped_and_resumed

import benchmarks.ceilings
import benchmarks.train
import train.loop
import train.teacher
from benchmarks.ceilings import measure_ceilings
from benchmarks.train import _ours as our_loop
from benchmarks.train import _plain as plain_loop
from train.checkpoint import load_checkpoint
from train.config import Config
from train.interrupt import Interruption
from train.loop import train as train_network
from train.run import Phase, Run

pytestmark = pytest.mark.usefixtures("small_networks")

NO_GPU = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no usable GPU")
AUGMENTED: dict[str, Any] = {"affine": 0.5, "blur": 0.4, "sharpen": 0.4, "jpeg": 0.5, "erode": 2, "erase": 0.5}
ADVERSE: dict[str, Any] = {"mixup": 0.4, "cutmix": 0.4, "class_weights": True, "subject_head": -0.3}
FOR_PEOPLE: dict[str, Any] = {"group_dro": 0.01, "subject_head": 1.0, "optimizer": "adamw", "start_size": 34}
RECIPES = [
    pytest.param(AUGMENTED | ADVERSE | {"standardise": True}, id="augmented"),
    pytest.param(FOR_PEOPLE | {"standardise": False, "stain_gain": 0.1, "stain_offset": 0.1}, id="for people"),
]


@pytest.fixture(params=["pretended", pytest.param("real", marks=NO_GPU)])
def gpu(request: pytest.FixtureRequest) -> Iterator[str]:
    with pretended_gpu() if request.param == "pretended" else nullcontext():
        yield request.param


@pytest.mark.parametrize("cache", ["none", "ram", "device"])
@pytest.mark.parametrize("recipe", RECIPES)
@pytest.mark.usefixtures("gpu")
def test_no_step_waits_for_the_gpu(recipe: dict[str, Any], cache: str, shards: Path, tmp_path: Path) -> None:
    assert torch.isfinite(_one_epoch(_config(shards, tmp_path, amp=True, cache=cache, **recipe))).all()


@pytest.mark.parametrize("recipe", RECIPES)
@pytest.mark.usefixtures("gpu")
def test_its_losses_are_those_of_the_cpu(recipe: dict[str, Any], shards: Path, tmp_path: Path) -> None:
    plain = _one_epoch(config_of(shards, tmp_path, batch_size=12, **recipe))
    torch.testing.assert_close(_one_epoch(_config(shards, tmp_path, **recipe)), plain, rtol=1e-2, atol=1e-2)


@pytest.mark.parametrize("recipe", RECIPES)
def test_it_learns_what_the_cpu_learns(recipe: dict[str, Any], gpu: str, shards: Path, tmp_path: Path) -> None:
    config = config_of(shards, tmp_path / "cpu", batch_size=12, **recipe)
    plain = load_checkpoint(train_network(config) / "last.pt")[1]
    found = load_checkpoint(train_network(_config(shards, tmp_path / "gpu", **recipe)) / "last.pt")[1]
    _assert_same(found, plain, gpu)


@pytest.mark.parametrize("recipe", RECIPES)
def test_a_run_on_it_goes_on_where_it_was_stopped(
    recipe: dict[str, Any], gpu: str, shards: Path, tmp_path: Path
) -> None:
    whole = load_checkpoint(train_network(_config(shards, tmp_path / "whole", **recipe)) / "last.pt")[1]
    resumed = stopped_and_resumed(_config(shards, tmp_path / "resumed", **recipe))
    _assert_same(resumed, whole, gpu)


@pytest.mark.usefixtures("gpu")
def test_it_begins_with_weights_and_learns_from_a_teacher(
    shards: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(train.teacher, "build_apart", lambda _, channels=3: SmallNetwork(channels))
    first = train_network(config_of(shards, tmp_path / "first", epochs=1)) / "best.pt"
    config = _config(shards, tmp_path, initial=first, teacher=first, cache="device")
    assert torch.isfinite(_one_epoch(config)).all()


@pytest.mark.usefixtures("gpu")
@pytest.mark.parametrize("fault", ["read", "pageable", "mask"])
def test_a_step_that_waits_is_seen(fault: str, shards: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pageable, forward = torch.zeros(3), train.loop.forward

    def waiting(run: Run, *args: Any) -> Any:
        loss, correct = forward(run, *args)
        if fault == "read":
            loss.item()
        elif fault == "pageable":
            pageable.to(run.device, non_blocking=True)
        else:
            run.normalise.mean[run.normalise.mean > 0].sum()
        return loss, correct

    monkeypatch.setattr(train.loop, "forward", waiting)
    with pytest.raises(RuntimeError, match="synchronizing CUDA operation"):
        _one_epoch(_config(shards, tmp_path))


@pytest.mark.usefixtures("gpu")
def test_tensors_of_two_devices_do_not_meet() -> None:
    there = torch.ones(2, 3, device="cuda")
    with pytest.raises(RuntimeError, match=r"(?i)\bcpu\b"):
        there + torch.ones(3)
    assert_equal((there * torch.tensor(2.0)).cpu(), torch.full((2, 3), 2.0))
    assert (there @ torch.ones(3).to(there.device)).tolist() == [3.0, 3.0]
    assert there.device == torch.device("cuda", 0)
    with pytest.raises((TypeError, RuntimeError)):
        there.numpy()


@pytest.mark.usefixtures("gpu")
@pytest.mark.parametrize("bf16", [False, True])
def test_the_benchmarks_plain_loop_trains_there(
    bf16: bool, shards: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    network = SmallNetwork()
    before = network.fc.weight.detach().clone()
    monkeypatch.setattr(benchmarks.train, "build_resnet", lambda _: network)
    plain_loop(Run(_config(shards, tmp_path, cache="device")), bf16)()
    after = network.fc.weight.detach().cpu()
    assert torch.isfinite(after).all()
    assert not torch.equal(after, before)


@pytest.mark.usefixtures("gpu")
def test_the_benchmark_has_our_loop_there_epoch_after_epoch(shards: Path, tmp_path: Path) -> None:
    run = Run(_config(shards, tmp_path, amp=True, cache="device"))
    epoch = our_loop(run)
    weights = []
    for _ in range(2):
        epoch()
        weights.append(run.model.get_parameter("fc.weight").detach().cpu().clone())
    assert torch.isfinite(weights[1]).all()
    assert not torch.equal(*weights)


@pytest.mark.usefixtures("gpu")
def test_the_benchmark_measures_the_ceilings_there(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter(range(1000))  # one second a measurement, whatever it takes
    monkeypatch.setattr(benchmarks.ceilings.time, "perf_counter", lambda: float(next(clock)))
    assert measure_ceilings(torch.device("cuda"), side=32, size=1024) == (20 * 2 * 32**3, 20 * 2 * 1024)


def _assert_same(found: dict[str, Any], wanted: dict[str, Any], gpu: str) -> None:
    """The pretended GPU has the CPU's numbers; a real one rounds otherwise, and AdamW makes much of a sign."""
    if gpu == "pretended":
        torch.testing.assert_close(found["ema"], wanted["ema"], rtol=0.0, atol=0.0)
    for loss in ("train_loss", "valid_loss"):
        assert found["history"][0][loss] == pytest.approx(wanted["history"][0][loss], rel=1e-2)


def _config(shards: Path, artifacts: Path, **changes: Any) -> Config:
    return config_of(shards, artifacts, **{"batch_size": 12, "device": "cuda", **changes})


def _one_epoch(config: Config) -> torch.Tensor:
    """The losses of an epoch; from its second step on, ``RuntimeError`` where the loop waits for the GPU."""
    run = Run(config)
    phase = run.new_phase(1)
    set_learning_rate, check_losses = train.loop.set_learning_rate, train.loop.check_losses

    def begin_step(run: Run, phase: Phase) -> None:
        # The first step may wait: cuDNN tries its algorithms, the optimiser makes its state.
        torch.cuda.set_sync_debug_mode("error" if phase.step else "default")
        set_learning_rate(run, phase)

    def end(run: Run, phase: Phase) -> None:
        torch.cuda.set_sync_debug_mode("default")
        check_losses(run, phase)

    with pytest.MonkeyPatch.context() as monkeypatch, Interruption() as interruption:
        monkeypatch.setattr(train.loop, "set_learning_rate", begin_step)
        monkeypatch.setattr(train.loop, "check_losses", end)
        try:
            train.loop.train_epoch(run, phase, interruption)
        finally:
            torch.cuda.set_sync_debug_mode("default")
    assert phase.step == run.steps == 3
    return phase.losses.cpu()
