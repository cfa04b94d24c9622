"""Folders of shards that hold the same cells under different recipes: each network is shown the pixels it knows.

The first folder decides which cells there are, and in which order; every other column is joined to it by source path.
"""

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

from contract.errors import UserError
from contract.manifest import Manifest, load_manifest
from contract.model_card import ModelCard
from contract.shard_reader import SplitReader
from evaluate.predictions import Cells, read_cells


class ShardFolder:
    """One folder of shards; a split is opened, and its shards are hashed, when it is first asked for."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.manifest: Manifest = load_manifest(path)
        self.reader = cache(lambda split: SplitReader(path, self.manifest, split))
        self.cells = cache(lambda split: read_cells(self.reader(split), self.manifest))


def open_folders(paths: Sequence[Path]) -> tuple[ShardFolder, ...]:
    """Read the manifests; raises ``UserError`` for no folder, and for folders of other cells, splits or classes."""
    if not paths:
        raise UserError("--shards: name at least one folder of shards")
    first, *others = folders = tuple(ShardFolder(path) for path in paths)
    for other in others:
        if other.manifest.source_digest != first.manifest.source_digest:
            raise UserError(
                f"{other.path}: holds other cells or other splits than {first.path}: build both from the same data "
                "with the same split, seed and folds"
            )
        if other.manifest.classes != first.manifest.classes:
            raise UserError(f"{other.path}: tells {other.manifest.classes} apart, {first.path} others")
    return folders


def folder_for(card: ModelCard, folders: Sequence[ShardFolder], allow_other_data: bool, source: str) -> ShardFolder:
    """The folder that a network was trained on, by the digest on its card.

    Where there is none, ``allow_other_data`` takes the first with the network's recipe, but for the target of a stain,
    which is fitted on a folder's own cells. Raises ``UserError`` naming ``source`` where no folder serves.
    """
    for folder in folders:
        if folder.manifest.digest == card.manifest_digest:
            return folder
    named = ", ".join(str(folder.path) for folder in folders)
    pixels = pixels_of(vars(card.recipe))
    serving = [folder for folder in folders if pixels_of(vars(folder.manifest.recipe)) == pixels]
    if not serving:
        held = "; ".join(f"{folder.path} {pixels_of(vars(folder.manifest.recipe))}" for folder in folders)
        raise UserError(
            f"{source}: takes {pixels}, the shards hold: {held}: name its own shards too: "
            f"--shards {' '.join(str(folder.path) for folder in folders)} FOLDER"
        )
    if not allow_other_data:
        raise UserError(
            f"{source}: was trained on other shards than {named} (manifest digests differ): name its own shards too, "
            "or --allow-other-data goes on, and the page says so"
        )
    return next((folder for folder in serving if folder.manifest.recipe == card.recipe), serving[0])


def pixels_of(recipe: dict[str, Any]) -> str:
    """What a card's or a manifest's recipe shows a network, as "112 px, crop native of 288 px, stain none"."""
    window = f" of {recipe['window']} px" if recipe["crop"] == "native" else ""
    stored = f", jpg of quality {recipe.get('quality')}" if recipe.get("format") == "jpg" else ""  # png, npy: every bit
    return f"{recipe['size']} px, crop {recipe['crop']}{window}, stain {recipe['stain']}{stored}"


def positions_of(wanted: Cells, held: Cells, source: str) -> list[int]:
    """Where each wanted cell stands in ``held``, joined by source path.

    Raises ``UserError`` naming ``source`` and the first cell that is not there, is there alone, or has another label.
    """
    place = {i: position for position, i in enumerate(held.ids)}
    asked = set(wanted.ids)
    alone = next((i for i in (*wanted.ids, *held.ids) if (i in place) != (i in asked)), None)
    if alone is not None or len(held.ids) != len(wanted.ids):
        raise UserError(f"{source}: does not hold the same cells as the first folder of shards: {alone or 'one twice'}")
    positions = [place[i] for i in wanted.ids]
    for i, position, label in zip(wanted.ids, positions, wanted.labels, strict=True):
        if held.labels[position] != label:
            raise UserError(f"{source}: {i} has label {held.labels[position]}, in the first folder of shards {label}")
    return positions
