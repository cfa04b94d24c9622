"""What the classical baseline says of itself, ``artifacts/baseline/card.json``: what a report needs, and no model.

Beside it lie ``predictions_<split>.csv``, one row a cell under ``COLUMNS``, in the order of the shards.
"""

from dataclasses import dataclass

from contract.record import from_json, to_json

NAME = "baseline"  # of its folder and of its column
CARD = "card.json"
FORMAT = 1
COLUMNS = ("ID", "key", "subject", "identity", "label", "probability", "verdict")


@dataclass(frozen=True)
class BaselineCard:
    """Where the predictions of the baseline come from."""

    format: int
    dataset: str
    classes: tuple[str, ...]
    manifests: tuple[str, ...]  # digests of the shards; several where several folds were scored together
    model: str  # what decides, in words
    features: tuple[str, ...]  # of a cell, in the order of the numbers
    seed: int
    threshold: float  # a cell whose probability reaches it is called label 1
    trained_on: tuple[int, ...]  # cells, one number a manifest
    versions: dict[str, str]
    files: dict[str, str]  # SHA-256 of predictions_<split>.csv, by split

    def to_json(self) -> str:
        return to_json(self)

    @classmethod
    def from_json(cls, text: str, source: str = CARD) -> "BaselineCard":
        return from_json(cls, text, source, FORMAT, "run make baseline again")


def predictions_name(split: str) -> str:
    """The file's name of one split."""
    return f"predictions_{split}.csv"
