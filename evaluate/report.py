"""`python evaluate/run.py`: predict with every exported network, score, draw, and write one folder with one page."""

import tempfile
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Literal

from contract.errors import UserError
from contract.manifest import Manifest, load_manifest
from contract.publish import publish_bytes
from contract.shard_reader import SplitReader
from evaluate.ensemble import average, ensemble_threshold
from evaluate.gallery import confident_errors, error_picture, evidence_map
from evaluate.pictures import draw_pictures
from evaluate.predictions import Predictions, read_cells, read_predictions
from evaluate.predictor import Predictor, find_networks
from evaluate.report_page import PAGE, render_page
from evaluate.report_record import ARCHS, ENSEMBLE, METRICS, ModelFile, Network, ReportRecord, load_record
from evaluate.scoring import build_record, score_network
from evaluate.split_prediction import SplitPrediction, predict_split
from evaluate.submission import check_wanted, plain, submission_name, submission_text, wanted_order

Found = dict[str, dict[str, SplitPrediction]]  # by split, by network


@dataclass(frozen=True)
class Report:
    """Evaluate every exported network: scores, pictures and a page of a labelled split, CSVs of the unlabelled ones."""

    shards: Path = Path("shards")  # folder of the shards
    artifacts: Path = Path("artifacts")  # folder of the exported networks; the report goes to ARTIFACTS/report/
    split: str = "valid"  # labelled split to score
    device: Literal["auto", "cpu", "cuda"] = "auto"  # auto says which provider it took
    workers: int = 0  # onnxruntime threads; 0: one a core
    allow_other_data: bool = False  # go on where a network was trained on other shards; the page says so


@dataclass(frozen=True)
class Page:
    """Draw the pictures and the page again from the report's own files, without a network."""

    artifacts: Path = Path("artifacts")  # folder whose report/ is read and written


def report(command: Report) -> Path:
    """Write the report and return its folder; everything is computed and checked before the first file is written."""
    manifest = load_manifest(command.shards)
    if not manifest.split(command.split).labelled:
        raise UserError(f"--split {command.split}: its labels are unknown, nothing can be scored on it")
    predictors = _load(command, manifest)
    splits = [command.split, *(split.name for split in manifest.splits if not split.labelled)]
    readers = {split: SplitReader(command.shards, manifest, split) for split in splits}
    _check_orders(manifest, readers, list(predictors))
    folder = command.artifacts / "report"
    _check_writable(folder)
    found = _predict(predictors, readers, manifest)
    columns = {split: _with_ensemble(said, predictors) for split, said in found.items()}
    record = _record(command, manifest, predictors, columns, SplitReader(command.shards, manifest, "train").subjects)
    files = _csvs(manifest, command.split, columns) | _gallery(
        readers[command.split], found[command.split], record, columns
    )
    _publish(folder, record, columns[command.split], files)
    return folder


def page(command: Page) -> Path:
    """Make the pictures and the page of a report again; returns the page's path."""
    folder = command.artifacts / "report"
    record = load_record(folder)
    split = record.dataset.split
    found = {name: read_predictions(folder / f"predictions_{split}_{name}.csv") for name in record.networks}
    gallery = {e.picture: _read(folder / e.picture) for network in record.networks.values() for e in network.errors}
    drawn, html = _draw(record, found, gallery)
    for name, data in (drawn | {PAGE: html}).items():
        publish_bytes(folder / name, data)
    print(folder / PAGE)
    return folder / PAGE


def _load(command: Report, manifest: Manifest) -> dict[str, Predictor]:
    predictors = {}
    for arch, path in find_networks(command.artifacts, ARCHS).items():
        predictors[arch] = Predictor(path, command.device, command.workers)
        _check_fit(predictors[arch], arch, manifest, command)
    return predictors


def _check_fit(predictor: Predictor, arch: str, manifest: Manifest, command: Report) -> None:
    """A network judged on pixels made by another recipe, or on its own training cells, would mislead."""
    card = predictor.card
    if card.arch != arch:
        raise UserError(f"{predictor.path}: its card says {card.arch}: it lies in the folder of another network")
    if card.classes != manifest.classes:
        raise UserError(f"{predictor.path}: tells {card.classes} apart, the shards hold {manifest.classes}")
    if card.recipe.size != manifest.recipe.size:
        raise UserError(f"{predictor.path}: takes {card.recipe.size} px, the shards hold {manifest.recipe.size} px")
    if card.manifest_digest != manifest.digest and not command.allow_other_data:
        raise UserError(
            f"{predictor.path}: was trained on other shards than {command.shards} (manifest digests differ); "
            "--allow-other-data goes on, and the page says so"
        )


def _check_orders(manifest: Manifest, readers: dict[str, SplitReader], archs: list[str]) -> None:
    """Every test CSV can be answered: said before minutes of prediction, not after."""
    for split, reader in readers.items():
        if not reader.split.labelled:
            ids = read_cells(reader, manifest).ids
            for name in _columns(archs):
                check_wanted(wanted_order(manifest, split, name), ids)


