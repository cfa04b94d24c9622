"""The preprocessing recipe: every choice between a raw image and the pixels of a shard."""

from dataclasses import dataclass
from typing import Literal

from contract.errors import UserError
from contract.record import check_choices, from_json, to_json

# Of the preprocessing code, by stain: raised whenever the same recipe would give other pixels. Shards and networks of
# the other stains stay good.
VERSIONS = {"none": 1, "reinhard": 1, "macenko": 2, "vahadane": 2}
MINIMUM_SIZE = 33  # px a side: below it a ResNet's last feature map is 1 x 1 and BatchNorm has one value a channel
MAXIMUM_SIZE = 1024
# reinhard: Lab mean and deviation; macenko, vahadane: two stain vectors and their two 99th percentile concentrations.
TARGET_LENGTHS = {"none": 0, "reinhard": 6, "macenko": 8, "vahadane": 8}


@dataclass(frozen=True)
class Recipe:
    """How a raw cell image becomes a shard's ``[size, size, 3]`` uint8 RGB image."""

    stain: Literal["none", "reinhard", "macenko", "vahadane"] = "none"  # stain normalisation
    target: tuple[float, ...] = ()  # of the stain, fitted on the training split; its numbers are those of the method
    crop: Literal["native", "box", "none"] = "native"  # native: one scale for all cells; box: bounding box resized
    window: int = 288  # side of the native crop in source pixels
    size: int = 112  # side of the stored image in pixels
    # Of a stored image (contract/pixels.py): png and npy to the bit. A network trained on jpg learns from changed
    # colours, while a raw image at inference, with no file in between, shows it the unchanged ones.
    format: Literal["png", "jpg", "npy"] = "png"
    quality: int | None = None  # of jpg, 1 to 100; None where the format has none
    version: int = 0  # of the preprocessing code; 0 becomes today's for the stain

    def __post_init__(self) -> None:
        check_choices(self)
        if not MINIMUM_SIZE <= self.size <= MAXIMUM_SIZE:
            raise UserError(f"size {self.size}: must be between {MINIMUM_SIZE} and {MAXIMUM_SIZE} px")
        if not MINIMUM_SIZE <= self.window <= 4096:
            raise UserError(f"window {self.window}: must be between {MINIMUM_SIZE} and 4096 px")
        if len(self.target) not in (0, TARGET_LENGTHS[self.stain]):
            raise UserError(
                f"stain target of {len(self.target)} numbers: {self.stain} has {TARGET_LENGTHS[self.stain]}"
            )
        if self.format == "jpg" and (self.quality is None or not 1 <= self.quality <= 100):
            raise UserError(f"quality {self.quality}: the format jpg needs one from 1 to 100 (--quality 90)")
        if self.format != "jpg" and self.quality is not None:
            raise UserError(f"quality {self.quality}: the format {self.format} has none, only jpg does")
        version = VERSIONS[self.stain]
        if self.version == 0:
            object.__setattr__(self, "version", version)
        if self.version != version:
            raise UserError(
                f"recipe version {self.version}: of stain {self.stain} this code makes version {version}; "
                "build the shards anew (make shards DATA=folder FORCE=1) and train on them (make train FORCE=1)"
            )

    def to_json(self) -> str:
        return to_json(self)

    @classmethod
    def from_json(cls, text: str, source: str = "recipe") -> "Recipe":
        return from_json(cls, text, source)
