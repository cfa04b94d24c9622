"""The training loop's parts: what an epoch sees, early stopping, and what stops a run."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from small_network import SmallNetwork, config_of
from torch import Tensor

import train.finite
import train.loop
import train.run
from contract.errors import UserError
from contract.manifest import Manifest
from train.config import Config
from train.history import read_history
from train.loop import train as train_network
from train.objective import class_weights
from train.run import Run


@pytest.fixture(autouse=True)
def _small_network(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(train.run, "build_resnet", lambda _, channels=3: SmallNetwork(channels))


def files_of(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()} if folder.exists() else set()


def test_weights_that_explode_in_the_last_step_stop_with_one_line(shards: Path, tmp_path: Path) -> None:
    # One step an epoch: the loss is computed before it, so only validation sees the weights that it leaves.
    with pytest.raises(UserError, match=r"resnet18: .*not finite after epoch 1: there is no checkpoint before it"):
        train_network(config_of(shards, tmp_path, epochs=1, batch_size=36, lr=1e38, warmup_epochs=0.0))
    assert not files_of(tmp_path / "resnet18") & {"last.pt", "best.pt", "history.csv"}


class Spoiled:
    """Training whose loss is NaN in one step; notes the keys of every batch."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, epoch: int, step: int) -> None:
        self.keys: list[list[str]] = []
        forward = train.loop.forward

        def spoil(run: Run, phase: Any, batch: Any) -> tuple[Tensor, Tensor]:
            loss, correct = forward(run, phase, batch)
            self.keys.append(batch.keys)
            return loss * (float("nan") if (phase.epoch, phase.step) == (epoch, step) else 1), correct

        monkeypatch.setattr(train.loop, "forward", spoil)


