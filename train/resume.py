"""last.pt: written at the end of every epoch, from time to time inside one, and when a signal comes; read to go on.

Random numbers need no place in it: those of a step follow from the seed and the step (``train.draws``), the order of an
epoch from the seed and the epoch, and nothing draws from a global generator after the weights are made.

At the end of an epoch last.pt comes first, best.pt and history.csv after it: wherever a run is killed between them,
last.pt holds what the others lack, and a resumed run makes them whole before it goes on.
"""

import time
from dataclasses import asdict, replace
from typing import Any

import torch
from torch import Tensor

from contract.errors import ANEW, UserError
from contract.model_card import ModelCard
from contract.publish import remove, remove_unfinished
from train.checkpoint import load_checkpoint, save_checkpoint
from train.finite import check_losses, check_weights
from train.history import NAME as HISTORY
from train.history import Epoch, best_epoch, finished, write_history
from train.reload import cycles, differences, else_anew, reload
from train.run import Phase, Run
from train.run_record import NAME as RUN_RECORD
from train.run_record import write_start_record

LAST, BEST = "last.pt", "best.pt"


def start(run: Run) -> bool:
    """Load what is to be resumed, or make the folder ready for a new run; false when the run is finished already.

    Raises ``UserError`` when a run is there and neither resumed nor replaced, or is another run: it says what differs;
    when its best weights are gone, and are not the last ones either; when it is finished and its last.pt is gone.
    """
    record = run.folder / RUN_RECORD
    if run.processes.first:
        for name in (LAST, BEST):
            remove_unfinished(run.folder / name)
    if _goes_on(run):
        grown = _load(run)
        if not grown:
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


def _goes_on(run: Run) -> bool:
    """Whether there is a run to go on with; raises ``UserError`` for one that would be replaced unasked."""
    last, record = run.folder / LAST, run.folder / RUN_RECORD
    if run.config.force:
        return False
    if not last.exists() and record.is_file():
        raise UserError(f"{record}: of a finished run whose {LAST} is gone: {ANEW} replaces it")
    if last.exists() and not run.config.resume:
        raise UserError(f"{last}: a run is there already: --resume goes on with it, {ANEW} replaces it")
    return last.exists()


def save_epoch(run: Run) -> None:
    """Write last.pt, then, after the best epoch so far, best.pt (EMA weights alone), then history.csv."""
    last = run.history[-1]
    check_weights(run, f"after epoch {last.epoch}", 0.0 if run.valid_split is None else last.valid_loss)
    run.phase = None
    _write(run, None)  # first: after a kill between them, a last.pt of before would go on with a best.pt of now
    if run.processes.first:
        if best_epoch(run.history) is run.history[-1]:
            save_checkpoint(run.folder / BEST, run.card(), {"model": run.ema.model.state_dict()})
        write_history(run.folder / HISTORY, run.history)


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
    card = reload(run, run.folder / LAST)
    if run.processes.first and run.history:
        _settle_best(run, card)
        write_history(run.folder / HISTORY, run.history)
    return bool(run.config.cycles > cycles(card))


def _settle_best(run: Run, card: ModelCard) -> None:
    """See to it that best.pt has the weights of the best epoch so far; ``card`` is that of last.pt.

    Where that epoch is the last one, last.pt has them too, and what lies there otherwise is replaced. Where it is an
    earlier one, raises ``UserError`` for a best.pt that is gone or damaged, or of another run or epoch.
    """
    best = best_epoch(run.history)
    held = run.phase is None and best is run.history[-1]
    averaged = {name: value.cpu() for name, value in run.ema.model.state_dict().items()}
    try:
        found = _weights_of(run, best)
    except UserError:
        if not held:
            raise
        found = None
    if held and not _same(found, averaged):
        save_checkpoint(run.folder / BEST, card, {"model": averaged})
        run.tell(f"{BEST} is written anew: it was not of epoch {best.epoch}, the best one, whose weights {LAST} holds")


def _weights_of(run: Run, best: Epoch) -> Any:
    """What best.pt holds as weights; raises ``UserError`` where it is not that of ``best``, an epoch of ``run``."""
    path = run.folder / BEST
    with else_anew():
        if not path.exists():
            raise UserError(f"{path}: is gone, and {LAST} does not hold the weights of the best epoch")
        card, state = load_checkpoint(path)
        differing = differences(replace(card, training=card.training | {"cycles": run.config.cycles}), run)
        if differing:
            raise UserError(f"{path}: not of the run in {LAST}, these differ: {', '.join(differing)}")
        if (card.epoch, card.metrics) != (best.epoch, best.metrics):
            raise UserError(f"{path}: not of epoch {best.epoch}, the best one of the run in {LAST}")
    return state.get("model")


def _same(found: Any, weights: dict[str, Tensor]) -> bool:
    """Whether ``found``, whatever a file holds, is ``weights`` to the bit."""
    if not isinstance(found, dict) or found.keys() != weights.keys():
        return False
    pairs = [(found[name], value) for name, value in weights.items()]
    return all(isinstance(a, Tensor) and a.dtype == b.dtype and torch.equal(a, b) for a, b in pairs)


def _tell_best_of_cycles(run: Run) -> None:
    """The best weights so far are now those of a longer run, which ends with them unless it finds better ones."""
    path = run.folder / BEST
    if run.processes.first and run.history:
        card, state = load_checkpoint(path)
        save_checkpoint(path, replace(card, training=run.card().training), {"model": state["model"]})
