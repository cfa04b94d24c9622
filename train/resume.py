"""last.pt: written at the end of every epoch, from time to time inside one, and when a signal comes; read to go on.

Random numbers need no place in it: those of a step follow from the seed and the step (``train.draws``), the order of an
epoch from the seed and the epoch, and nothing draws from a global generator after the weights are made.
"""

import time
from dataclasses import asdict, replace
from typing import Any

import torch

from contract.errors import UserError
from contract.model_card import YOUNGER, ModelCard
from contract.publish import remove, remove_unfinished
from train.checkpoint import load_checkpoint, load_weights, save_checkpoint
from train.finite import check_losses, check_weights
from train.history import NAME as HISTORY
from train.history import Epoch, best_epoch, finished, write_history
from train.run import Phase, Run
from train.run_record import NAME as RUN_RECORD
from train.run_record import write_start_record

LAST, BEST = "last.pt", "best.pt"


def start(run: Run) -> bool:
    """Load what is to be resumed, or make the folder ready for a new run; false when the run is finished already.

    Raises ``UserError`` when a run is there and neither resumed nor replaced, or is another run: it says what differs;
    or when its best weights are gone.
    """
    last, record = run.folder / LAST, run.folder / RUN_RECORD
    if run.processes.first:
        for name in (LAST, BEST):
            remove_unfinished(run.folder / name)
    if last.exists() and not run.config.force:
        if not run.config.resume:
            raise UserError(f"{last}: a run is there already: --resume goes on with it, --force replaces it")
        grown = _load(run)
        if not grown:
            if run.processes.first and run.history and not (run.folder / HISTORY).exists():  # of a finished run, too
                write_history(run.folder / HISTORY, run.history)
            return not (finished(run.history, run.config) and record.is_file())
        _tell_best_of_cycles(run)
    if run.processes.first:
        remove(record)  # it speaks of the run that is replaced, or given more cycles
        if not run.history:
            remove(run.folder / HISTORY)  # of the run that is replaced: a comparison would draw it as this one's
        write_start_record(run.folder, run.config, run.card(), run.processes.ranks)
    if run.initial and not run.history:
        run.tell(f"starts from {run.initial}")
    return True


def save_epoch(run: Run) -> None:
    """Write last.pt, history.csv and, after the best epoch so far, best.pt (EMA weights alone)."""
    last = run.history[-1]
    check_weights(run, f"after epoch {last.epoch}", 0.0 if run.valid_split is None else last.valid_loss)
    run.phase = None
    if run.processes.first:
        if best_epoch(run.history) is run.history[-1]:
            save_checkpoint(run.folder / BEST, run.card(), {"model": run.ema.model.state_dict()})
        write_history(run.folder / HISTORY, run.history)
    _write(run, None)


def save_step(run: Run, phase: Phase) -> None:
    """Write last.pt inside an epoch, unless a loss or a weight is not finite: then the last good file stays."""
    check_losses(run, phase)
    check_weights(run, f"after step {phase.step} of epoch {phase.epoch}")
    losses, correct = run.processes.total(phase.losses.clone()), run.processes.total(phase.correct.clone())
    done = {"epoch": phase.epoch, "step": phase.step, "seconds": phase.seconds}
    _write(run, {**done, "losses": losses.cpu() / run.processes.ranks, "correct": correct.cpu()})


def _write(run: Run, phase: dict[str, Any] | None) -> None:
    run.saved_at = time.monotonic()
    if not run.processes.first:
        return
    state: dict[str, Any] = {
        "model": run.model.state_dict(),
        "ema": run.ema.model.state_dict(),
        "ema_updates": run.ema.updates,
        "optimizer": run.optimizer.state_dict(),
        "subject_head": None if run.head is None else run.head.subjects.state_dict(),
        "people": None if run.people is None else run.people.weights,
        "history": [asdict(row) for row in run.history],
        "phase": phase,
    }
    save_checkpoint(run.folder / LAST, run.card(), state)