@pytest.mark.parametrize("check_every", [1, 2, 50])
def test_loss_that_is_not_finite_names_epoch_step_and_the_keys_of_its_batch(
    check_every: int, shards: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(train.loop, "CHECK_EVERY", check_every)
    spoiled = Spoiled(monkeypatch, epoch=2, step=1)
    config = config_of(shards, tmp_path, batch_size=10)  # four steps
    with pytest.raises(UserError, match="not finite in epoch 2, step 2 of 4") as error:
        train_network(config)
    assert str(error.value).split("the batch's keys: ")[1].split() == spoiled.keys[5]
    # Found in the step itself, at the next look, or at the end of the epoch; the losses between were not read.
    assert len(spoiled.keys) == {1: 6, 2: 6, 50: 8}[check_every]
    assert len(read_history(tmp_path / "resnet18" / "history.csv")) == 1
    assert "last.pt" in str(error.value)


def test_checkpoint_inside_an_epoch_is_not_written_over_by_a_spoiled_one(
    shards: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Spoiled(monkeypatch, epoch=1, step=2)
    with pytest.raises(UserError, match="not finite in epoch 1, step 3 of 4"):
        train_network(config_of(shards, tmp_path, batch_size=10, checkpoint_every=1e-9))
    kept = torch.load(tmp_path / "resnet18" / "last.pt", weights_only=True)
    assert kept["phase"]["step"] == 2
    assert torch.isfinite(kept["phase"]["losses"]).all()
    assert all(torch.isfinite(value).all() for value in kept["model"].values())


def batches_seen(config: Config, epoch: int = 1) -> list[tuple[Tensor, Tensor, Tensor]]:
    """Input, logits and gradient-free loss of every step of one epoch."""
    seen: list[tuple[Tensor, Tensor, Tensor]] = []
    run = Run(config)
    run.model.register_forward_hook(lambda _, inputs, logits: seen.append((inputs[0], logits, logits)))
    phase = run.new_phase(epoch)
    for batch in run.train_batches(phase):
        train.loop.forward(run, phase, batch)
        phase.step += 1
    return seen


@pytest.mark.parametrize(
    "changes",
    [{"mixup": 1.0}, {"cutmix": 1.0}, {"blur": 1.0}, {"standardise": False}, {"erase": 1.0}, {"sampling": "class"}],
    ids=lambda changes: next(iter(changes)),
)
def test_flag_changes_what_the_network_sees_and_the_default_does_not(
    changes: dict[str, Any], shards: Path, tmp_path: Path
) -> None:
    plain = config_of(shards, tmp_path, stain_gain=0.0, stain_offset=0.0, affine=0.0, flip=False, blur=0.0, sharpen=0.0)
    before, again = (batches_seen(plain)[0][0] for _ in range(2))
    assert torch.equal(before, again)
    assert not torch.equal(batches_seen(replace(plain, **changes))[0][0], before)


@pytest.mark.parametrize("amp", [True, False])
def test_training_and_validation_compute_in_bfloat16_where_asked_with_the_channels_last(
    amp: bool, shards: Path, tmp_path: Path
) -> None:
    run = Run(replace(config_of(shards, tmp_path), amp=amp))
    seen: list[tuple[bool, torch.dtype]] = []
    for network in (run.model, run.ema.model):
        first: torch.nn.Conv2d = network.conv1  # type: ignore[assignment]
        assert first.weight.is_contiguous(memory_format=torch.channels_last)
        assert first.weight.dtype == torch.float32
        first.register_forward_hook(
            lambda _, x, y: seen.append((x[0].is_contiguous(memory_format=torch.channels_last), y.dtype))
        )
    train.loop.forward(run, run.new_phase(1), next(iter(run.train_batches(run.new_phase(1)))))
    train.loop.evaluate(run, run.ema.model, 36)
    assert seen == [(True, torch.bfloat16 if amp else torch.float32)] * 2


def test_bar_counts_the_images_of_an_epoch_and_goes_on_where_it_was_resumed(
    shards: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bars: list[Any] = []

    class Bar:
        def __init__(self, **options: Any) -> None:
            self.options, self.count = options, options["initial"]
            bars.append(self)

        def __enter__(self) -> "Bar":
            return self

        def __exit__(self, *_: object) -> None:
            pass

        def update(self, images: int) -> None:
            self.count += images

    monkeypatch.setattr("train.log.tqdm", Bar)
    run = Run(config_of(shards, tmp_path))
    for done in (0, 1):
        phase = run.new_phase(1)
        phase.step = done
        with train.loop.Interruption() as interruption:
            train.loop.train_epoch(run, phase, interruption)
    assert [(bar.options["initial"], bar.count, bar.options["total"]) for bar in bars] == [(0, 36, 36), (20, 36, 36)]
    assert bars[0].options["unit"] == " images"  # tqdm then says "images/s"
    assert bars[0].options["desc"] == "resnet18 epoch 1/2, 40 px"


@pytest.mark.parametrize("changes", [{}, {"mixup": 0.4}, {"label_smoothing": 0.0}, {"class_weights": True}])
def test_loss_of_a_step_is_the_mean_over_its_batch(changes: dict[str, Any], shards: Path, tmp_path: Path) -> None:
    run = Run(config_of(shards, tmp_path, **changes))
    phase = run.new_phase(1)
    batch = next(iter(run.train_batches(phase)))
    logits: list[Tensor] = []
    run.model.register_forward_hook(lambda *call: logits.append(call[2]))
    loss, correct = train.loop.forward(run, phase, batch)
    assert correct == (logits[0].argmax(1) == batch.labels).sum()
    wanted = torch.nn.functional.cross_entropy(
        logits[0], batch.labels, run.loss_weights, label_smoothing=run.config.label_smoothing, reduction="sum"
    )
    same = torch.isclose(loss, wanted / 20, rtol=1e-5)
    assert same != bool(run.config.mixup)  # mixed labels have another loss


@pytest.mark.parametrize("changes", [{"cutmix": 1.0}, {"mixup": 0.4, "subject_head": 1.0}], ids=str)
def test_of_mixed_cells_the_label_of_the_greater_part_counts_whatever_a_teacher_says(
    changes: dict[str, Any], shards: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(train.loop, "mix", lambda x, targets, *_: (x, targets.flip(0)))  # all is another cell's
    run = Run(config_of(shards, tmp_path, **changes))
    run.teacher = SimpleNamespace(soften=lambda targets, *_: torch.zeros_like(targets))  # type: ignore[assignment]
    phase = run.new_phase(1)
    batch = next(iter(run.train_batches(phase)))
    said = torch.nn.functional.one_hot(batch.labels, 2).float()  # of every cell its own label
    run.learner.register_forward_hook(lambda _, __, logits: torch.cat([said, logits[:, 2:]], 1))
    correct = train.loop.forward(run, phase, batch)[1]
    assert correct == (batch.labels == batch.labels.flip(0)).sum() < 20
    padding = batch._replace(labels=torch.full_like(batch.labels, -1))
    assert train.loop.forward(run, phase, padding)[1] == 0


def test_sampling_by_class_evens_out_what_an_epoch_draws(shards: Path, tmp_path: Path) -> None:
    run = Run(config_of(shards, tmp_path, sampling="class"))
    labels = torch.cat([batch.labels for batch in run.train_batches(run.new_phase(1))])
    assert labels.tolist().count(1) == 18
    plain = Run(config_of(shards, tmp_path))
    labels = torch.cat([batch.labels for batch in plain.train_batches(plain.new_phase(1))])
    assert labels.tolist().count(1) == int(run.train_split.labels.sum()) != 18


def test_training_draws_nothing_from_the_global_generators(shards: Path, tmp_path: Path) -> None:
    everything = {"mixup": 0.5, "cutmix": 0.5, "blur": 0.5, "jpeg": 0.5, "erode": 1, "erase": 0.5, "sampling": "class"}
    run = Run(config_of(shards, tmp_path, **everything))
    before, before_numpy = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    phase = run.new_phase(1)
    with train.loop.Interruption() as interruption:
        train.loop.train_epoch(run, phase, interruption)
    train.loop.evaluate(run, run.ema.model, 40)
    assert torch.equal(torch.get_rng_state(), before)
    assert np.array_equal(np.random.get_state()[1], before_numpy)  # noqa: NPY002


def test_run_stops_when_its_patience_ends(
    shards: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    accuracies = iter([0.5, 0.75, 0.6, 0.7, 0.9])
    monkeypatch.setattr(train.loop, "evaluate", lambda *_: train.loop.Scores(0.5, next(accuracies), 0.5, 0.5))
    config = config_of(shards, tmp_path, epochs=5, patience=2, resume=True)
    train_network(config)
    assert [row.valid_accuracy for row in read_history(tmp_path / "resnet18" / "history.csv")] == [0.5, 0.75, 0.6, 0.7]
    assert torch.load(tmp_path / "resnet18" / "best.pt", weights_only=True)["card"].count('"epoch": 2')
    stopped = "resnet18: stopped by --patience 2 after 4 of 5 epochs: none after epoch 2 was better\n"
    assert stopped in capsys.readouterr().out
    train_network(config)
    assert (
        f"already trained for 4 epochs in {tmp_path / 'resnet18'}; --force (make: FORCE=1) trains anew\n{stopped}"
        in capsys.readouterr().out
    )


def test_run_uses_class_weights_where_asked(shards: Path, tmp_path: Path, manifest: Manifest) -> None:
    weights = Run(config_of(shards, tmp_path, class_weights=True)).loss_weights
    assert weights is not None
    assert torch.equal(weights, class_weights(manifest))
    assert Run(config_of(shards, tmp_path)).loss_weights is None
