"""``shards/manifest.json``: the index of a build, written last. A reader trusts nothing that it does not list."""

import math
import re
from dataclasses import dataclass
from pathlib import Path

from contract.errors import UserError
from contract.files import read_text
from contract.publish import text_sha256
from contract.recipe import Recipe
from contract.record import from_json, to_json

FORMAT = 2
NAME = "manifest.json"
CLASSES = ("normal", "blast")  # label 0 and label 1
SHARD_NAME = re.compile(r"[A-Za-z0-9_-]+-[0-9]{6}\.tar")


@dataclass(frozen=True)
class Shard:
    """One tar file of a split."""

    name: str  # file name inside the shards folder
    split: str
    samples: int
    class_counts: tuple[int, ...]  # samples of label 0 and of label 1; (0, 0) on unlabelled splits
    bytes: int
    sha256: str

    def __post_init__(self) -> None:
        if not SHARD_NAME.fullmatch(self.name):
            raise UserError(f"shard name {self.name!r}: must be SPLIT-000000.tar, a plain file name")


@dataclass(frozen=True)
class Split:
    """What a split is, over all its shards."""

    name: str
    labelled: bool
    samples: int
    subjects: int  # number of distinct subjects, 0 where they are unknown
    shared_subjects: int  # how many of them are also in the training split


@dataclass(frozen=True)
class Submission:
    """The IDs that one unlabelled CSV asks for, in its own order (a Kaggle board's order)."""

    name: str  # the CSV's name without "_test.csv": "resnet18", or the name of a further split
    split: str
    ids: tuple[str, ...]  # the CSV's Path column, as written there


@dataclass(frozen=True)
class PixelStatistics:
    """Mean and standard deviation of the training split's cell pixels, per RGB channel, in units of 0..255."""

    mean: tuple[float, float, float]
    std: tuple[float, float, float]

    def __post_init__(self) -> None:
        if not all(0 < std < math.inf for std in self.std) or not all(map(math.isfinite, self.mean)):
            raise UserError(f"mean {self.mean}, std {self.std}: must be finite, and std above zero")


def check_classes(classes: tuple[str, ...]) -> None:
    """Raise ``UserError`` where label 0 and label 1 do not have a name each."""
    if len(classes) != 2:
        raise UserError(f"classes {classes}: must be two names, of label 0 and of label 1")


@dataclass(frozen=True)
class Manifest:
    """Everything a reader needs to know about a folder of shards."""

    format: int
    dataset: str  # a person's name for the data; says "synthetic" where cells are drawn
    layout: str
    split_by: str  # "given", "identity", "subject" or "image"
    folds: int  # 0 where there are no folds
    fold: int  # 1 to ``folds``: "valid" is this fold and "train" all others
    identities: dict[str, str]  # identity of every subject id, "51+75+78" for several of one person; {} if not searched
    source_digest: str  # SHA-256 of the list of sources: split, path, label, subject, bytes, and of the kind of split
    classes: tuple[str, ...]
    recipe: Recipe
    pixels: PixelStatistics
    shrunk: int  # cells larger than the native window
    unnormalised: tuple[str, ...]  # keys of cells whose stain cannot be told: their colours are as they were
    skipped: int  # cells left out by --skip-bad, listed with reasons in skipped.csv
    splits: tuple[Split, ...]
    submissions: tuple[Submission, ...]
    shards: tuple[Shard, ...]

    def __post_init__(self) -> None:
        check_classes(self.classes)

    def to_json(self) -> str:
        return to_json(self)

    @classmethod
    def from_json(cls, text: str, source: str = NAME) -> "Manifest":
        return from_json(cls, text, source, FORMAT, "build the shards anew (make shards DATA=folder FORCE=1)")

    @property
    def digest(self) -> str:
        """SHA-256 of the manifest's own text: names the data in checkpoints and reports."""
        return text_sha256(self.to_json())

    def identity(self, subject: str | None) -> str | None:
        """Who a sample's ``subject`` is: the identity that its ids were joined into, else the id; None if unknown."""
        return None if subject is None else self.identities.get(subject, subject)

    def split(self, name: str) -> Split:
        """The split called ``name``; raises ``UserError`` that lists the splits there are."""
        for split in self.splits:
            if split.name == name:
                return split
        raise UserError(f"split {name!r} is not in the shards: there are {', '.join(s.name for s in self.splits)}")


def load_manifest(shards: Path) -> Manifest:
    """Read ``shards/manifest.json``; raises ``UserError`` where it is missing, or not a manifest of different parts."""
    path = shards / NAME
    manifest = Manifest.from_json(read_text(path, "build the shards first (make shards DATA=folder)"), str(path))
    if len({shard.name for shard in manifest.shards}) < len(manifest.shards):  # a training would learn its cells twice
        raise UserError(f"{path}: the manifest lists a shard twice")
    if len({split.name for split in manifest.splits}) < len(manifest.splits):
        raise UserError(f"{path}: the manifest lists a split twice")
    return manifest
