"""`python evaluate/run.py`: predict with every exported network, score, draw, and write one folder with one page."""

from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Literal

from contract.errors import UserError
from contract.files import read_bytes
from contract.publish import publish_bytes, publish_together, remove
from evaluate.answer_files import check_orders, check_writable, csv_files
from evaluate.columns import Columns, Opening, open_columns, picture_of, predict_columns, score_columns
from evaluate.gallery import confident_errors, split_picture
from evaluate.metrics import confusion
from evaluate.mistakes import draw_mistakes
from evaluate.pictures import draw_pictures
from evaluate.predictions import Predictions, read_predictions
from evaluate.record_check import check_record
from evaluate.rendering import png_bytes
from evaluate.report_page import PAGE, render_page
from evaluate.report_record import AGAIN, METRICS, ReportRecord, load_record
from evaluate.scoring import build_record, learned_valid
from evaluate.shard_folders import open_folders
from evaluate.sheets import redraw_sheets
from evaluate.split_prediction import SplitPrediction


@dataclass(frozen=True)
class Report:
    """Evaluate every exported network: scores, pictures and a page of a labelled split, CSVs of the unlabelled ones."""

    shards: tuple[Path, ...] = (Path("shards"),)  # folder of the shards; one more for each further recipe of a network
    artifacts: Path = Path("artifacts")  # folder of the exported networks; the report goes to ARTIFACTS/report/
    split: str = "valid"  # labelled split to score
    device: Literal["auto", "cpu", "cuda"] = "auto"  # auto says which provider it took
    workers: int = 0  # onnxruntime threads; 0: one a core
    orientations: Literal[1, 8] = 1  # 8: every cell from its eight sides, mean logits; 8 times as long
    baseline: bool = True  # beside the networks where it was trained (python -m train baseline)
    allow_other_data: bool = False  # go on where a network was trained on other shards; the page says so


@dataclass(frozen=True)
class Page:
    """Draw the pictures and the page again from the report's own files, without a network.

    Contact sheets (mistakes_*.png) hold more cells than those files keep: they are drawn again where --shards names the
    shards that the report is of, by the networks that it is of, and stay as they are without it.
    """

    artifacts: Path = Path("artifacts")  # folder whose report/ is read and written
    shards: tuple[Path, ...] = ()  # those that the report is of: contact sheets too are drawn again
    device: Literal["auto", "cpu", "cuda"] = "auto"  # for contact sheets; auto says which provider it took


def report(command: Report) -> Path:
    """Write the report and return its folder; everything is computed and checked before the first file is written."""
    folders = open_folders(command.shards)
    first, manifest = folders[0], folders[0].manifest
    if not manifest.split(command.split).labelled:
        raise UserError(f"--split {command.split}: its labels are unknown, nothing can be scored on it")
    how = Opening(command.device, command.workers, command.orientations, command.baseline, command.allow_other_data)
    columns = open_columns(command.artifacts, folders, how)
    _refuse_refits(columns, command.split)
    splits = [command.split, *(split.name for split in manifest.splits if not split.labelled)]
    check_orders(first, splits, columns.names)
    folder = command.artifacts / "report"
    check_writable(folder)
    said = {split: predict_columns(columns, split) for split in splits}
    found = {split: columns_said for split, (columns_said, _) in said.items()}
    networks = score_columns(columns, found, command.split, command.artifacts)
    learned = ("train", "valid") if _refits(columns) else ("train",)
    subjects = tuple(subject for split in learned for subject in first.reader(split).subjects)
    record = build_record(
        manifest, command.split, networks, found[command.split], subjects, command.artifacts, command.orientations
    )
    gallery = _gallery(columns, said[command.split][1], record, found[command.split])
    _publish(folder, record, found[command.split], csv_files(manifest, command.split, found) | gallery)
    return folder


