"""The training recipe: one frozen dataclass, one commented field a flag."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from contract.errors import UserError
from contract.record import check_choices
from contract.seed import check_seed
from train.bfloat16 import has_bfloat16


@dataclass(frozen=True)
class Config:
    """Train a ResNet from scratch on shards; weights, history and figures go to ARTIFACTS/ARCH/."""

    arch: Literal["resnet18", "resnet50", "resnet152", "all"] = "resnet18"  # network; all: the three in turn
    shards: Path = Path("shards")  # folder of the shards
    artifacts: Path = Path("artifacts")  # folder to write
    epochs: int = 40  # passes over the training split, of the first cycle
    cycles: int = 1  # cosine cycles, each twice as long as the one before; --resume can add some
    patience: int = 0  # stop after this many epochs of a cycle without improvement within it; 0: never
    batch_size: int = 32  # samples a step, over all processes
    optimizer: Literal["sgd", "adamw"] = "sgd"  # sgd has Nesterov momentum 0.9
    lr: float = 0.05  # peak learning rate, after warm-up; then cosine to zero
    weight_decay: float = 5e-4  # of weights with two or more dimensions; none on BatchNorm and biases
    warmup_epochs: float = 2.0  # epochs of linear warm-up
    ema_decay: float = 0.998  # of the averaged weights, which validation and export use; 0: off
    label_smoothing: float = 0.1  # share of the target spread over the classes
    mixup: float = 0.0  # alpha of Beta(alpha, alpha), the share of another cell mixed in; 0: off
    cutmix: float = 0.0  # alpha of Beta(alpha, alpha), the share pasted from another cell; 0: off
    class_weights: bool = False  # weight the loss by inverse class frequency
    sampling: Literal["plain", "class", "subject"] = "plain"  # class, subject: as many draws of each class, or person
    group_dro: float = 0.0  # step by which people whose cells are learned worst gain weight in the loss; 0: off
    subject_head: float = 1.0  # weight of a second head's loss, which tells people apart; below 0: reversed; 0: off
    standardise: bool = True  # take out every image's own mean and deviation of cell pixels, per channel
    colours: bool = True  # with standardise: show the network the colours as they are besides, in three more channels
    flip: bool = True  # flips and quarter turns: exact, no pixel is interpolated
    affine: float = 0.5  # share of images that are also rotated by any angle, shifted and scaled (interpolated)
    shift: float = 0.05  # largest shift, as a share of the side
    scale: float = 0.05  # largest relative change of scale
    stain_gain: float = 0.0  # largest relative change of optical density, per image and channel; 0: off
    stain_offset: float = 0.0  # largest added optical density, likewise; without --colours, standardise takes both back
    blur: float = 0.1  # share of images that are blurred
    blur_sigma: float = 1.0  # largest Gaussian blur in px of the shards' images
    sharpen: float = 0.1  # share of images, apart from the blurred ones, that are sharpened
    jpeg: float = 0.0  # share of images that go through JPEG of quality 40 to 95
    erode: int = 0  # px taken off the cell's outline at most, drawn per image
    erase: float = 0.0  # share of images with one rectangle erased
    start_size: int = 64  # progressive size: px of the first epochs, growing to the shards' size; 0: off
    initial: Path | None = None  # start from this checkpoint, of the same split and network (or resnet50 for resnet152)
    teacher: Path | None = None  # checkpoint of a network of the same shards, whose verdicts are learned; None: labels
    teacher_share: float = 0.75  # of the targets that is the teacher's
    refit: bool = False  # learn valid too, for a last training with settings that are chosen: the last epoch counts
    seed: int = 0  # of weights, order of samples and augmentation
    workers: int = 0  # loader processes, 0: the training one reads itself; batches do not depend on it
    cache: Literal["none", "ram", "device"] = "none"  # keep decoded samples in shared memory, or on the GPU
    device: Literal["auto", "cpu", "cuda"] = "auto"  # auto: cuda where there is a usable GPU
    threads: int = 0  # of the CPU; 0: as torch chooses. Sums round by how threads share them: other digits, as good
    amp: bool = field(default_factory=has_bfloat16)  # bfloat16 autocast; by default where GPU or CPU compute in it
    compile: bool = False  # torch.compile: slow to start, then faster steps on a GPU
    checkpoint_every: float = 600.0  # seconds between checkpoints inside an epoch; 0: at its end only
    resume: bool = False  # go on from last.pt where there is one
    force: bool = False  # replace a run that is already there

    def __post_init__(self) -> None:
        check_choices(self)
        check_seed(self.seed)
        _require(self, "above zero", lambda v: 0 < v < float("inf"), "epochs", "batch_size", "lr", "blur_sigma")
        _require(self, "between 1 and 16", lambda v: 1 <= v <= 16, "cycles")
        _require(self, "at most 1000000", lambda v: v <= 1_000_000, "epochs")  # beyond, sums of steps are no floats
        _require(self, "between 0 and 1024", lambda v: 0 <= v <= 1024, "threads", "erode")
        shares = ("label_smoothing", "affine", "shift", "stain_gain", "blur", "sharpen", "jpeg", "erase")
        _require(self, "between 0 and 1", lambda v: 0 <= v <= 1, *shares, "teacher_share")
        _require(self, "at least 0 and below 1", lambda v: 0 <= v < 1, "ema_decay", "scale")  # not to no size at all
        amounts = ("workers", "weight_decay", "warmup_epochs", "stain_offset", "patience", "mixup", "cutmix")
        _require(self, "0 or more", lambda v: 0 <= v < float("inf"), *amounts, "group_dro", "checkpoint_every")
        _require(self, "finite", lambda v: abs(v) < float("inf"), "subject_head")
        if self.arch == "all" and self.initial is not None:
            raise UserError(f"--arch all --initial {self.initial}: it is of one network: train that one by its name")
        if self.group_dro and (self.mixup or self.cutmix):
            raise UserError(
                f"--group-dro {self.group_dro}: not with --mixup or --cutmix: such an image is of two people"
            )
        if self.refit and self.patience:
            raise UserError(f"--refit --patience {self.patience}: valid is learned, so nothing tells when to stop")
        if self.blur + self.sharpen > 1:
            raise UserError(f"--blur {self.blur} and --sharpen {self.sharpen}: shares of images, above 1 together")
        if self.blur_sigma > 10:
            raise UserError(f"--blur-sigma {self.blur_sigma}: must be at most 10 px")


# Where a run's files lie and how it is executed: neither changes what is learned, so a resumed run may change them.
# Of the weights it starts from, and of a teacher's, the content counts and not the path (``Run.recipe``).
EXECUTION = (
    *("arch", "shards", "artifacts", "initial", "teacher", "workers", "cache", "device", "threads", "compile"),
    *("checkpoint_every", "resume", "force"),
)


def recipe_of(config: Config) -> dict[str, int | float | str | bool]:
    """The fields that decide what is learned, as JSON-able values."""
    return {name: value for name, value in vars(config).items() if name not in EXECUTION}


def _require(config: Config, rule: str, holds: Callable[[float], bool], *names: str) -> None:
    for name in names:
        if not holds(getattr(config, name)):  # NaN holds nowhere
            raise UserError(f"--{name.replace('_', '-')} {getattr(config, name)}: must be {rule}")
