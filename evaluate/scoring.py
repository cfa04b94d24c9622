"""From predictions to the record of a report."""

import csv
import datetime
import os
import platform
from collections.abc import Collection
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
from evaluate.subjects import majority_vote, subject_rows


def score_network(
    name: str,
    found: Predictions,
    unlabelled: dict[str, Predictions],
    threshold: float,
    operating_point: str,
    temperature: float | None = None,
    file: ModelFile | None = None,
    members: tuple[str, ...] = (),
    baseline: BaselineCard | None = None,
) -> Network:
    """Everything that the report says of one column, from its predictions on the scored and the unlabelled splits."""
    labels, people = found.labels, subject_rows(found)
    return Network(
        file=file,
        members=members,
        threshold=threshold,
        operating_point=operating_point,
        temperature=temperature,
        confusion=confusion(labels, found.verdicts),
        scores=score_with_intervals(labels, found.probability, threshold, found.cells.people),
        before=reliability(labels, found.uncalibrated),
        after=reliability(labels, found.probability),
        thresholds=threshold_table(labels, found.probability, threshold),
        subjects=people,
        vote=majority_vote(people),
        errors=tuple(error for _, error in confident_errors(found, name)),
        unlabelled={split: _verdicts(said) for split, said in unlabelled.items()},
        baseline=baseline,
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
    """The whole record, but for the list of files; ``train_subjects`` are those of the training split."""
    cells = next(iter(found.values())).cells
    dataset = _dataset(manifest, split, cells, train_subjects)
    return ReportRecord(
        format=FORMAT,
        date=today(),
        dataset=dataset,
        bootstrap=_bootstrap(cells),
        orientations=orientations,
        networks=networks,
        pairs=compare_pairs(found),
        history={name: read_history(p) for name in networks if (p := artifacts / name / "history.csv").is_file()},
        notes=_notes(dataset, networks, cells, orientations),
        versions=versions(),
        files=(),
    )


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


def _notes(data: Dataset, networks: dict[str, Network], cells: Cells, orientations: int) -> tuple[str, ...]:
    """What would mislead a reader who does not know it."""
    name, shared = data.split, data.people_shared_with_train
    others = [arch for arch, network in networks.items() if network.file and network.file.other_data]
    seen = {arch: pixels_of(network.file.card) for arch, network in networks.items() if network.file}
    sentences = {
        f"{', '.join(others)}: trained on other shards than these (--allow-other-data). Whether these cells or their "
        "people were among its training cells is unknown.": bool(others),
        "These are the cells that the networks were trained on: the scores say how well they are remembered.": (
            name == "train"
        ),
        f"{shared} of the {data.people} people in {name} are in train too: the scores say nothing about people never "
        "seen.": bool(shared) and name != "train",
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


def pixels_of(card: dict[str, Any]) -> str:
    """A card's recipe in words, as "112 px, crop native of 288 px, stain none"."""
    recipe = card["recipe"]
    window = f" of {recipe['window']} px" if recipe["crop"] == "native" else ""
    return f"{recipe['size']} px, crop {recipe['crop']}{window}, stain {recipe['stain']}"


def read_history(path: Path) -> tuple[EpochAccuracy, ...]:
    """Accuracy per epoch from a training's ``history.csv``; raises ``UserError`` for a file that is none."""
    try:
        with path.open(newline="", encoding="utf-8") as file:
            rows = tuple(
                EpochAccuracy(int(row["epoch"]), float(row["train_accuracy"]), float(row["valid_accuracy"]))
                for row in csv.DictReader(file)
            )
    except (KeyError, TypeError, ValueError, OSError):
        rows = ()
    if not rows or not all(np.isfinite((row.train, row.valid)).all() for row in rows):
        raise UserError(f"{path}: not a history of training (epoch, train_accuracy, valid_accuracy)")
    return rows


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
