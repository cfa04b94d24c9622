"""The model card: what a checkpoint and an ONNX file say about themselves."""

from dataclasses import dataclass
from typing import Any

from contract.errors import UserError
from contract.recipe import Recipe
from contract.record import from_json, to_json

FORMAT = 1
METADATA_KEY = "leukoshard.model_card"  # of the card's JSON in an ONNX file's metadata_props


@dataclass(frozen=True)
class ModelCard:
    """Everything a user of a network must know: what it is, what pixels it takes, where it comes from."""

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
    metrics: dict[str, float]  # on the validation split

    def to_json(self) -> str:
        return to_json(self)

    @classmethod
    def from_json(cls, text: str, source: str = "model card") -> "ModelCard":
        card = from_json(cls, text, source)
        if card.format != FORMAT:
            raise UserError(f"{source}: card format {card.format}: this code reads format {FORMAT}")
        return card
