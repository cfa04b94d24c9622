"""The state of one training run: everything a checkpoint must hold, and what it is computed with."""

import copy
import signal
import time
from dataclasses import dataclass, field, replace
from typing import cast

import torch
from torch import Tensor, nn

from contract.errors import UserError
from contract.manifest import Manifest, load_manifest
from contract.model_card import FORMAT, ModelCard
from contract.recipe import MINIMUM_SIZE
from train.augment import Augment
from train.config import Config, recipe_of
from train.convolution import as_products
from train.data import Batches, open_cache, open_labelled, train_batches, valid_batches
from train.draws import Draws
from train.group_dro import PeopleWeights
from train.history import Epoch, best_epoch
from train.initial import load_initial
from train.interrupt import Interruption, StoppedError
from train.normalise import Normalise
from train.objective import class_weights
from train.optimize import ExponentialMovingAverage, make_optimizer
from train.processes import Processes, pick_device
from train.resnet import ResNet, build_resnet
from train.sampling import sampled_order
from train.schedule import size_of_epoch
from train.subject_head import People, SubjectHead
from train.teacher import load_teacher
from train.versions import versions


@dataclass
class Phase:
    """The training phase of one epoch, as far as it has come."""

    epoch: int  # counted from 1
    size: int  # px a side
    losses: Tensor  # float64 [steps]: of this process; their mean over the processes is the batch's mean loss
    correct: Tensor  # int64: how many samples were classified rightly, of this process
    step: int = 0  # steps done
    checked: int = 0  # steps whose loss is known to be finite
    keys: list[list[str]] = field(default_factory=list)  # of the batches since then
    seconds: float = 0.0


