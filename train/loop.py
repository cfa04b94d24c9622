"""Train one network: the loop reads top to bottom."""

import math
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import DataLoader
from tqdm import tqdm

from contract.errors import UserError
from contract.manifest import Manifest, load_manifest
from contract.model_card import FORMAT, ModelCard
from contract.shard_reader import SplitReader
from train.augment import Augment
from train.checkpoint import load_checkpoint, load_weights, save_checkpoint
from train.config import Config, recipe_of
from train.curves import draw_run
from train.data import open_labelled, train_batches, valid_batches
from train.draws import Draws
from train.geometry import resize
from train.history import NAME as HISTORY
from train.history import Epoch, write_history
from train.normalise import Normalise
from train.optimize import ExponentialMovingAverage, learning_rate, make_optimizer
from train.resnet import MINIMUM_SIZE, build_resnet
from train.run_record import NAME as RUN_RECORD
from train.run_record import write_run_record
from train.versions import versions


class Run:
    """The state of one training run: everything a checkpoint must hold, and what it is computed with."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self.folder = config.artifacts / config.arch
        self.manifest: Manifest = load_manifest(config.shards)
        self.device = pick_device(config.device)
        self.train_split = open_labelled(config.shards, self.manifest, "train")
        self.valid_split = open_labelled(config.shards, self.manifest, "valid")
        torch.manual_seed(config.seed)
        self.model = build_resnet(config.arch).to(self.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.ema = ExponentialMovingAverage(self.model, config.ema_decay)
        self.optimizer = make_optimizer(self.model, config)
        pixels = self.manifest.pixels
        self.normalise = Normalise(pixels.mean, pixels.std, config.standardise).to(self.device)
        self.augment = Augment.of(config)
        self.loss_weights = class_weights(self.manifest).to(self.device) if config.class_weights else None
        self.history: list[Epoch] = []

    @property
    def pin(self) -> bool:
        return self.device.type == "cuda"

    def autocast(self) -> torch.autocast:
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.config.amp)

    def card(self) -> ModelCard:
        best = best_epoch(self.history)
        return ModelCard(
            format=FORMAT,
            arch=self.config.arch,
            classes=self.manifest.classes,
            dataset=self.manifest.dataset,
            recipe=self.manifest.recipe,
            mean=self.manifest.pixels.mean,
            std=self.manifest.pixels.std,
            manifest_digest=self.manifest.digest,
            seed=self.config.seed,
            epoch=best.epoch,
            training=dict(recipe_of(self.config)),
            versions=versions(),
            metrics={"valid_accuracy": best.valid_accuracy, "valid_loss": best.valid_loss},
        )


def train(config: Config) -> Path:
    """Train ``config.arch`` and return its folder, which then holds best.pt, last.pt, history.csv and run.json.

    Raises ``UserError`` for shards that do not fit, or a run that is there and neither resumed nor replaced.
    """
    if config.start_size and not config.start_size >= MINIMUM_SIZE:
        raise UserError(f"--start-size {config.start_size}: must be 0 (off) or at least {MINIMUM_SIZE} px")
    run = Run(config)
    if not start(run) and (run.folder / RUN_RECORD).is_file():
        print(f"{config.arch}: already trained for {config.epochs} epochs in {run.folder}; --force trains anew")
        return run.folder
    for epoch in range(len(run.history) + 1, config.epochs + 1):
        began = time.perf_counter()
        size = size_of_epoch(config, run.manifest.recipe.size, epoch)
        train_loss, train_accuracy, rate = train_epoch(run, epoch, size)
        valid_loss, valid_accuracy = evaluate(run, run.ema.model, run.valid_split, size)
        if not (math.isfinite(train_loss) and math.isfinite(valid_loss)):
            raise UserError(
                f"{config.arch}: the loss of epoch {epoch} is not finite (train {train_loss}, valid {valid_loss}): "
                "the checkpoint of the epoch before stays; a lower --lr may help"
            )
        lr, seconds = run.optimizer.param_groups[0]["lr"], time.perf_counter() - began
        run.history.append(
            Epoch(epoch, train_loss, train_accuracy, valid_loss, valid_accuracy, lr, size, seconds, rate)
        )
        save(run)
        print(
            f"{config.arch} epoch {epoch}/{config.epochs}: train {train_accuracy:.2%}, valid {valid_accuracy:.2%} "
            f"(loss {train_loss:.4f}, {valid_loss:.4f}), {size} px, {rate:.0f} images/s, {seconds:.0f} s",
            flush=True,
        )
    draw_run(run.history, run.folder / "accuracy.png", config.arch, run.manifest.dataset)
    write_run_record(run.folder, config, run.card(), run.history)
    return run.folder


def train_epoch(run: Run, epoch: int, size: int) -> tuple[float, float, float]:
    """One pass over the training split; returns its mean loss, its accuracy and images per second."""
    config, model = run.config, run.model
    batches = train_batches(run.train_split, config.batch_size, config.seed, epoch, config.workers, run.pin)
    steps = len(batches.dataset)  # type: ignore[arg-type]
    total_loss = torch.zeros((), device=run.device)
    correct = torch.zeros((), dtype=torch.int64, device=run.device)
    began = time.perf_counter()
    model.train()
    for step, (images, labels, _) in enumerate(_progress(batches, f"{config.arch} epoch {epoch}", steps)):
        images, labels = images.to(run.device, non_blocking=True), labels.to(run.device, non_blocking=True)
        at = (epoch - 1) * steps + step
        for group in run.optimizer.param_groups:
            group["lr"] = learning_rate(at, config.epochs * steps, config.warmup_epochs * steps, config.lr)
        draws = Draws(config.seed, at, len(labels))
        x = resize(run.augment(images, run.normalise, draws), size).contiguous(memory_format=torch.channels_last)
        with run.autocast():
            logits = model(x).float()
        loss = functional.cross_entropy(logits, labels, weight=run.loss_weights, label_smoothing=config.label_smoothing)
        run.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        run.optimizer.step()
        run.ema.update(model)
        total_loss += loss.detach() * len(labels)  # summed on the device: reading a value would wait for it
        correct += (logits.argmax(1) == labels).sum()
    n = len(run.train_split)
    return total_loss.item() / n, correct.item() / n, n / (time.perf_counter() - began)


@torch.inference_mode()
def evaluate(run: Run, model: nn.Module, split: SplitReader, size: int) -> tuple[float, float]:
    """Mean cross-entropy (without smoothing) and accuracy of ``model`` on a split; sums, divided once.

    ``size`` is the one that the model was just trained on: at another, every cell would look larger or smaller.
    """
    total_loss, correct = torch.zeros((), device=run.device), torch.zeros((), dtype=torch.int64, device=run.device)
    model.eval()
    for images, labels, _ in valid_batches(split, run.config.batch_size, run.config.workers, run.pin):
        labels = labels.to(run.device)
        x = resize(run.normalise(images.to(run.device)), size).contiguous(memory_format=torch.channels_last)
        with run.autocast():
            logits: Tensor = model(x).float()
        total_loss += functional.cross_entropy(logits, labels, reduction="sum")
        correct += (logits.argmax(1) == labels).sum()
    return total_loss.item() / len(split), correct.item() / len(split)


def start(run: Run) -> bool:
    """Load what is to be resumed; false when the run is finished already."""
    last = run.folder / "last.pt"
    if not last.is_file() or run.config.force:
        (run.folder / RUN_RECORD).unlink(missing_ok=True)  # it speaks of the run that is replaced
        return True
    if not run.config.resume:
        raise UserError(f"{last}: a run is there already: --resume goes on with it, --force replaces it")
    card, state = load_checkpoint(last)
    _refuse_other_run(card, run, last)
    load_weights(run.model, state, last)
    load_weights(run.ema.model, state, last, "ema")
    try:
        run.ema.updates = state["ema_updates"]
        run.optimizer.load_state_dict(state["optimizer"])
        run.history = [Epoch(**row) for row in state["history"]]
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(f"{last}: cannot be resumed ({type(error).__name__}): --force trains anew") from None
    return len(run.history) < run.config.epochs


def save(run: Run) -> None:
    """Write last.pt, history.csv and, after the best epoch so far, best.pt (EMA weights alone)."""
    rows = [asdict(row) for row in run.history]
    state: dict[str, Any] = {
        "model": run.model.state_dict(),
        "ema": run.ema.model.state_dict(),
        "ema_updates": run.ema.updates,
        "optimizer": run.optimizer.state_dict(),
        "history": rows,
    }
    if best_epoch(run.history) is run.history[-1]:
        save_checkpoint(run.folder / "best.pt", run.card(), {"model": run.ema.model.state_dict()})
    write_history(run.folder / HISTORY, run.history)
    save_checkpoint(run.folder / "last.pt", run.card(), state)


def best_epoch(history: list[Epoch]) -> Epoch:
    """The epoch of highest accuracy on valid; ties go to the lower loss, then to the earlier epoch.

    While sizes grow, epochs of the largest size so far count alone: only they know the cells' full scale.
    """
    largest = max(row.size for row in history)
    return min((row for row in history if row.size == largest), key=lambda row: (-row.valid_accuracy, row.valid_loss))


def size_of_epoch(config: Config, full: int, epoch: int) -> int:
    """Progressive size: from ``start_size`` to ``full`` in steps of 16 px over the first 80 % of the epochs."""
    if not config.start_size or config.start_size >= full:
        return full
    progress = (epoch - 1) / max(1, 4 * config.epochs // 5)
    size = config.start_size + round(progress * (full - config.start_size) / 16) * 16
    return full if progress >= 1 or epoch == config.epochs else min(full, size)


def class_weights(manifest: Manifest) -> Tensor:
    """Inverse class frequency of the training split, float ``[2]`` with a mean of 1 over the samples."""
    shards = [shard for shard in manifest.shards if shard.split == "train"]
    counts = [sum(shard.class_counts[label] for shard in shards) for label in (0, 1)]
    if 0 in counts:
        raise UserError(f"--class-weights: the training split has no {manifest.classes[counts.index(0)]} cells")
    return torch.tensor([sum(counts) / (2 * count) for count in counts])


def pick_device(wanted: str) -> torch.device:
    """``auto`` takes CUDA where it is usable; ``cuda`` without a usable GPU is an error, never a slow success."""
    usable = torch.cuda.is_available()
    if wanted == "cuda" and not usable:
        raise UserError("--device cuda: no usable GPU: torch.cuda.is_available() is false")
    return torch.device("cuda" if usable and wanted != "cpu" else "cpu")


def _refuse_other_run(card: ModelCard, run: Run, path: Path) -> None:
    wanted = dict(recipe_of(run.config))
    differing = [
        f"{key} {card.training.get(key)} -> {value}" for key, value in wanted.items() if card.training.get(key) != value
    ]
    if card.arch != run.config.arch or card.manifest_digest != run.manifest.digest:
        differing.append("the shards' manifest")
    if differing:
        raise UserError(f"{path}: cannot be resumed, these differ: {', '.join(differing)}; --force trains anew")


def _progress(batches: DataLoader, name: str, steps: int) -> tqdm:
    return tqdm(batches, desc=name, total=steps, unit="batch", leave=False, disable=None)
