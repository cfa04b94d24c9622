"""The classical baseline: sixteen numbers a cell and gradient-boosted trees, trained in seconds on the same shards.

A network that does not clearly beat this on people never seen has learned the people, not the disease. Predictions
are kept and no model: it is made again in seconds by the same command, and a pickle could run anything. Nothing is
tuned: the trees are scikit-learn's defaults (``HistGradientBoostingClassifier``; Ke et al. 2017, LightGBM), the
threshold is 0.5.
"""

import sys
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from importlib.metadata import version
from pathlib import Path

import numpy as np
import tyro
from numpy.typing import NDArray
from sklearn.ensemble import HistGradientBoostingClassifier
from tqdm import tqdm

from contract.baseline import CARD, FORMAT, NAME, BaselineCard, predictions_name
from contract.bootstrap import RESAMPLES
from contract.errors import UserError
from contract.manifest import Manifest, load_manifest
from contract.publish import publish_text, remove, text_sha256
from contract.record import to_json
from contract.seed import check_seed
from contract.shard_reader import SplitReader
from train.baseline_scores import THRESHOLD, Scored, Scores, in_words, score
from train.features import FEATURES, measure

PACKAGES = ("scikit-learn", "scikit-image", "opencv-python", "numpy")


@dataclass(frozen=True)
class Config:
    """Train the classical baseline on shards and score it on valid; all files go to ARTIFACTS/baseline/.

    With several folders of shards, the folds of one dataset (build_shards --folds K --fold k), one model is trained a
    fold and the scores are those of all held-out cells together; unlabelled splits are predicted from one folder only.
    """

    shards: tuple[Path, ...] = (Path("shards"),)  # folder of the shards, or one a fold
    artifacts: Path = Path("artifacts")  # folder to write
    seed: int = 0  # of the trees, which draw only above 10,000 cells; intervals are drawn as in reports
    resamples: int = RESAMPLES  # of people, for the intervals


@dataclass(frozen=True)
class Record:
    """``metrics.json``."""

    dataset: str
    split_by: str
    folds: tuple[int, ...]  # held out, in the order of the folders; (0,) without folds
    manifests: tuple[str, ...]  # digests
    features: tuple[str, ...]
    seed: int
    trained_on: tuple[int, ...]  # cells, one a folder
    scores: Scores  # of valid, over all folders
    versions: dict[str, str]


@dataclass
class Measurer:
    """Features of whole splits; an image that several folds hold is measured once."""

    known: dict[tuple[str, str], NDArray[np.float64]] = field(default_factory=dict)

    def measure(self, reader: SplitReader) -> NDArray[np.float64]:
        """Float64 ``[n, 16]`` of a split, in its order; raises ``UserError`` for an image of background alone."""
        recipe = reader.recipe.to_json()
        rows = []
        for position in tqdm(range(len(reader)), unit="cell", desc=reader.what, disable=None):
            key = (recipe, str(reader.info(position).get("sha256")))
            if key not in self.known:
                try:
                    self.known[key] = measure(reader.image(position))
                except ValueError as error:
                    raise UserError(f"{reader.samples[position].key}: {error}") from None
            rows.append(self.known[key])
        return np.array(rows)


def main() -> None:
    """Read the command line after the word ``baseline`` and run."""
    config = tyro.cli(Config, prog="python -m train baseline", description=Config.__doc__, args=sys.argv[2:])
    began = time.perf_counter()
    record = run(config)
    for line in summary(record):
        print(line)
    print(f"{config.artifacts / NAME / 'metrics.json'}  ({time.perf_counter() - began:.0f} s)")


def run(config: Config) -> Record:
    """Train, score and write ``metrics.json``, ``predictions_<split>.csv`` and ``card.json``; a report submits.

    Raises ``UserError`` for no folder, and for shards without labels or of different datasets.
    """
    check_seed(config.seed)
    if config.resamples < 100:
        raise UserError(f"--resamples {config.resamples}: must be at least 100")
    if not config.shards:
        raise UserError("--shards: name at least one folder of shards")
    manifests = [load_manifest(folder) for folder in config.shards]
    _refuse_strangers(config, manifests)
    measurer, scored, trained, model = Measurer(), [], [], None
    for folder, manifest in zip(config.shards, manifests, strict=True):
        model, cells = _fit(folder, manifest, config.seed, measurer)
        trained.append(cells)
        scored.append(_predict(_labelled(folder, manifest, "valid"), manifest, model, measurer))
    together = Scored.joined(scored, [manifest.fold for manifest in manifests])
    _refuse_twice(together.ids)
    record = Record(
        dataset=manifests[0].dataset,
        split_by=manifests[0].split_by,
        folds=tuple(manifest.fold for manifest in manifests),
        manifests=tuple(manifest.digest for manifest in manifests),
        features=FEATURES,
        seed=config.seed,
        trained_on=tuple(trained),
        scores=score(together, config.resamples),
        versions={package: version(package) for package in PACKAGES},
    )
    splits = {"valid": together}
    if len(manifests) == 1 and model is not None:
        splits |= _predict_others(config.shards[0], manifests[0], model, measurer)
    _publish(config.artifacts / NAME, record, manifests[0], splits)
    return record


