"""The contact sheets of a finished report drawn again: they need its shards and its networks, for a few cells alone."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

from contract.baseline import NAME as BASELINE
from contract.errors import UserError
from evaluate.columns import Columns, Opening, open_columns, picture_of
from evaluate.mistakes import draw_mistakes, worst_people
from evaluate.orientations import look_of
from evaluate.predictions import Cells, Predictions
from evaluate.rendering import png_bytes
from evaluate.report_record import AGAIN, ReportRecord
from evaluate.shard_folders import open_folders, positions_of
from evaluate.split_prediction import SplitPrediction, predict_split


def redraw_sheets(
    record: ReportRecord, found: dict[str, Predictions], artifacts: Path, shards: tuple[Path, ...], device: str
) -> dict[str, bytes]:
    """``mistakes_<name>.png`` of every column, by file name; ``found`` is what the report's columns said.

    Verdicts and probabilities are the report's; the networks see the shown cells again, for their maps. Raises
    ``UserError`` where shards or networks are not those of the report.
    """
    columns = _columns(record, artifacts, shards, device)
    split, cells = record.dataset.split, columns.folders[0].cells(record.dataset.split)
    for name, said in found.items():
        if said.cells != cells:
            raise UserError(f"predictions_{split}_{name}.csv: does not list the cells of {shards[0]}: {AGAIN}")
    shown = sorted({i for said in found.values() for person in worst_people(said) for i in person.shown})
    if not shown:
        return {}
    spoken, place = _look_again(columns, split, cells, shown), {i: rank for rank, i in enumerate(shown)}
    files = {}
    for name, said in found.items():
        look = partial(picture_of, columns, spoken, name, split)
        sheet = draw_mistakes(name, said, split, record.dataset.classes, _of_shown(look, place))
        if sheet is not None:
            files[f"mistakes_{name}.png"] = png_bytes(sheet)
    return files


def _of_shown(look: Callable[[int], bytes], place: dict[int, int]) -> Callable[[int], bytes]:
    """The picture of a cell by its place in the split, from the place that it has among those shown."""
    return lambda i: look(place[i])


def _columns(record: ReportRecord, artifacts: Path, shards: tuple[Path, ...], device: str) -> Columns:
    folders = open_folders(shards)
    if folders[0].manifest.digest != record.dataset.manifest_digest:
        raise UserError(f"--shards {shards[0]}: not the shards that the report is of (manifest digests differ)")
    other_data = any(network.file and network.file.other_data for network in record.networks.values())
    how = Opening(device, 0, record.orientations, BASELINE in record.networks, other_data)
    columns = open_columns(artifacts, folders, how)
    if set(columns.names) != set(record.networks):
        here, there = ", ".join(columns.names), ", ".join(record.networks)
        raise UserError(f"{artifacts}: holds {here}, the report is of {there}: {AGAIN}")
    for name, predictor in columns.networks.items():
        file = record.networks[name].file
        if file is None or file.sha256 != predictor.sha256:
            raise UserError(f"{predictor.path}: not the file that the report is of: {AGAIN}")
    return columns


def _look_again(columns: Columns, split: str, cells: Cells, shown: list[int]) -> dict[str, SplitPrediction]:
    """What every network says of the cells at ``shown`` alone."""
    spoken = {}
    for name, predictor in columns.networks.items():
        shards = columns.shards[name]
        positions = positions_of(cells, shards.cells(split), str(shards.path))
        chosen, look = [positions[i] for i in shown], look_of(predictor, columns.orientations)
        spoken[name] = predict_split(look, shards.reader(split), cells.at(shown), chosen, f"{name} {split}")
    return spoken
