"""Train one network: the loop reads top to bottom."""

import time
from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor, nn

from contract.counted import counted
from contract.errors import ANEW, UserError
from train.bfloat16 import remark
from train.config import Config
from train.curves import draw_run
from train.data import Batch
from train.finite import CHECK_EVERY, check_losses
from train.geometry import resize
from train.history import Epoch, finished, not_bettered
from train.interrupt import Interruption
from train.lock import locked_run
from train.log import curves, progress_bar, show
from train.mix import mix
from train.objective import cross_entropy, sample_losses, targets_of
from train.processes import Processes
from train.resume import save_epoch, save_step, start
from train.run import Phase, Run
from train.run_record import write_run_record
from train.schedule import all_epochs, learning_rate_of_step
from train.scores import NO_SCORES, Scores, score


def train(config: Config, processes: Processes | None = None) -> Path:
    """Train ``config.arch`` and return its folder, which then holds best.pt, last.pt, history.csv and run.json.

    Raises ``UserError`` for shards that do not fit, for a run that is there and neither resumed nor replaced or
    that is at work there now, and for a loss that is not finite; ``StoppedError`` after a signal, when a checkpoint is
    written. ``config.threads`` are those of the whole process from here on.
    """
    if config.threads:
        torch.set_num_threads(config.threads)
    run = Run(config, processes)
    said = remark(config.amp, run.device.type)
    with locked_run(run):
        if said:
            run.tell(said)
        if start(run):
            train_epochs(run)
        else:
            run.tell(f"already trained for {counted(len(run.history), 'epoch')} in {run.folder}; {ANEW} trains anew")
            tell_end(run)
    return run.folder


def train_epochs(run: Run) -> None:
    """All epochs from where ``run`` stands, then its picture and record."""
    with Interruption() as interruption, curves(run) as writer:
        while not finished(run.history, run.config):
            phase = run.phase or run.new_phase(len(run.history) + 1)
            train_epoch(run, phase, interruption)
            scores = validate(run, phase, interruption) if run.valid_split is not None else NO_SCORES
            run.history.append(row_of(run, phase, scores))
            save_epoch(run)
            show(run, writer)
            run.stop_if_asked(interruption, f"after epoch {phase.epoch} of {all_epochs(run.config)}")
    tell_end(run)
    if run.processes.first:
        draw_run(run.history, run.folder / "accuracy.png", run.config.arch, run.manifest.dataset)
        write_run_record(run.folder, run.config, run.card(), run.history, run.processes.ranks)


def tell_end(run: Run) -> None:
    """Say so where patience ended the run before its last epoch."""
    best = not_bettered(run.history, run.config)
    if best is not None:
        done = f"after {len(run.history)} of {all_epochs(run.config)} epochs"
        run.tell(f"stopped by --patience {run.config.patience} {done}: none after epoch {best.epoch} was better")


def train_epoch(run: Run, phase: Phase, interruption: Interruption) -> None:
    """The training phase of an epoch, from the step on that ``phase`` has reached; ``phase`` takes note of all."""
    began = time.perf_counter() - phase.seconds
    run.model.train()
    with progress_bar(run, phase) as bar:
        for batch in until_stopped(run, phase, interruption):
            set_learning_rate(run, phase)
            loss, correct = forward(run, phase, batch)
            run.optimizer.zero_grad(set_to_none=True)
            loss.backward()
            run.optimizer.step()
            run.ema.update()
            # Noted on the device: to read a value here would wait for the GPU in every step.
            phase.losses[phase.step] = loss.detach()
            phase.correct += correct
            phase.keys.append(batch.keys)
            bar.update(run.batch_length(phase.step))
            phase.step += 1
            phase.seconds = time.perf_counter() - began
            if run.pause_is_due(interruption):
                pause(run, phase, interruption)
            elif len(phase.keys) == CHECK_EVERY:
                check_losses(run, phase)
    if phase.step < run.steps:
        pause(run, phase, interruption)
    check_losses(run, phase)  # waits for the GPU
    phase.seconds = time.perf_counter() - began


def until_stopped(run: Run, phase: Phase, interruption: Interruption) -> Iterator[Batch]:
    """The batches from the step on that ``phase`` has reached; they end early where a signal ended the workers too.

    Ctrl-C, ``timeout`` and schedulers send their signals to all processes of a group, the loader's included.
    """
    try:
        yield from run.train_batches(phase)
    except UserError:
        if not ended_by_signal(run, interruption):
            raise


def ended_by_signal(run: Run, interruption: Interruption) -> bool:
    """Whether a worker that is gone may have been ended by the signal that this process got too.

    Of several processes the others would wait for this one in their next step, so there it is an error.
    """
    return bool(interruption.signum) and run.processes.ranks == 1