def _load(run: Run) -> bool:
    """Go on where last.pt stands; true where the run now has more cycles than it had then."""
    path = run.folder / LAST
    card, state = load_checkpoint(path)
    differing = _differences(card, run)
    if differing:
        raise UserError(f"{path}: cannot be resumed, these differ: {', '.join(differing)}; --force trains anew")
    load_weights(run.model, state, path)
    load_weights(run.ema.model, state, path, "ema")
    try:
        run.ema.updates = int(state["ema_updates"])
        _load_optimizer(run.optimizer, state["optimizer"])
        if run.head is not None:
            load_weights(run.head.subjects, state, path, "subject_head")
        if run.people is not None:
            run.people.weights.copy_(state["people"])
        run.history = _history_of(state["history"])
        run.phase = _phase_of(run, state["phase"]) if state["phase"] else None
    except (AttributeError, KeyError, TypeError, ValueError, RuntimeError, OverflowError) as error:
        raise UserError(f"{path}: cannot be resumed ({type(error).__name__}): --force trains anew") from None
    _check_best(run)
    return bool(run.config.cycles > _cycles(card))


def _check_best(run: Run) -> None:
    """Raise ``UserError`` where the weights of the best epoch so far are gone, or those there are of another run."""
    path = run.folder / BEST
    if not run.history or not run.processes.first:
        return
    if not path.exists():
        raise UserError(f"{path}: is gone, and {LAST} does not hold the weights of the best epoch; --force trains anew")
    card, _ = load_checkpoint(path)
    differing = _differences(replace(card, training=card.training | {"cycles": run.config.cycles}), run)
    if differing:
        raise UserError(f"{path}: not of the run in {LAST}, these differ: {', '.join(differing)}; --force trains anew")


def _tell_best_of_cycles(run: Run) -> None:
    """The best weights so far are now those of a longer run, which ends with them unless it finds better ones."""
    path = run.folder / BEST
    if run.processes.first and run.history:
        card, state = load_checkpoint(path)
        save_checkpoint(path, replace(card, training=run.card().training), {"model": state["model"]})


def _cycles(card: ModelCard) -> Any:
    return card.training.get("cycles", 1)  # a run of before there were cycles had one


def _load_optimizer(optimizer: torch.optim.Optimizer, saved: dict[str, Any]) -> None:
    """What every step carries over; what it is set to (but for the rate, which a history tells) is the run's own.

    Raises ``ValueError`` for a state of another shape than its weights: a fused step would read beyond its end.
    """
    own = [{k: v for k, v in group.items() if k not in ("params", "lr")} for group in optimizer.param_groups]
    optimizer.load_state_dict(saved)
    for group, settings in zip(optimizer.param_groups, own, strict=True):
        group.update(settings, lr=float(group["lr"]))
    for weights, carried in optimizer.state.items():
        for name, value in carried.items():
            if value.shape != (() if name == "step" else weights.shape):
                raise ValueError(f"{name} does not fit its weights")


def _history_of(saved: list[dict[str, Any]]) -> list[Epoch]:
    """The rows of all epochs from the first on; raises ``ValueError`` where one is missing or a value is no number."""
    history = [Epoch(**row) for row in saved]
    for number, row in enumerate(history, start=1):
        numbers = [float(value) for value in vars(row).values() if isinstance(value, int | float)]
        if len(numbers) < len(vars(row)) or row.epoch != number or not isinstance(row.size, int):
            raise ValueError(f"no row of epoch {number}")
    return history


def _phase_of(run: Run, saved: dict[str, Any]) -> Phase:
    """What all processes had summed up goes on in the first one; raises ``ValueError`` for what no run came to."""
    phase = run.new_phase(len(run.history) + 1)
    phase.step = phase.checked = int(saved["step"])
    phase.seconds = float(saved["seconds"])
    if saved["epoch"] != phase.epoch or saved["step"] != phase.step or not 0 <= phase.step <= run.steps:
        raise ValueError(f"no step {saved['step']} of epoch {saved['epoch']}")
    if run.processes.first:
        phase.losses.copy_(torch.as_tensor(saved["losses"]) * run.processes.ranks)
        phase.correct.copy_(torch.as_tensor(saved["correct"]))
    return phase


def _differences(card: ModelCard, run: Run) -> list[str]:
    """What this run is and a checkpoint's run was not, each as ``name then -> now``."""
    now: dict[str, Any] = {"arch": run.config.arch, "classes": run.manifest.classes}
    now["the shards' manifest"] = run.manifest.digest[:12]
    then: dict[str, Any] = {"arch": card.arch, "classes": card.classes}
    then["the shards' manifest"] = card.manifest_digest[:12]
    now, then = now | run.recipe, then | YOUNGER | card.training | {"cycles": _cycles(card)}
    if isinstance(then["cycles"], int) and now["cycles"] > then["cycles"]:
        del now["cycles"]  # what is there is the beginning of the longer run
    return [f"{name} {then.get(name)} -> {value}" for name, value in now.items() if then.get(name) != value]