def _columns(archs: list[str]) -> list[str]:
    return [*archs, ENSEMBLE] if len(archs) > 1 else archs


def _check_writable(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()
    except OSError as error:
        raise UserError(f"{folder}: cannot be written: {error.strerror}") from None


def _predict(predictors: dict[str, Predictor], readers: dict[str, SplitReader], manifest: Manifest) -> Found:
    found: Found = {}
    for split, reader in readers.items():
        cells = read_cells(reader, manifest)
        found[split] = {n: predict_split(p, reader, cells, f"{n} {split}") for n, p in predictors.items()}
    return found


def _with_ensemble(said: dict[str, SplitPrediction], predictors: dict[str, Predictor]) -> dict[str, Predictions]:
    columns = {name: prediction.predictions for name, prediction in said.items()}
    if len(columns) > 1:
        threshold = ensemble_threshold([p.card.threshold for p in predictors.values()])
        columns[ENSEMBLE] = average(list(columns.values()), threshold)
    return columns


def _record(
    command: Report,
    manifest: Manifest,
    predictors: dict[str, Predictor],
    columns: dict[str, dict[str, Predictions]],
    train_subjects: tuple[str | None, ...],
) -> ReportRecord:
    networks: dict[str, Network] = {}
    for name, found in columns[command.split].items():
        unlabelled = {split: said[name] for split, said in columns.items() if split != command.split}
        if name == ENSEMBLE:
            threshold = ensemble_threshold([p.card.threshold for p in predictors.values()])
            point, members = "mean of its members' thresholds", tuple(predictors)
            networks[name] = score_network(name, found, unlabelled, threshold, point, members=members)
        else:
            card = predictors[name].card
            file = _model_file(predictors[name], manifest, command.artifacts)
            networks[name] = score_network(
                name, found, unlabelled, card.threshold, card.operating_point, card.temperature, file
            )
    return build_record(manifest, command.split, networks, columns[command.split], train_subjects, command.artifacts)


def _model_file(predictor: Predictor, manifest: Manifest, artifacts: Path) -> ModelFile:
    return ModelFile(
        path=predictor.path.relative_to(artifacts).as_posix(),
        sha256=predictor.sha256,
        bytes=predictor.path.stat().st_size,
        provider=predictor.provider,
        other_data=predictor.card.manifest_digest != manifest.digest,
        card=asdict(predictor.card),
    )


def _csvs(manifest: Manifest, scored: str, columns: dict[str, dict[str, Predictions]]) -> dict[str, bytes]:
    """Predictions of every split, and submissions of the unlabelled ones, by file name."""
    files = {}
    for split, said in columns.items():
        for name, found in said.items():
            ordered = found
            if split != scored:
                wanted = wanted_order(manifest, split, name)
                ordered = found.in_order(wanted.ids)
                verdicts = dict(zip(map(plain, found.cells.ids), found.verdicts.tolist(), strict=True))
                file = submission_name(split, name)
                files[file] = submission_text(wanted, verdicts, file).encode()
            files[f"predictions_{split}_{name}.csv"] = ordered.to_csv().encode()
    return files


def _gallery(
    reader: SplitReader,
    said: dict[str, SplitPrediction],
    record: ReportRecord,
    columns: dict[str, dict[str, Predictions]],
) -> dict[str, bytes]:
    """The pictures of the single errors, by file name."""
    files = {}
    for name, network in record.networks.items():
        members = network.members or (name,)
        temperatures = [record.networks[member].temperature or 1.0 for member in members]
        for i, error in confident_errors(columns[record.dataset.split][name], name):
            evidence = evidence_map([said[m].cam[i] for m in members], temperatures, reader.size)
            files[error.picture] = error_picture(reader.image(i), evidence)
    return files


def _draw(
    record: ReportRecord, found: dict[str, Predictions], gallery: dict[str, bytes]
) -> tuple[dict[str, bytes], bytes]:
    """The pictures' files by name, and the page."""
    pictures = draw_pictures(record, found, gallery)
    files = {name: data for picture in pictures for name, data in picture.files.items()}
    return files, render_page(record, {p.name: p.inline for p in pictures}, gallery).encode()


def _publish(folder: Path, record: ReportRecord, found: dict[str, Predictions], files: dict[str, bytes]) -> None:
    """Write every file by rename, metrics.json and the page last, and remove what only an older report had."""
    drawn, html = _draw(record, found, {name: data for name, data in files.items() if name.startswith("gallery_")})
    record = replace(record, files=tuple(sorted([*files, *drawn, PAGE])))
    old = _older_files(folder)
    for name, data in (files | drawn | {METRICS: record.to_json().encode(), PAGE: html}).items():
        publish_bytes(folder / name, data)
    for name in old - set(record.files):
        (folder / name).unlink(missing_ok=True)


def _older_files(folder: Path) -> set[str]:
    """Plain names only: a damaged or foreign metrics.json must not name files elsewhere."""
    try:
        return {name for name in load_record(folder).files if Path(name).name == name}
    except UserError:
        return set()


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}") from None