class Run:
    """One network in training on one device; weights and order of samples are drawn from the seed."""

    def __init__(self, config: Config, processes: Processes | None = None) -> None:
        if config.start_size and not config.start_size >= MINIMUM_SIZE:
            raise UserError(f"--start-size {config.start_size}: must be 0 (off) or at least {MINIMUM_SIZE} px")
        self.config = config
        self.processes = processes or Processes()
        self.folder = config.artifacts / config.arch
        self.manifest: Manifest = load_manifest(config.shards)
        self.device = pick_device(config.device, self.processes.local_rank)
        self.versions = versions(self.device)  # now: the checkout may have another commit when a checkpoint is written
        learned = ("train", "valid") if config.refit else ("train",)
        self.train_split = open_labelled(config.shards, self.manifest, *learned)
        self.valid_split = None if config.refit else open_labelled(config.shards, self.manifest, "valid")
        splits = [split for split in (self.train_split, self.valid_split) if split is not None]
        self.caches = [open_cache(config.cache, split, self.device, config.workers) for split in splits]
        pixels = self.manifest.pixels
        self.normalise = Normalise(pixels.mean, pixels.std, config.standardise, config.colours).to(self.device)
        torch.manual_seed(config.seed)
        model = build_resnet(config.arch, channels=self.normalise.channels)
        model.to(self.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.initial = load_initial(model, config, self.manifest)
        self.teacher = load_teacher(config, self.manifest, self.device)
        if self.device.type == "cpu":
            as_products(model)  # before it is copied: the averaged weights are followed by their names
        averaged = copy.deepcopy(model)
        self.model: nn.Module = self.processes.synchronised(model, self.device)
        self.ema = ExponentialMovingAverage(self.model, averaged, config.ema_decay)
        self.head = self._subject_head()
        self.learner = self.head or self.model  # all that is learned
        self.optimizer = make_optimizer(self.learner, config)
        self.whole, self.partial = self._forwards()
        self.augment = Augment.of(config)
        self.loss_weights = class_weights(self.manifest, learned).to(self.device) if config.class_weights else None
        self.people = (
            PeopleWeights(self.train_split, self.manifest, config.group_dro, self.device) if config.group_dro else None
        )
        self.history: list[Epoch] = []
        self.phase: Phase | None = None  # of an epoch that a resumed run goes on with
        self.saved_at = time.monotonic()  # when the last checkpoint was written

    def _subject_head(self) -> SubjectHead | None:
        if not self.config.subject_head:
            return None
        people = People(self.train_split, self.manifest)
        if people.count < 2:
            self.config = replace(self.config, subject_head=0.0)
            self.tell(f"subjects known: {people.count}, so there is no second head that tells people apart")
            return None
        return SubjectHead(cast(ResNet, self.model), people, self.config.subject_head)

    def _forwards(self) -> tuple[nn.Module, nn.Module]:
        """How training runs the model on a whole batch, and on the smaller last one of an epoch.

        Only whole batches are compiled, so shapes are fixed and nothing is compiled a second time for one batch.
        """
        shared = self.processes.shared(self.learner, self.device)
        if self.device.type == "cuda":
            torch.backends.cudnn.benchmark = True
        if not self.config.compile:
            return shared, shared
        torch._dynamo.config.recompile_limit = 64  # one for each of the growing sizes
        return torch.compile(shared, dynamic=False), shared  # type: ignore[return-value]

    @property
    def recipe(self) -> dict[str, int | float | str | bool]:
        """What decides what is learned, as JSON-able values."""
        taught = {"teacher": self.teacher.name if self.teacher else ""}
        return recipe_of(self.config) | {"initial": self.initial} | taught

    @property
    def samples(self) -> int:
        """Samples of one epoch."""
        return len(self.train_split)

    @property
    def steps(self) -> int:
        """Steps of one epoch."""
        return -(-self.samples // self.config.batch_size)

    @property
    def pin(self) -> bool:
        return self.device.type == "cuda"

    def autocast(self) -> torch.autocast:
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.config.amp)

    def tell(self, line: str) -> None:
        """Print a line of this run, once for all processes."""
        if self.processes.first:
            print(f"{self.config.arch}: {line}", flush=True)

    def pause_is_due(self, interruption: Interruption) -> bool:
        """Whether a signal came, or the time for a checkpoint inside the epoch: on any process, so that all agree."""
        every = self.config.checkpoint_every
        due = bool(every) and time.monotonic() - self.saved_at >= every
        return self.processes.largest(int(bool(interruption.signum) or (due and self.processes.first))) > 0

    def stop_if_asked(self, interruption: Interruption, where: str) -> None:
        """Raise ``StoppedError`` where a signal came to any process; call it right after a checkpoint was written."""
        signum = self.processes.largest(interruption.signum)
        if signum:
            name = signal.Signals(signum).name
            raise StoppedError(
                f"{self.config.arch}: stopped by {name} {where}; {self.folder / 'last.pt'} holds it", signum
            )

    def new_phase(self, epoch: int) -> Phase:
        """The start of an epoch's training phase."""
        size = size_of_epoch(self.config, self.manifest.recipe.size, epoch)
        correct = torch.zeros((), dtype=torch.int64, device=self.device)
        losses = torch.zeros(self.steps, dtype=torch.float64, device=self.device)  # sums of two float32 stay exact
        return Phase(epoch, size, losses, correct)

    def train_batches(self, phase: Phase) -> Batches:
        """This process's batches of an epoch, from the step on that ``phase`` has reached."""
        config = self.config
        order = sampled_order(self.train_split, self.manifest, config.sampling, config.seed, phase.epoch)
        return train_batches(
            self.train_split,
            config.batch_size,
            config.seed,
            phase.epoch,
            config.workers,
            self.pin,
            rank=self.processes.rank,
            ranks=self.processes.ranks,
            start=phase.step,
            order=order,
            cache=self.caches[0],
        )

    def valid_batches(self) -> Batches:
        """This process's batches of the validation split; there is none in a refit."""
        assert self.valid_split is not None
        return valid_batches(
            self.valid_split,
            self.config.batch_size,
            self.config.workers,
            self.pin,
            rank=self.processes.rank,
            ranks=self.processes.ranks,
            cache=self.caches[1],
        )

    def draws(self, phase: Phase) -> Draws:
        """The random numbers of the step that comes next: rows of its whole batch, cut as the loader cuts samples."""
        total, rank, ranks = self.batch_length(phase.step), self.processes.rank, self.processes.ranks
        first, end = total * rank // ranks, total * (rank + 1) // ranks
        rows = slice(first, end) if end > first else slice(0, 1)  # a padding sample, masked in the loss
        return Draws(self.config.seed, (phase.epoch - 1) * self.steps + phase.step, total, rows)

    def batch_length(self, step: int) -> int:
        """Samples of a step's whole batch, over all processes."""
        return min(self.config.batch_size, self.samples - step * self.config.batch_size)

    def card(self) -> ModelCard:
        """The model card of the best epoch so far; before the first epoch is finished, of none (epoch 0)."""
        best = best_epoch(self.history) if self.history else None
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
            epoch=best.epoch if best else 0,
            training=self.recipe | {"source_digest": self.manifest.source_digest},
            versions=self.versions,
            metrics=best.metrics if best else {},
        )