def _publish(out: Path, record: Record, manifest: Manifest, splits: dict[str, Scored]) -> None:
    """Write every file by rename, the card last; what only an older run had goes."""
    texts = {predictions_name(split): cells.to_csv() for split, cells in splits.items()}
    card = BaselineCard(
        format=FORMAT,
        dataset=record.dataset,
        classes=manifest.classes,
        manifests=record.manifests,
        model=f"{len(record.features)} numbers a cell, HistGradientBoostingClassifier with scikit-learn's defaults",
        features=record.features,
        seed=record.seed,
        threshold=THRESHOLD,
        trained_on=record.trained_on,
        versions=record.versions,
        files={split: text_sha256(texts[predictions_name(split)]) for split in splits},
    )
    written = texts | {"metrics.json": to_json(record), CARD: card.to_json()}
    for name, text in written.items():
        publish_text(out / name, text)
    for old in (*out.glob("predictions_*.csv"), *out.glob("submission_*.csv")):
        if old.name not in written:
            remove(old)


def summary(record: Record) -> list[str]:
    """What a person reads first."""
    who = "people" if record.split_by == "identity" else "subject ids"
    head = f"{record.dataset}, split by {record.split_by}: baseline on valid, n = {record.scores.n}"
    return [head, *in_words(record.scores, who)]


def _refuse_strangers(config: Config, manifests: Sequence[Manifest]) -> None:
    """Several folders are different folds of one split of one dataset under one recipe; else cells would come twice."""
    first = manifests[0]
    for folder, manifest in zip(config.shards[1:], manifests[1:], strict=True):
        same = all(getattr(manifest, name) == getattr(first, name) for name in ("dataset", "split_by", "folds"))
        recipes = [replace(m.recipe, target=()) for m in (first, manifest)]  # every fold fits the stain's target anew
        if not same or not manifest.folds or recipes[0] != recipes[1]:
            raise UserError(
                f"{folder}: not another fold of {config.shards[0]}: build both with the same --folds, --seed and recipe"
            )
    folds = [manifest.fold for manifest in manifests]
    if len(set(folds)) < len(folds):
        raise UserError(f"--shards: the folds {', '.join(map(str, folds))} are not different ones")


def _refuse_twice(ids: Sequence[str]) -> None:
    """No manifest tells the seed that dealt the folds, but of another one they hold out some cells twice."""
    twice = next((i for i, n in Counter(ids).items() if n > 1), None)
    if twice is not None:
        raise UserError(f"--shards: two folds hold out {twice}: build all of them with the same --seed and people")


def _fit(folder: Path, manifest: Manifest, seed: int, measurer: Measurer) -> tuple[HistGradientBoostingClassifier, int]:
    reader = _labelled(folder, manifest, "train")
    if len(set(reader.labels.tolist())) < 2:
        raise UserError(f"{folder}: the split 'train' has one class only: there is nothing to tell apart")
    model = HistGradientBoostingClassifier(random_state=seed)
    return model.fit(measurer.measure(reader), reader.labels), len(reader)


def _predict(
    reader: SplitReader, manifest: Manifest, model: HistGradientBoostingClassifier, measurer: Measurer
) -> Scored:
    probability = model.predict_proba(measurer.measure(reader))[:, 1]
    return Scored(
        ids=tuple(str(reader.info(position).get("source")) for position in range(len(reader))),
        keys=tuple(sample.key for sample in reader.samples),
        subjects=reader.subjects,
        identities=tuple(manifest.identity(subject) for subject in reader.subjects),
        labels=reader.labels,
        probability=probability.astype(np.float32).astype(np.float64),
    )


def _predict_others(
    folder: Path, manifest: Manifest, model: HistGradientBoostingClassifier, measurer: Measurer
) -> dict[str, Scored]:
    """Every split but valid, by name."""
    names = [split.name for split in manifest.splits if split.name != "valid"]
    return {name: _predict(SplitReader(folder, manifest, name), manifest, model, measurer) for name in names}


def _labelled(folder: Path, manifest: Manifest, split: str) -> SplitReader:
    if not manifest.split(split).labelled:
        raise UserError(f"{folder}: the split {split!r} has no labels")
    if not manifest.split(split).samples:
        raise UserError(f"{folder}: the split {split!r} is empty: all its cells were left out: build the shards anew")
    return SplitReader(folder, manifest, split)
