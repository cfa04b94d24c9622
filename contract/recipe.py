"""The preprocessing recipe: every choice between a raw image and the pixels of a shard."""

from dataclasses import dataclass
from typing import Literal

from contract.errors import UserError
from contract.record import from_json, to_json

VERSION = 1  # raised whenever the same recipe would give other pixels
MINIMUM_SIZE, MAXIMUM_SIZE = 33, 1024


@dataclass(frozen=True)
class Recipe:
    """How a raw cell image becomes a shard's ``[size, size, 3]`` uint8 RGB image."""

    stain: Literal["none"] = "none"  # stain normalisation
    crop: Literal["native", "box", "none"] = "native"  # native: one scale for all cells; box: bounding box resized
    window: int = 288  # side of the native crop in source pixels
    size: int = 112  # side of the stored image in pixels
    version: int = VERSION  # of the preprocessing code

    def __post_init__(self) -> None:
        if not MINIMUM_SIZE <= self.size <= MAXIMUM_SIZE:
            raise UserError(f"size {self.size}: must be between {MINIMUM_SIZE} and {MAXIMUM_SIZE} px")
        if not MINIMUM_SIZE <= self.window <= 4096:
            raise UserError(f"window {self.window}: must be between {MINIMUM_SIZE} and 4096 px")
        if self.version != VERSION:
            raise UserError(f"recipe version {self.version}: this code makes version {VERSION}; build the shards anew")

    def to_json(self) -> str:
        return to_json(self)

    @classmethod
    def from_json(cls, text: str, source: str = "recipe") -> "Recipe":
        return from_json(cls, text, source)
