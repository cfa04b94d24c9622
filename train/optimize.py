"""The optimiser and the averaged weights."""

import torch
from torch import nn

from train.config import Config


def make_optimizer(model: nn.Module, config: Config) -> torch.optim.Optimizer:
    """SGD with Nesterov momentum or AdamW; weight decay on weights of two or more dimensions only."""
    parameters = list(model.parameters())
    groups = [
        {"params": [p for p in parameters if p.ndim > 1], "weight_decay": config.weight_decay},
        {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0},
    ]
    if config.optimizer == "adamw":
        return torch.optim.AdamW(groups, lr=config.lr, fused=True)
    return torch.optim.SGD(groups, lr=config.lr, momentum=0.9, nesterov=True, fused=True)


class ExponentialMovingAverage:
    """A model whose weights and BatchNorm statistics trail those of another, ``followed``.

    After ``t`` updates the decay is ``min(decay, (1 + t) / (10 + t))``, so short runs do not average their start.
    """

    def __init__(self, followed: nn.Module, model: nn.Module, decay: float) -> None:
        self.model = model.eval().requires_grad_(False)
        self.decay = decay
        self.updates = 0
        averaged, current = self.model.state_dict(), followed.state_dict()
        floats = [name for name, value in averaged.items() if value.is_floating_point()]
        # Listed once: weights and statistics change in place, and a deep network has a thousand of them.
        self._averaged, self._current = [averaged[n] for n in floats], [current[n] for n in floats]
        counts = sorted(averaged.keys() - set(floats))
        self._counts = [(averaged[n], current[n]) for n in counts]

    @torch.no_grad()
    def update(self) -> None:
        decay = min(self.decay, (1 + self.updates) / (10 + self.updates))
        self.updates += 1
        torch._foreach_lerp_(self._averaged, self._current, 1 - decay)
        for averaged, current in self._counts:
            averaged.copy_(current)
