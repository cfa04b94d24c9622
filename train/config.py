"""The training recipe: one frozen dataclass, one commented field a flag."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from contract.errors import UserError


@dataclass(frozen=True)
class Config:
    """Train a ResNet from scratch on shards; weights, history and figures go to ARTIFACTS/ARCH/."""

    arch: Literal["resnet18", "resnet50", "resnet152", "all"] = "resnet18"  # network; all: the three in turn
    shards: Path = Path("shards")  # folder of the shards
    artifacts: Path = Path("artifacts")  # folder to write
    epochs: int = 40  # passes over the training split
    batch_size: int = 64  # samples a step
    optimizer: Literal["sgd", "adamw"] = "sgd"  # sgd has Nesterov momentum 0.9
    lr: float = 0.05  # peak learning rate, after warm-up; then cosine to zero
    weight_decay: float = 5e-4  # of weights with two or more dimensions; none on BatchNorm and biases
    warmup_epochs: float = 2.0  # epochs of linear warm-up
    ema_decay: float = 0.998  # of the averaged weights, which validation and export use
    label_smoothing: float = 0.1  # share of the target spread over the classes
    class_weights: bool = False  # weight the loss by inverse class frequency
    flip: bool = True  # flips and quarter turns: exact, no pixel is interpolated
    affine: float = 0.5  # share of images that are also rotated by any angle, shifted and scaled (interpolated)
    shift: float = 0.05  # largest shift, as a share of the side
    scale: float = 0.05  # largest relative change of scale
    stain_gain: float = 0.1  # largest relative change of optical density, per image and channel
    stain_offset: float = 0.05  # largest added optical density, per image and channel
    start_size: int = 0  # progressive size: px of the first epochs, growing to the shards' size; 0: off
    seed: int = 0  # of weights, order of samples and augmentation
    workers: int = 0  # loader processes; batches do not depend on it
    device: Literal["auto", "cpu", "cuda"] = "auto"  # auto: cuda where there is a usable GPU
    amp: bool = True  # bfloat16 autocast
    resume: bool = False  # go on from last.pt where there is one
    force: bool = False  # replace a run that is already there

    def __post_init__(self) -> None:
        _positive(self, "epochs", "batch_size", "lr")
        for name in ("label_smoothing", "affine", "shift", "scale", "stain_gain"):
            if not 0 <= getattr(self, name) <= 1:
                raise UserError(f"--{name.replace('_', '-')} {getattr(self, name)}: must be between 0 and 1")
        if not 0 <= self.ema_decay < 1:
            raise UserError(f"--ema-decay {self.ema_decay}: must be at least 0 and below 1")
        for name in ("workers", "seed", "weight_decay", "warmup_epochs", "stain_offset"):
            if not 0 <= getattr(self, name) < float("inf"):
                raise UserError(f"--{name.replace('_', '-')} {getattr(self, name)}: must be 0 or more")


# Where a run lies and how it is executed: neither changes what is learned, so a resumed run may change them.
EXECUTION = ("arch", "shards", "artifacts", "workers", "device", "resume", "force")


def recipe_of(config: Config) -> dict[str, int | float | str | bool]:
    """The fields that decide what is learned, as JSON-able values."""
    return {name: value for name, value in vars(config).items() if name not in EXECUTION}


def _positive(config: Config, *names: str) -> None:
    for name in names:
        if not 0 < getattr(config, name) < float("inf"):
            raise UserError(f"--{name.replace('_', '-')} {getattr(config, name)}: must be above zero")
