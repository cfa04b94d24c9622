"""What only a GPU can show: no step waits for it, and it learns what the CPU learns. Skipped where there is none."""

from pathlib import Path
from typing import Any

import pytest
import torch
from small_network import SmallNetwork

import train.run
from train.config import Config
from train.interrupt import Interruption
from train.loop import forward, set_learning_rate, train_epoch
from train.run import Run

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no usable GPU")

EVERYTHING: dict[str, Any] = {
    "mixup": 0.4,
    "cutmix": 0.4,
    "blur": 0.4,
    "sharpen": 0.4,
    "jpeg": 0.5,
    "erode": 2,
    "erase": 0.5,
    "standardise": True,
    "class_weights": True,
    "subject_head": -0.3,
}


@pytest.fixture(autouse=True)
def _small_network(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(train.run, "build_resnet", lambda _, channels=3: SmallNetwork(channels))


@pytest.mark.parametrize("cache", ["none", "device"])
def test_no_step_waits_for_the_gpu(cache: Any, shards: Path, tmp_path: Path) -> None:
    config = Config(shards=shards, artifacts=tmp_path, batch_size=12, device="cuda", cache=cache, **EVERYTHING)
    run = Run(config)
    phase = run.new_phase(1)
    batches = iter(run.train_batches(phase))
    try:
        for step in range(3):
            batch = next(batches)
            set_learning_rate(run, phase)
            # The first step may wait: cuDNN tries its algorithms, the optimiser makes its state.
            torch.cuda.set_sync_debug_mode("error" if step else "default")
            loss, correct = forward(run, phase, batch)
            run.optimizer.zero_grad(set_to_none=True)
            loss.backward()
            run.optimizer.step()
            run.ema.update()
            phase.losses[phase.step] = loss.detach()
            phase.correct += correct
            phase.step += 1
            torch.cuda.set_sync_debug_mode("default")
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert torch.isfinite(phase.losses).all()


def test_gpu_learns_what_the_cpu_learns(shards: Path, tmp_path: Path) -> None:
    losses = []
    for device in ("cpu", "cuda"):
        config = Config(shards=shards, artifacts=tmp_path, batch_size=12, device=device, amp=False, **EVERYTHING)  # type: ignore[arg-type]
        run = Run(config)
        phase = run.new_phase(1)
        with Interruption() as interruption:
            train_epoch(run, phase, interruption)
        losses.append(phase.losses.cpu())
    torch.testing.assert_close(losses[1], losses[0], rtol=1e-2, atol=1e-2)
