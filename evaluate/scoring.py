"""From predictions to the record of a report."""

import datetime
import os
import platform
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import jinja2
import matplotlib
import numpy as np
import onnxruntime
import scipy
import sklearn

from contract.baseline import BaselineCard
from contract.bootstrap import LEVEL, RESAMPLES, SEED
from contract.errors import UserError
from contract.manifest import Manifest
from evaluate.agreement import compare_pairs
from evaluate.bootstrap import score_with_intervals
from evaluate.gallery import confident_errors
from evaluate.history import read_history, refuse_other_training
from evaluate.metrics import confusion, reliability, threshold_table
from evaluate.predictions import Cells, Predictions
from evaluate.report_record import (
    FORMAT,
    Bootstrap,
    Dataset,
    EpochAccuracy,
    ModelFile,
    Network,
    ReportRecord,
    Verdicts,
)
from evaluate.shard_folders import pixels_of
from evaluate.subjects import majority_vote, subject_rows


@dataclass(frozen=True)
class Speaker:
    """Who speaks in a column of the report, and how it decides; the fields are those of ``Network``."""

    name: str
    threshold: float
    operating_point: str
    temperature: float | None = None
    file: ModelFile | None = None
    members: tuple[str, ...] = ()
    baseline: BaselineCard | None = None


def score_network(speaker: Speaker, found: Predictions, unlabelled: dict[str, Predictions]) -> Network:
    """Everything that the report says of one column, from its predictions on the scored and the unlabelled splits."""
    labels, threshold, people = found.labels, speaker.threshold, subject_rows(found)
    return Network(
        file=speaker.file,
        members=speaker.members,
        threshold=threshold,
        operating_point=speaker.operating_point,
        temperature=speaker.temperature,
        confusion=confusion(labels, found.verdicts),
        scores=score_with_intervals(labels, found.probability, threshold, found.cells.people),
        before=reliability(labels, found.uncalibrated),
        after=reliability(labels, found.probability),
        thresholds=threshold_table(labels, found.probability, threshold),
        subjects=people,
        vote=majority_vote(people),
        errors=tuple(error for _, error in confident_errors(found, speaker.name)),
        unlabelled={split: _verdicts(said) for split, said in unlabelled.items()},
        baseline=speaker.baseline,
    )


def _verdicts(found: Predictions) -> Verdicts:
    n, blasts = len(found.verdicts), int(found.verdicts.sum())
    return Verdicts(n, blasts, n - blasts)


def build_record(
    manifest: Manifest,
    split: str,
    networks: dict[str, Network],
    found: dict[str, Predictions],
    train_subjects: Collection[str | None],
    artifacts: Path,
    orientations: int,
) -> ReportRecord:
    """The whole record, but for the list of files; ``train_subjects`` are whom the networks learned from.

    Raises ``UserError`` where a network was trained on since it was exported.
    """
    cells = next(iter(found.values())).cells
    dataset, bootstrap = _dataset(manifest, split, cells, train_subjects), _bootstrap(cells)
    return ReportRecord(
        format=FORMAT,
        date=today(),
        dataset=dataset,
        bootstrap=bootstrap,
        orientations=orientations,
        networks=networks,
        pairs=compare_pairs(found),
        history=_histories(networks, artifacts),
        notes=_notes(dataset, networks, cells, bootstrap, orientations) + _held_out(manifest, split),
        versions=versions(),
        files=(),
    )


def _histories(networks: dict[str, Network], artifacts: Path) -> dict[str, tuple[EpochAccuracy, ...]]:
    """Of the networks that have one; a refit's has no testing phase, and is left out."""
    found = {}
    for name, network in networks.items():
        path, file = artifacts / name / "history.csv", network.file
        if file is not None and not file.card["training"].get("refit") and path.is_file():
            found[name] = read_history(path)
            refuse_other_training(path, file.card["epoch"], file.path)
    return found


def _dataset(manifest: Manifest, name: str, cells: Cells, train_subjects: Collection[str | None]) -> Dataset:
    split = manifest.split(name)
    people = {manifest.identity(subject) for subject in cells.subjects if subject}
    trained = {manifest.identity(subject) for subject in train_subjects if subject}
    return Dataset(
        name=manifest.dataset,
        layout=manifest.layout,
        split=name,
        split_by=manifest.split_by,
        n=len(cells.keys),
        class_counts=(cells.labels.count(0), cells.labels.count(1)),
        classes=manifest.classes,
        subjects=split.subjects,
        subjects_shared_with_train=split.shared_subjects,
        people=len(people),
        people_shared_with_train=len(people & trained),
        manifest_digest=manifest.digest,
        source_digest=manifest.source_digest,
    )