def page(command: Page) -> Path:
    """Make the pictures and the page of a report again; returns the page's path.

    Raises ``UserError`` where a file of the report is missing or damaged, or ``--shards`` are not the report's.
    """
    folder = command.artifacts / "report"
    record = load_record(folder)
    check_record(record, folder / METRICS)
    split = record.dataset.split
    found = {
        name: _kept_predictions(folder / f"predictions_{split}_{name}.csv", record, name) for name in record.networks
    }
    pictures = {e.picture for network in record.networks.values() for e in network.errors}
    gallery = {picture: _kept_picture(folder, picture) for picture in sorted(pictures)}
    sheets: dict[str, bytes] = {}
    if command.shards:  # first: what is not the report's is told at once
        sheets = redraw_sheets(record, found, command.artifacts, command.shards, command.device)
    drawn, html = _draw(record, found, gallery)
    for name, data in (drawn | sheets | {PAGE: html}).items():
        publish_bytes(folder / name, data)
    if not command.shards and any(name.startswith("mistakes_") for name in record.files):
        print("note: contact sheets (mistakes_*.png) stay as they are: --shards FOLDER draws them again")
    print(folder / PAGE)
    return folder / PAGE


def _kept_predictions(path: Path, record: ReportRecord, name: str) -> Predictions:
    found = read_predictions(path)
    if len(found.cells.keys) != record.dataset.n or None in found.cells.labels:
        raise UserError(f"{path}: not the {record.dataset.n} labelled cells of {METRICS}: {AGAIN}")
    if confusion(found.labels, found.verdicts) != record.networks[name].confusion:
        raise UserError(f"{path}: its labels and verdicts are not those that {METRICS} counts: {AGAIN}")
    return found


def _kept_picture(folder: Path, name: str) -> bytes:
    """Plain names only: a damaged or foreign metrics.json must not name files elsewhere."""
    if Path(name).name != name:
        raise UserError(f"{folder / METRICS}: {name!r} is not a file beside it: {AGAIN}")
    data = read_bytes(folder / name, AGAIN)
    try:
        split_picture(data)
    except ValueError as error:
        raise UserError(f"{folder / name}: {error}: {AGAIN}") from None
    return data


def _refits(columns: Columns) -> list[str]:
    source = columns.folders[0].manifest.source_digest
    return [name for name, predictor in columns.networks.items() if learned_valid(predictor.card.training, source)]


def _refuse_refits(columns: Columns, split: str) -> None:
    """A network that learned valid too has no score on the cells of its own data."""
    if split in ("train", "valid"):
        for name in _refits(columns):
            raise UserError(
                f"{columns.networks[name].path}: {name} learned valid too (train --refit): its score on {split} would "
                "only say how well cells are remembered; for its submissions: python -m evaluate answers"
            )


def _gallery(
    columns: Columns, spoken: dict[str, SplitPrediction], record: ReportRecord, found: dict[str, Predictions]
) -> dict[str, bytes]:
    """The pictures of the single errors and the contact sheets of each person's, by file name."""
    split = record.dataset.split
    files: dict[str, bytes] = {}
    for name, said in found.items():
        picture = partial(picture_of, columns, spoken, name, split)
        files |= {error.picture: picture(i) for i, error in confident_errors(said, name)}
        sheet = draw_mistakes(name, said, split, record.dataset.classes, picture)
        if sheet is not None:
            files[f"mistakes_{name}.png"] = png_bytes(sheet)
    return files


def _draw(
    record: ReportRecord, found: dict[str, Predictions], gallery: dict[str, bytes]
) -> tuple[dict[str, bytes], bytes]:
    """The pictures' files by name, and the page."""
    pictures = draw_pictures(record, found, gallery)
    files = {name: data for picture in pictures for name, data in picture.files.items()}
    return files, render_page(record, {p.name: p.inline for p in pictures}, gallery).encode()


def _publish(folder: Path, record: ReportRecord, found: dict[str, Predictions], files: dict[str, bytes]) -> None:
    """Write every file by rename, metrics.json last of all, and remove what only an older report had."""
    drawn, html = _draw(record, found, {name: data for name, data in files.items() if name.startswith("gallery_")})
    record = replace(record, files=tuple(sorted([*files, *drawn, PAGE])))
    old = _older_files(folder)
    publish_together(folder, files | drawn | {PAGE: html, METRICS: record.to_json().encode()}, METRICS)
    for name in old - set(record.files):
        remove(folder / name)


def _older_files(folder: Path) -> set[str]:
    """Plain names only: a damaged or foreign metrics.json must not name files elsewhere."""
    try:
        return {name for name in load_record(folder).files if Path(name).name == name}
    except UserError:
        return set()
