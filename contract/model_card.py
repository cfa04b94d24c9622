"""The model card: what a checkpoint and an ONNX file say about themselves."""

import math
from dataclasses import dataclass, field
from typing import Any, Literal

from contract.errors import UserError
from contract.manifest import PixelStatistics, check_classes
from contract.recipe import Recipe
from contract.record import check_choices, from_json, to_json

FORMAT = 2
# By the end of an interval's name: what was drawn anew. "people" is of older cards, which do not say which of the two.
DRAWN = {"identities": "people", "subjects": "subject ids", "people": "people or subject ids"}
METADATA_KEY = "leukoshard.model_card"  # of the card's JSON in an ONNX file's metadata_props

CITATION = (
    "Gupta, A., & Gupta, R. (2019). ALL Challenge dataset of ISBI 2019 [Data set]. The Cancer Imaging Archive. "
    "https://doi.org/10.7937/tcia.2019.dc64i46r (CC BY 3.0)"
)
INTENDED_USE = "research and teaching; not a medical device"
LIMITS = (
    "one segmented cell on exact black, stained and photographed as in the data set; nothing else was ever seen",
    "epoch, temperature and threshold are chosen on the validation split, so its metrics are a little optimistic",
    "where people are shared between training and validation, the metrics say nothing about people never seen",
)
REFIT_LIMIT = (  # in place of the second limit, of a network that learned the validation split as well
    "it learned the validation split too: temperature, threshold and metrics are of the same training without it"
)
# Settings of a training that came later, with what every training did before that.
YOUNGER: dict[str, int | float | str | bool] = {
    "initial": "",
    "refit": False,
    "group_dro": 0.0,
    "subject_head": 0.0,
    "teacher": "",
    "teacher_share": 0.75,
    "colours": False,
}


@dataclass(frozen=True)
class ModelCard:
    """Everything a user of a network must know: what it is, what pixels it takes, where it comes from.

    A checkpoint leaves the fields with defaults as they are; export fills them in.
    """

    format: int
    arch: str  # "resnet18", "resnet50" or "resnet152"
    classes: tuple[str, ...]  # names of label 0 and 1
    dataset: str  # the manifest's; says "synthetic" where cells are drawn
    recipe: Recipe  # from a raw image to the network's uint8 [size, size, 3] RGB input
    mean: tuple[float, float, float]  # of the training split's cell pixels, per RGB channel, in units of 0..255
    std: tuple[float, float, float]
    manifest_digest: str
    seed: int
    epoch: int  # epoch of these weights, counted from 1
    training: dict[str, Any]  # the configuration of the run
    versions: dict[str, str]  # python, packages, and the project's commit
    metrics: dict[str, float]  # on the validation split: the checkpoint's, after export those of the file itself
    variant: Literal["checkpoint", "float32", "int8", "raw"] = "checkpoint"  # raw: takes raw images, not crops
    temperature: float = 1.0  # logits are divided by it before the probability; 1: not calibrated
    threshold: float = 0.5  # a cell whose calibrated probability of label 1 reaches it is called label 1
    operating_point: str = "default 0.5"  # why that threshold: or "balanced", or "sensitivity 0.95"
    samples: int = 0  # n of the metrics; 0 in a checkpoint
    # 95 %: of the metric of the same name, images taken for independent; NAME_identities, NAME_subjects: people, or
    # subject ids, drawn anew (NAME_people in older cards)
    intervals: dict[str, tuple[float, float]] = field(default_factory=dict)
    calibration: tuple[str, ...] = ()  # keys of the training cells that the int8 ranges were measured on
    float_layers: tuple[str, ...] = ()  # convolutions that int8 left in float32
    verification: dict[str, float] = field(default_factory=dict)  # largest errors found before publishing
    opset: int = 0  # of the ONNX file; 0 in a checkpoint
    ir: int = 0
    citation: str = CITATION  # of the data
    intended_use: str = INTENDED_USE
    limits: tuple[str, ...] = LIMITS

    def __post_init__(self) -> None:
        check_choices(self)
        if not 0 < self.temperature < math.inf:
            raise UserError(f"temperature {self.temperature}: must be above zero")
        if not 0 < self.threshold < 1:
            raise UserError(f"threshold {self.threshold}: must be between 0 and 1")
        check_classes(self.classes)
        PixelStatistics(self.mean, self.std)  # checks them

    @property
    def refit(self) -> bool:
        """Whether it learned the validation split too (``train --refit``): nothing labelled is left to judge it by."""
        return bool(self.training.get("refit"))

    @property
    def channels(self) -> int:
        """Of the network's input, behind the normalisation: 3, or 6 where it sees an image in both ways."""
        return 6 if self.training.get("standardise") is True and self.training.get("colours") is True else 3

    @property
    def measured_on(self) -> str:
        """What the metrics are of, in words."""
        found = f"the validation split (n = {self.samples or 'unknown'})"
        return f"{found}, by the same training without it" if self.refit else found

    def to_json(self) -> str:
        return to_json(self)

    @classmethod
    def from_json(cls, text: str, source: str = "model card") -> "ModelCard":
        return from_json(cls, text, source, FORMAT, "train and export the network anew")


def settings_of(card: dict[str, Any]) -> dict[str, Any]:
    """What a refit and its counterpart have in common: all settings of a training (a card's fields) but ``refit``."""
    same = {name: card[name] for name in ("arch", "classes", "recipe", "seed", "manifest_digest")}
    return {name: value for name, value in (YOUNGER | card["training"] | same).items() if name != "refit"}
