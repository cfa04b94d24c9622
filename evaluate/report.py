"""Score every exported network on the shards: metrics.json, confusion matrices, CSVs."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from rich.console import Console
from rich.table import Table
from tqdm import tqdm

from contract.errors import UserError
from contract.manifest import Manifest, load_manifest
from contract.publish import publish_text
from contract.record import from_json, to_json
from contract.shard_reader import SplitReader
from evaluate.figures import draw_confusion
from evaluate.metrics import Metrics, score
from evaluate.predictor import BATCH, Prediction, Predictor, find_networks
from evaluate.submission import plain, wanted_order, write_predictions, write_submission

ARCHS = ("resnet18", "resnet50", "resnet152")
METRICS = "metrics.json"


@dataclass(frozen=True)
class Report:
    """Evaluate every exported network: metrics and confusion matrices on valid, CSVs for the unlabelled splits."""

    shards: Path = Path("shards")  # folder of the shards
    artifacts: Path = Path("artifacts")  # folder of the exported networks; the report goes to ARTIFACTS/report/
    split: str = "valid"  # labelled split to score
    device: Literal["auto", "cpu", "cuda"] = "auto"  # auto says which provider it took
    workers: int = 0  # onnxruntime threads; 0: one a core


@dataclass(frozen=True)
class ReportRecord:
    """``metrics.json``: every number of a report, and what it was computed from."""

    dataset: str
    split: str
    n: int
    subjects: int
    subjects_shared_with_train: int
    metrics: dict[str, Metrics]  # by network
    networks: dict[str, Any]  # by network: sha256 and provider of the ONNX file, and its model card


def load_record(folder: Path) -> ReportRecord:
    """Read a report's ``metrics.json``; raises ``UserError`` where it is missing or is none."""
    path = folder / METRICS
    if not path.is_file():
        raise UserError(f"{path}: no such file: make the report first (python evaluate/run.py)")
    return from_json(ReportRecord, path.read_text(encoding="utf-8"), str(path))


def report(command: Report) -> Path:
    """Score every network, write the report, and return its folder."""
    manifest = load_manifest(command.shards)
    if not manifest.split(command.split).labelled:
        raise UserError(f"--split {command.split}: its labels are unknown, nothing can be scored on it")
    folder = command.artifacts / "report"
    scores: dict[str, Metrics] = {}
    networks: dict[str, Any] = {}
    for arch, path in find_networks(command.artifacts, ARCHS).items():
        predictor = Predictor(path, command.device, command.workers)
        _refuse_other_data(predictor, manifest, command.shards)
        scores[arch] = _score_split(predictor, arch, command, manifest, folder)
        _predict_unlabelled(predictor, arch, command, manifest, folder)
        networks[arch] = {"sha256": predictor.sha256, "provider": predictor.provider, "card": asdict(predictor.card)}
    split = manifest.split(command.split)
    record = ReportRecord(
        dataset=manifest.dataset,
        split=split.name,
        n=split.samples,
        subjects=split.subjects,
        subjects_shared_with_train=split.shared_subjects,
        metrics=scores,
        networks=networks,
    )
    publish_text(folder / METRICS, to_json(record))
    return folder


def _score_split(predictor: Predictor, arch: str, command: Report, manifest: Manifest, folder: Path) -> Metrics:
    reader = SplitReader(command.shards, manifest, command.split)
    labels = np.array([sample.label for sample in reader.samples], np.int64)
    prediction = _predict(predictor, reader, arch)
    metrics = score(labels, prediction.probability, prediction.threshold)
    low, high = metrics.accuracy_interval
    title = (
        f"{arch} on {command.split}, n = {metrics.n}, threshold {prediction.threshold:.3g}\n"
        f"accuracy {metrics.accuracy:.1%} (95 % interval {low:.1%} to {high:.1%})\n{manifest.dataset}"
    )
    draw_confusion(metrics, manifest.classes, title, folder / f"confusion_{arch}.png")
    ids = [plain(reader.info(i)["source"]) for i in range(len(reader))]
    _write_csvs(folder, f"{command.split}_{arch}.csv", ids, ids, prediction)
    return metrics


def _predict_unlabelled(predictor: Predictor, arch: str, command: Report, manifest: Manifest, folder: Path) -> None:
    """For split "test" submission_ARCH.csv and predictions_ARCH.csv; for a further split NAME, NAME_ARCH.csv too."""
    for split in (split.name for split in manifest.splits if not split.labelled):
        order = wanted_order(manifest, split, arch).ids
        reader = SplitReader(command.shards, manifest, split)
        prediction = _predict(predictor, reader, f"{arch} {split}")
        ids = [plain(reader.info(i)["source"]) for i in range(len(reader))]
        predictions = f"predictions_{arch}.csv" if split == "test" else f"{split}_{arch}.csv"
        submission = f"submission_{arch}.csv" if split == "test" else f"{split}_submission_{arch}.csv"
        _write_csvs(folder, predictions, ids, order, prediction)
        write_submission(folder / submission, order, dict(zip(ids, prediction.labels.tolist(), strict=True)))


def _write_csvs(folder: Path, name: str, ids: list[str], order: tuple[str, ...] | list[str], found: Prediction) -> None:
    labels = dict(zip(ids, found.labels.tolist(), strict=True))
    write_predictions(folder / name, order, labels, dict(zip(ids, found.probability.tolist(), strict=True)))


def _predict(predictor: Predictor, reader: SplitReader, name: str) -> Prediction:
    """Predict a whole split in the shards' order, a batch at a time."""
    parts = []
    with tqdm(total=len(reader), unit="cell", desc=name, leave=False, disable=None) as bar:
        for start in range(0, len(reader), BATCH):
            images = np.stack([reader.image(i) for i in range(start, min(start + BATCH, len(reader)))])
            parts.append(predictor.predict(images))
            bar.update(len(images))
    logits, probability, cam = (
        np.concatenate([getattr(p, name) for p in parts]) for name in ("logits", "probability", "cam")
    )
    return Prediction(logits, probability, cam, predictor.card.threshold)


def _refuse_other_data(predictor: Predictor, manifest: Manifest, shards: Path) -> None:
    """A network judged on pixels made by another recipe, or on its own training cells, would mislead."""
    if predictor.card.manifest_digest != manifest.digest:
        raise UserError(f"{predictor.path}: was trained on other shards than {shards} (manifest digests differ)")


def summarise(folder: Path) -> None:
    """Print the table of a finished report, and the paths of its pictures and CSVs."""
    record = load_record(folder)
    table = Table(title=f"{record.dataset}: {record.split}, n = {record.n}", title_justify="left")
    for column in ("network", "accuracy", "95 % interval", "precision", "sens.", "spec.", "F1", "AUROC"):
        table.add_column(column, justify="left" if column == "network" else "right", no_wrap=True)
    for arch, m in record.metrics.items():
        low, high = m.accuracy_interval
        values = [_percent(value) for value in (m.precision, m.sensitivity, m.specificity, m.f1, m.auroc)]
        table.add_row(arch, f"{m.accuracy:.1%}", f"{low:.1%} to {high:.1%}", *values)
    Console(width=max(100, Console().width)).print(table)
    if record.subjects_shared_with_train:
        print(
            f"note: {record.subjects_shared_with_train} of the {record.subjects} people in {record.split} "
            "are in train too: this says nothing about people never seen"
        )
    pictures = sorted((folder.parent / "comparison").glob("*.png"))
    print("\n".join(map(str, [*pictures, *sorted(p for p in folder.iterdir() if not p.name.startswith("."))])))


def _percent(value: float | None) -> str:
    return "undefined" if value is None else f"{value:.1%}"
