"""The columns of a report: every exported network on its own pixels, the classical baseline, and the ensemble."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from contract.baseline import NAME as BASELINE
from contract.errors import UserError
from evaluate.baseline import Baseline, load_baseline
from evaluate.ensemble import average, ensemble_threshold
from evaluate.evidence import evidence_of, mean_evidence
from evaluate.gallery import error_picture
from evaluate.orientations import look_of
from evaluate.predictions import Predictions
from evaluate.predictor import Predictor, find_networks
from evaluate.report_record import ENSEMBLE, ModelFile, Network
from evaluate.scoring import Speaker, score_network
from evaluate.shard_folders import ShardFolder, folder_for, positions_of
from evaluate.split_prediction import SplitPrediction, predict_split


@dataclass(frozen=True)
class Columns:
    """Who speaks in a report, and the shards that each of them saw."""

    folders: tuple[ShardFolder, ...]  # the first decides cells and order
    networks: dict[str, Predictor]
    shards: dict[str, ShardFolder]  # of each network
    baseline: Baseline | None
    orientations: int = 1  # sides from which the networks look at a cell: 1, or all 8

    @property
    def names(self) -> list[str]:
        """Of all columns, in their order: the networks, the baseline, the ensemble of two networks or more."""
        baseline = [BASELINE] if self.baseline else []
        return [*self.networks, *baseline, *([ENSEMBLE] if len(self.networks) > 1 else [])]

    @property
    def members(self) -> tuple[str, ...]:
        """Of the ensemble: the networks, as in a demonstration. The baseline made it no better (docs/results.md)."""
        return tuple(self.networks)

    @property
    def threshold(self) -> float:
        """The ensemble's."""
        return ensemble_threshold([predictor.card.threshold for predictor in self.networks.values()])


@dataclass(frozen=True)
class Opening:
    """How columns are opened; the words are those of ``python evaluate/run.py``."""

    device: str
    threads: int
    orientations: int
    baseline: bool
    allow_other_data: bool


def open_columns(artifacts: Path, folders: tuple[ShardFolder, ...], how: Opening) -> Columns:
    """Open every exported network and the baseline; raises ``UserError`` for one that does not fit the shards.

    A network judged on pixels made by another recipe, or on its own training cells, would mislead.
    """
    networks, shards = {}, {}
    for arch, path in find_networks(artifacts).items():
        networks[arch] = predictor = Predictor(path, how.device, how.threads)
        card, classes = predictor.card, folders[0].manifest.classes
        if card.arch != arch:
            raise UserError(f"{path}: its card says {card.arch}: it lies in the folder of another network")
        if card.classes != classes:
            raise UserError(f"{path}: tells {card.classes} apart, the shards hold {classes}")
        shards[arch] = folder_for(card, folders, how.allow_other_data, str(path))
    baseline = load_baseline(artifacts, folders) if how.baseline else None
    return Columns(folders, networks, shards, baseline, how.orientations)


def predict_columns(columns: Columns, split: str) -> tuple[dict[str, Predictions], dict[str, SplitPrediction]]:
    """What every column says of a split, in the first folder's order; and the networks' with their activation maps."""
    cells, spoken = columns.folders[0].cells(split), {}
    for name, predictor in columns.networks.items():
        shards = columns.shards[name]
        positions = positions_of(cells, shards.cells(split), str(shards.path))
        spoken[name] = predict_split(
            look_of(predictor, columns.orientations), shards.reader(split), cells, positions, f"{name} {split}"
        )
    found = {name: said.predictions for name, said in spoken.items()}
    members = list(found.values())
    if columns.baseline:
        found[BASELINE] = columns.baseline.predictions(split, cells)
    if len(members) > 1:
        found[ENSEMBLE] = average(members, columns.threshold)
    return found, spoken


def score_columns(
    columns: Columns, found: dict[str, dict[str, Predictions]], split: str, artifacts: Path
) -> dict[str, Network]:
    """The record of every column by name, from what they say by split; ``split`` is the labelled one."""
    scored: dict[str, Network] = {}
    for name, said in found[split].items():
        unlabelled = {other: columns_said[name] for other, columns_said in found.items() if other != split}
        scored[name] = score_network(_speaker(columns, name, artifacts), said, unlabelled)
    return scored


def _speaker(columns: Columns, name: str, artifacts: Path) -> Speaker:
    if name == ENSEMBLE:
        return Speaker(name, columns.threshold, "mean of its members' thresholds", members=columns.members)
    if columns.baseline and name == BASELINE:
        made = columns.baseline.card
        return Speaker(name, made.threshold, "chosen beforehand", baseline=made)
    card, file = columns.networks[name].card, model_file(columns, name, artifacts)
    return Speaker(name, card.threshold, card.operating_point, card.temperature, file)


def model_file(columns: Columns, name: str, artifacts: Path) -> ModelFile:
    """The ONNX file of a network, as a record names it."""
    predictor = columns.networks[name]
    return ModelFile(
        path=predictor.path.relative_to(artifacts).as_posix(),
        sha256=predictor.sha256,
        bytes=predictor.path.stat().st_size,
        provider=predictor.provider,
        other_data=predictor.card.manifest_digest != columns.shards[name].manifest.digest,
        card=asdict(predictor.card),
    )


def picture_of(columns: Columns, spoken: dict[str, SplitPrediction], name: str, split: str, i: int) -> bytes:
    """Cell ``i`` of those in ``spoken`` as a column saw it, beside its evidence, as PNG; the baseline has none.

    The ensemble's map is the mean of those networks that see the same part of the image as the first one.
    """
    if columns.baseline and name == BASELINE:
        cells = next(iter(spoken.values())).predictions.cells
        return error_picture(columns.baseline.image(split, cells, i), None)
    members = [name] if name != ENSEMBLE else _same_view(spoken)
    parts = [evidence_of(spoken[m].cam[i], columns.networks[m].card.temperature) for m in members]
    crop: NDArray[np.uint8] = spoken[members[0]].image(i)
    return error_picture(crop, mean_evidence(parts, len(crop)))


def _same_view(spoken: dict[str, SplitPrediction]) -> Sequence[str]:
    views = {name: (said.recipe.crop, said.recipe.window) for name, said in spoken.items()}
    first = next(iter(views.values()))
    return [name for name, view in views.items() if view == first]
