"""The training loop's parts: class weights, growing sizes, the best epoch, the device, and what stops a run."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import train.loop
from contract.errors import UserError
from contract.manifest import Manifest
from train.config import Config
from train.history import Epoch
from train.loop import best_epoch, class_weights, pick_device, size_of_epoch
from train.loop import train as train_network


def config_of(shards: Path, artifacts: Path, **changes: Any) -> Config:
    # Two batches an epoch, the second one smaller; the rate passes its peak within the first epoch.
    small = Config(shards=shards, artifacts=artifacts, epochs=2, batch_size=20, lr=0.02, warmup_epochs=0.5)
    return replace(small, device="cpu", amp=False, **changes)


def test_weights_that_explode_in_the_last_step_stop_with_one_line(shards: Path, tmp_path: Path) -> None:
    # One step an epoch: the loss is computed before it, so only validation sees the weights that it leaves.
    with pytest.raises(UserError, match="the loss of epoch 1 is not finite"):
        train_network(config_of(shards, tmp_path, epochs=1, batch_size=36, lr=1e30, warmup_epochs=0.0))
    assert not (tmp_path / "resnet18").exists()


def labelled_counts(manifest: Manifest, normal: int, blast: int) -> Manifest:
    """A manifest whose training shards hold ``normal`` and ``blast`` cells in all, the test split untouched."""
    others = [shard for shard in manifest.shards if shard.split != "train"]
    first = next(shard for shard in manifest.shards if shard.split == "train")
    halves = [(normal // 2, blast // 2), (normal - normal // 2, blast - blast // 2)]
    return replace(manifest, shards=(*others, *(replace(first, class_counts=counts) for counts in halves)))


def test_class_weights_are_inverse_frequencies_with_mean_one(manifest: Manifest) -> None:
    weights = class_weights(labelled_counts(manifest, 10, 40))
    assert weights.tolist() == pytest.approx([50 / 20, 50 / 80])
    assert (10 * weights[0] + 40 * weights[1]).item() / 50 == pytest.approx(1)


def test_class_weights_of_a_class_without_cells_are_refused(manifest: Manifest) -> None:
    with pytest.raises(UserError, match="normal"):
        class_weights(labelled_counts(manifest, 0, 40))


def test_run_uses_class_weights_where_asked(shards: Path, tmp_path: Path, manifest: Manifest) -> None:
    weights = train.loop.Run(config_of(shards, tmp_path, class_weights=True)).loss_weights
    assert weights is not None
    assert torch.equal(weights, class_weights(manifest))
    assert train.loop.Run(config_of(shards, tmp_path)).loss_weights is None


def test_size_is_full_where_progress_is_off_or_starts_above() -> None:
    for start in (0, 112, 200):
        assert [size_of_epoch(Config(epochs=5, start_size=start), 112, e) for e in range(1, 6)] == [112] * 5


def test_size_grows_in_steps_of_16_over_four_fifths_of_the_epochs() -> None:
    config = Config(epochs=10, start_size=64)
    assert [size_of_epoch(config, 112, e) for e in range(1, 11)] == [64, 64, 80, 80, 96, 96, 96, 112, 112, 112]


@settings(deadline=None)
@given(st.integers(33, 224), st.integers(33, 224), st.integers(1, 100))
def test_size_never_shrinks_and_ends_at_the_full_size(start: int, full: int, epochs: int) -> None:
    config = Config(epochs=epochs, start_size=start)
    sizes = [size_of_epoch(config, full, e) for e in range(1, epochs + 1)]
    assert sizes == sorted(sizes)
    assert sizes[0] == min(start, full) or epochs == 1
    assert max(sizes) == full
    assert all(size == full for e, size in enumerate(sizes) if e > 0.8 * epochs)


def test_run_of_growing_size_trains_on_smaller_images(
    shards: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[int] = []
    monkeypatch.setattr(train.loop, "build_resnet", lambda _: SizeProbe(seen))
    run = train.loop.Run(config_of(shards, tmp_path, start_size=33))
    train.loop.train_epoch(run, 1, size_of_epoch(run.config, 40, 1))
    train.loop.evaluate(run, run.ema.model, run.valid_split, 33)
    train.loop.evaluate(run, run.ema.model, run.valid_split, 40)
    assert seen == [33, 33, 33, 40]  # two steps of training, then validation at the size that is asked


def test_the_best_epoch_is_one_of_the_largest_size() -> None:
    small = Epoch(1, 0.5, 0.5, 0.3, 0.9, 0.1, 33, 1.0, 1.0)
    full = Epoch(2, 0.5, 0.5, 0.4, 0.8, 0.1, 40, 1.0, 1.0)
    assert best_epoch([small]) is small
    assert best_epoch([small, full]) is full


class SizeProbe(torch.nn.Module):
    """A network that notes the side of the images that it sees."""

    def __init__(self, seen: list[int]) -> None:
        super().__init__()
        self.fc = torch.nn.Linear(3, 2)
        self.seen = seen

    def __deepcopy__(self, _: dict[int, Any]) -> "SizeProbe":
        return SizeProbe(self.seen)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.seen.append(x.shape[-1])
        return self.fc(x.mean(dim=(2, 3)))


def row(epoch: int, accuracy: float, loss: float) -> Epoch:
    return Epoch(epoch, 0.5, 0.5, loss, accuracy, 0.1, 40, 1.0, 100.0)


@pytest.mark.parametrize(
    ("rows", "best"),
    [
        ([row(1, 0.8, 0.5), row(2, 0.9, 0.9), row(3, 0.85, 0.1)], 2),
        ([row(1, 0.9, 0.5), row(2, 0.9, 0.4), row(3, 0.9, 0.45)], 2),
        ([row(1, 0.9, 0.4), row(2, 0.9, 0.4)], 1),
    ],
    ids=["higher accuracy", "then lower loss", "then earlier"],
)
def test_best_epoch_goes_by_accuracy_then_loss_then_order(rows: list[Epoch], best: int) -> None:
    assert best_epoch(rows).epoch == best


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_cuda_without_a_gpu_is_an_error_and_auto_takes_the_cpu() -> None:
    with pytest.raises(UserError, match="--device cuda: no usable GPU"):
        pick_device("cuda")
    assert pick_device("auto") == pick_device("cpu") == torch.device("cpu")


@pytest.mark.parametrize("size", [-1, 16, 32])
def test_start_size_below_the_smallest_image_is_refused(size: int, shards: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=f"--start-size {size}: must be 0 .*33 px"):
        train_network(config_of(shards, tmp_path, start_size=size))
