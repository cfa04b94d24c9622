"""The course of a run: cycles of warm-up and cosine, each twice as long as the one before; sizes grow in the first.

Source: warm restarts, Loshchilov & Hutter, "SGDR", ICLR 2017, with T_mult = 2. A finished run can be given one more
cycle, and ends where a run that had been asked for it from the start would have ended.
"""

import math
from dataclasses import dataclass

from train.config import Config


@dataclass(frozen=True)
class Cycle:
    """One fall of the learning rate."""

    number: int  # counted from 0
    before: int  # epochs of the cycles before it
    epochs: int


def all_epochs(config: Config) -> int:
    """Epochs of a whole run, over its cycles."""
    return config.epochs * (2**config.cycles - 1)


def cycle_of(config: Config, epoch: int) -> Cycle:
    """The cycle of an epoch, which is counted from 1."""
    number = ((epoch - 1) // config.epochs + 1).bit_length() - 1
    return Cycle(number, config.epochs * (2**number - 1), config.epochs * 2**number)


def learning_rate_of_step(config: Config, epoch: int, step: int, steps: int) -> float:
    """The rate of a step (from 0) of an epoch (from 1) of so many steps."""
    cycle = cycle_of(config, epoch)
    at = (epoch - 1 - cycle.before) * steps + step
    return learning_rate(at, cycle.epochs * steps, config.warmup_epochs * steps, config.lr)


def learning_rate(step: int, steps: int, warmup: float, peak: float) -> float:
    """Linear warm-up over ``warmup`` steps, then half a cosine from ``peak`` to zero at ``steps``, after the last."""
    if step < warmup:
        return peak * (step + 1) / (warmup + 1)
    return peak * 0.5 * (1 + math.cos(math.pi * (step - warmup) / (steps - warmup)))


def size_of_epoch(config: Config, full: int, epoch: int) -> int:
    """Progressive size: from ``start_size`` to ``full`` in steps of 16 px over the first 80 % of the first cycle."""
    if not config.start_size or config.start_size >= full or epoch >= config.epochs:
        return full
    progress = (epoch - 1) / max(1, 4 * config.epochs // 5)
    size = config.start_size + round(progress * (full - config.start_size) / 16) * 16
    return full if progress >= 1 else min(full, size)
