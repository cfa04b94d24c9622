"""The optimiser, its learning rate, and the averaged weights."""

import copy
import math

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


def learning_rate(step: int, steps: int, warmup: float, peak: float) -> float:
    """Linear warm-up over ``warmup`` steps, then half a cosine from ``peak`` to zero at ``steps``."""
    if step < warmup:
        return peak * (step + 1) / (warmup + 1)
    return peak * 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(1.0, steps - warmup)))


class ExponentialMovingAverage:
    """A copy of a model whose weights and BatchNorm statistics trail the model's.

    After ``t`` updates the decay is ``min(decay, (1 + t) / (10 + t))``, so short runs do not average their start.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.model = copy.deepcopy(model).eval().requires_grad_(False)
        self.decay = decay
        self.updates = 0

    @torch.no_grad()
    def update(self, model: nn.Module) -> None:
        decay = min(self.decay, (1 + self.updates) / (10 + self.updates))
        self.updates += 1
        averaged, current = self.model.state_dict(), model.state_dict()
        floats = [name for name, value in averaged.items() if value.is_floating_point()]
        torch._foreach_lerp_([averaged[n] for n in floats], [current[n] for n in floats], 1 - decay)
        for name in averaged.keys() - set(floats):
            averaged[name].copy_(current[name])
