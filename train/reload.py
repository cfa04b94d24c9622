"""Back into a run: what last.pt holds, value by value; whatever no run wrote, or another one did, is refused."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from contract.errors import ANEW, UserError
from contract.model_card import YOUNGER, ModelCard
from train.checkpoint import load_checkpoint, load_weights
from train.history import Epoch
from train.run import Phase, Run


def reload(run: Run, path: Path) -> ModelCard:
    """Let ``run`` stand where it stood when it wrote ``path``, and return that file's card.

    Raises ``UserError`` for a file that is no checkpoint, of another run (it says what differs), or that none wrote;
    it ends in what helps: a run that goes on would read the same file again.
    """
    with else_anew():
        return _reload(run, path)


@contextmanager
def else_anew() -> Iterator[None]:
    """Let a ``UserError`` of the block say that --force trains anew."""
    try:
        yield
    except UserError as error:
        raise UserError(f"{error}; {ANEW} trains anew") from None


def _reload(run: Run, path: Path) -> ModelCard:
    card, state = load_checkpoint(path)
    differing = differences(card, run)
    if differing:
        raise UserError(f"{path}: cannot be resumed, these differ: {', '.join(differing)}")
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
        raise UserError(f"{path}: cannot be resumed ({type(error).__name__})") from None
    return card


def cycles(card: ModelCard) -> Any:
    """How many the run of a checkpoint had."""
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


def differences(card: ModelCard, run: Run) -> list[str]:
    """What this run is and a checkpoint's run was not, each as ``name then -> now``."""
    now: dict[str, Any] = {"arch": run.config.arch, "classes": run.manifest.classes}
    now["the shards' manifest"] = run.manifest.digest[:12]
    then: dict[str, Any] = {"arch": card.arch, "classes": card.classes}
    then["the shards' manifest"] = card.manifest_digest[:12]
    now, then = now | run.recipe, then | YOUNGER | card.training | {"cycles": cycles(card)}
    if isinstance(then["cycles"], int) and now["cycles"] > then["cycles"]:
        del now["cycles"]  # what is there is the beginning of the longer run
    return [f"{name} {then.get(name)} -> {value}" for name, value in now.items() if then.get(name) != value]