def _bootstrap(cells: Cells) -> Bootstrap:
    people = cells.people
    if people is None:
        return Bootstrap(LEVEL, RESAMPLES, SEED, "none", 0)
    return Bootstrap(LEVEL, RESAMPLES, SEED, "identity" if any(cells.identities) else "subject", len(set(people)))


def _notes(
    data: Dataset, networks: dict[str, Network], cells: Cells, bootstrap: Bootstrap, orientations: int
) -> tuple[str, ...]:
    """What would mislead a reader who does not know it."""
    name, shared = data.split, data.people_shared_with_train
    files = {arch: network.file for arch, network in networks.items() if network.file}
    recipes = {arch: file.card["recipe"] for arch, file in files.items()}
    others = [arch for arch, file in files.items() if file.other_data]
    refits = [arch for arch, file in files.items() if learned_valid(file.card["training"], data.source_digest)]
    stained = [arch for arch in others if recipes[arch]["stain"] != "none"]
    seen = {arch: pixels_of(recipe) for arch, recipe in recipes.items()}
    sentences = {
        f"{', '.join(others)}: trained on other shards than these (--allow-other-data). Whether these cells or their "
        "people were among its training cells is unknown.": bool(others),
        f"{', '.join(stained)}: the stain of these cells was normalised to the target of their own shards, which need "
        "not be that of its training cells.": bool(stained),
        "These are the cells that the networks were trained on: the scores say how well they are remembered.": (
            name == "train"
        ),
        f"{shared} of the {data.people} {bootstrap.drawn} in {name} are in train too: the scores say nothing about "
        "people never seen.": bool(shared) and name != "train",
        f"{', '.join(refits)}: learned valid too (train --refit); the {bootstrap.drawn} of valid are counted as those "
        "of train here.": bool(refits) and cells.people is not None,
        "Whether several subject ids are one person is unknown here: intervals draw ids anew, and are too narrow where "
        "some are.": bootstrap.cluster == "subject",
        "The people are unknown: intervals take cells as independent and are too narrow, and nothing tells whether "
        "people are shared with train.": cells.people is None,
        f"The best epoch, the temperature and the threshold were chosen on {name}: its scores, and its calibration "
        "after temperature most of all, are a little optimistic.": name == "valid",
        f"Every network looked at every cell from {orientations} sides; its logits are their mean. Its temperature and "
        "threshold were chosen on single looks.": orientations > 1,
        "The networks see the same cells under different recipes: "
        + "; ".join(f"{arch} {pixels}" for arch, pixels in seen.items())
        + ".": len(set(seen.values())) > 1,
        "The split holds one class only: scores that need both are undefined.": len(set(cells.labels)) < 2,
    }
    return tuple(sentence for sentence, holds in sentences.items() if holds)


def learned_valid(training: Mapping[str, Any], source_digest: str) -> bool:
    """Whether a card's training learned valid of these cells too (``train --refit``).

    A training that does not say of which cells it is is taken for one of these.
    """
    return bool(training.get("refit")) and training.get("source_digest", source_digest) == source_digest


def _held_out(manifest: Manifest, scored: str) -> tuple[str, ...]:
    """Which labelled splits had no part in any choice, where the scored one had."""
    names = [split.name for split in manifest.splits if split.labelled and split.name not in ("train", "valid")]
    if scored != "valid" or not names:
        return ()
    are = "is" if len(names) == 1 else "are"
    return (
        f"{' and '.join(names)} {are} labelled too, and nothing was chosen there: python evaluate/run.py --split "
        f"{names[0]} writes its report in place of this one.",
    )


def today() -> str:
    """The date of the report, YYYY-MM-DD, UTC; of ``SOURCE_DATE_EPOCH`` (reproducible-builds.org) where that is set."""
    epoch = os.environ.get("SOURCE_DATE_EPOCH")
    try:
        moment = (
            datetime.datetime.now(datetime.UTC)
            if not epoch
            else datetime.datetime.fromtimestamp(int(epoch), datetime.UTC)
        )
    except (ValueError, OverflowError, OSError):
        raise UserError(f"SOURCE_DATE_EPOCH {epoch!r}: must be seconds since 1970") from None
    return moment.date().isoformat()


def versions() -> dict[str, str]:
    """Of python and of the packages that the numbers and the pictures come from."""
    packages = {
        "onnxruntime": onnxruntime,
        "numpy": np,
        "scikit-learn": sklearn,
        "scipy": scipy,
        "opencv": cv2,
        "matplotlib": matplotlib,
        "jinja2": jinja2,
    }
    return {"python": platform.python_version()} | {name: module.__version__ for name, module in packages.items()}