def validate(run: Run, phase: Phase, interruption: Interruption) -> Scores:
    """Score the averaged weights; where a signal ended the workers too, checkpoint the epoch as it is trained."""
    try:
        return evaluate(run, run.ema.model, phase.size)
    except UserError:
        if not ended_by_signal(run, interruption):
            raise
    pause(run, phase, interruption)
    raise AssertionError("a signal stops the run")


def pause(run: Run, phase: Phase, interruption: Interruption) -> None:
    """Write a checkpoint inside the epoch, and stop where a signal asks for it."""
    save_step(run, phase)
    run.stop_if_asked(interruption, f"after step {phase.step} of {run.steps} of epoch {phase.epoch}")


def set_learning_rate(run: Run, phase: Phase) -> None:
    """Warm-up and cosine, by the step that comes next."""
    rate = learning_rate_of_step(run.config, phase.epoch, phase.step, run.steps)
    for group in run.optimizer.param_groups:
        group["lr"] = rate


def forward(run: Run, phase: Phase, batch: Batch) -> tuple[Tensor, Tensor]:
    """The loss of a batch, and how many samples were classified rightly: of mixed ones, as the greater part's label.

    Where several processes share the batch, the loss is this one's share of the mean times their number:
    ``DistributedDataParallel`` takes the mean of the gradients of all.
    """
    config, draws, classes = run.config, run.draws(phase), len(run.manifest.classes)
    images, labels = (t.to(run.device, non_blocking=True) for t in (batch.images, batch.labels))
    whole = run.augment(images, run.normalise, draws)
    x, hard = resize(whole, phase.size), targets_of(labels, classes)
    targets = hard
    if run.teacher is not None:
        targets = run.teacher.soften(targets, whole, run.autocast())
    if run.head is not None:
        targets = run.head.beside(targets, batch.keys)
    if config.mixup or config.cutmix:
        x, both = mix(x, torch.cat([targets, hard], 1), config.mixup, config.cutmix, draws)
        targets, hard = both[:, :-classes], both[:, -classes:]
    network = run.whole if draws.total == config.batch_size else run.partial
    with run.autocast():
        said = network(x.contiguous(memory_format=torch.channels_last)).float()
    logits = said[:, :classes]
    total = loss_of(run, logits, targets[:, :classes], batch.keys, draws.total)
    if run.head is not None:
        total = total + run.head.loss(said[:, classes:], targets[:, classes:])
    right = (logits.argmax(1) == hard.argmax(1)) & (labels >= 0)  # a padding sample has no target
    return total * (run.processes.ranks / draws.total), right.sum()


def loss_of(run: Run, logits: Tensor, targets: Tensor, keys: list[str], whole: int) -> Tensor:
    """This process's sum of the losses of its samples, in a batch of ``whole`` over all processes."""
    smoothing = run.config.label_smoothing
    if run.people is None:
        return cross_entropy(logits, targets, run.loss_weights, smoothing)
    losses = sample_losses(logits, targets, run.loss_weights, smoothing)
    return (losses * run.people.of_batch(losses, keys, run.processes)).sum() * whole


@torch.inference_mode()
def evaluate(run: Run, model: nn.Module, size: int) -> Scores:
    """Score ``model`` on the validation split, each sample once.

    ``size`` is the one that the model was just trained on: at another, every cell would look larger or smaller.
    """
    parts = []
    model.eval()
    for batch in run.valid_batches():
        images = batch.images.to(run.device, non_blocking=True)
        x = resize(run.normalise(images), size).contiguous(memory_format=torch.channels_last)
        with run.autocast():
            logits: Tensor = model(x).float()
        parts.append((logits, batch.labels, batch.mask))
    logits, labels, mask = (torch.cat(column).cpu() for column in zip(*parts, strict=True))
    gathered = run.processes.gathered((logits[mask], labels[mask]))
    return score(torch.cat([part[0] for part in gathered]), torch.cat([part[1] for part in gathered]))


def row_of(run: Run, phase: Phase, scores: Scores) -> Epoch:
    """The epoch's row of the history, the same on every process but for the time."""
    lengths = torch.tensor([run.batch_length(step) for step in range(run.steps)], dtype=torch.float64)
    losses = run.processes.total(phase.losses.to("cpu", copy=True)) / run.processes.ranks
    correct = run.processes.total(phase.correct.cpu())
    return Epoch(
        epoch=phase.epoch,
        train_loss=(losses * lengths).sum().item() / run.samples,
        train_accuracy=correct.item() / run.samples,
        valid_loss=scores.loss,
        valid_accuracy=scores.accuracy,
        valid_auroc=scores.auroc,
        valid_f1=scores.f1,
        lr=run.optimizer.param_groups[0]["lr"],
        size=phase.size,
        seconds=phase.seconds,
        images_per_second=run.samples / phase.seconds,
    )
