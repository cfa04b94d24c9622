"""The classical baseline beside the networks: what `python -m train baseline` left in ARTIFACTS/baseline/.

Text alone is read, a card and one CSV a split: no model, nothing unpickled.
"""

import csv
import hashlib
import io
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from contract.baseline import CARD, COLUMNS, NAME, BaselineCard, predictions_name
from contract.errors import UserError
from contract.files import read_bytes, read_text
from evaluate.predictions import Cells, Predictions, decide
from evaluate.shard_folders import ShardFolder, positions_of

AGAIN = "make baseline (or --no-baseline leaves it out)"


@dataclass(frozen=True)
class Baseline:
    """A baseline that was trained on the very shards that are evaluated."""

    folder: Path  # ARTIFACTS/baseline
    card: BaselineCard
    shards: ShardFolder  # whose cells it measured

    def predictions(self, split: str, cells: Cells) -> Predictions:
        """What it says of ``cells``, in their order; raises ``UserError`` for a file that is not the card's."""
        path = self.folder / predictions_name(split)
        rows = _rows(path, self.card.files.get(split))
        try:
            labels = tuple(int(row["label"]) if row["label"] else None for row in rows)
            probability = np.array([row["probability"] for row in rows], np.float32)
        except (KeyError, ValueError) as error:
            raise UserError(f"{path}: not predictions of the baseline: {error}") from None
        held = replace(cells, ids=tuple(row["ID"] for row in rows), labels=labels)
        order = positions_of(cells, held, str(path))
        if not ((probability >= 0) & (probability <= 1)).all():  # NaN is neither
            raise UserError(f"{path}: a probability is not between 0 and 1")
        said = probability[order]
        return Predictions(cells, None, said, said, decide(said, self.card.threshold))

    def image(self, split: str, cells: Cells, i: int) -> NDArray[np.uint8]:
        """Cell ``i`` of ``cells`` as the baseline measured it, uint8 RGB."""
        place = self.shards.cells(split).ids.index(cells.ids[i])
        return self.shards.reader(split).image(place)


def load_baseline(artifacts: Path, folders: Sequence[ShardFolder]) -> Baseline | None:
    """The baseline below ``artifacts``, ``None`` where none was trained.

    Raises ``UserError`` where it is of other shards than ``folders``, of several folds, or damaged.
    """
    path = artifacts / NAME / CARD
    if not path.is_file():
        if (path.parent / "metrics.json").is_file():
            raise UserError(f"{path.parent}: has no {CARD}: it was made by an older version, or half: {AGAIN}")
        return None
    card = BaselineCard.from_json(read_text(path, AGAIN), str(path))
    if len(card.manifests) != 1:
        raise UserError(
            f"{path}: was trained on {len(card.manifests)} folds, a report is of one set of shards: {AGAIN}"
        )
    for folder in folders:
        if folder.manifest.digest == card.manifests[0] and folder.manifest.classes == card.classes:
            return Baseline(path.parent, card, folder)
    named = ", ".join(str(folder.path) for folder in folders)
    raise UserError(f"{path}: was trained on other shards than {named} (manifest digests differ): {AGAIN}")


def _rows(path: Path, sha256: str | None) -> list[dict[str, str]]:
    data = read_bytes(path, AGAIN)
    if hashlib.sha256(data).hexdigest() != sha256:
        raise UserError(f"{path}: is not the file that {CARD} lists: {AGAIN}")
    rows = list(csv.DictReader(io.StringIO(data.decode(errors="replace"))))
    if not rows or tuple(rows[0]) != COLUMNS:
        raise UserError(f"{path}: its columns are not {', '.join(COLUMNS)}: {AGAIN}")
    return rows
