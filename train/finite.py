"""A loss or a weight that is not finite stops the run, and nothing of it is saved.

To look at a value waits for the GPU, so it is done every ``CHECK_EVERY`` steps and before every checkpoint; the losses
of the steps between are kept, and tell afterwards which batch was the first.
"""

import math

import torch

from contract.errors import UserError
from train.run import Phase, Run

CHECK_EVERY = 50  # steps


def check_losses(run: Run, phase: Phase) -> None:
    """Raise ``UserError`` with epoch, step and the batch's keys where a loss since the last look is not finite."""
    finite = torch.isfinite(phase.losses[phase.checked : phase.step]).int()
    good = (run.processes.total(finite) == run.processes.ranks).tolist()
    if not all(good):
        first = good.index(False)
        keys = [key for part in run.processes.gathered(phase.keys[first]) for key in part if key]
        raise UserError(
            f"{run.config.arch}: the loss is not finite in epoch {phase.epoch}, step {phase.checked + first + 1} of "
            f"{run.steps}: {_kept(run)}; a lower --lr may help; the batch's keys: {' '.join(keys)}"
        )
    phase.checked, phase.keys = phase.step, []


def check_weights(run: Run, when: str, valid_loss: float = 0.0) -> None:
    """Raise ``UserError`` where a weight, a statistic or the loss on valid is not finite: before a step tells."""
    values = [value for value in run.learner.state_dict().values() if value.is_floating_point()]
    finite = torch.stack([torch.isfinite(value).all() for value in values]).all()
    if not finite.item() or not math.isfinite(valid_loss):
        what = f"the loss on valid ({valid_loss}) is" if finite.item() else "weights are"
        raise UserError(f"{run.config.arch}: {what} not finite {when}: {_kept(run)}; a lower --lr may help")


def _kept(run: Run) -> str:
    last = run.folder / "last.pt"
    return f"the checkpoint before it stays in {last}" if last.is_file() else "there is no checkpoint before it"
