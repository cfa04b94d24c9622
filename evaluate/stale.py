"""Whether a report still speaks of the networks that lie there and their trainings, and a submission of the report."""

import hashlib
from pathlib import Path

from contract.errors import UserError
from contract.files import read_bytes
from evaluate.answer_tables import submission
from evaluate.history import read_history
from evaluate.predictions import Predictions, read_predictions
from evaluate.report_record import AGAIN, METRICS, ReportRecord
from evaluate.submission import submission_name


def check_history(record: ReportRecord, artifacts: Path) -> None:
    """Raise ``UserError`` where a network was trained on after ``metrics.json`` was written."""
    for arch, epochs in record.history.items():
        path = artifacts / arch / "history.csv"
        if path.is_file() and read_history(path) != epochs:
            raise UserError(f"{path}: not what {METRICS} tells of {arch}: {AGAIN}")


def check_networks(record: ReportRecord, artifacts: Path, may_lack: bool = False) -> None:
    """Raise ``UserError`` where an exported file is another than the report is of, or, unless it may, is not there."""
    for name, network in record.networks.items():
        if network.file is None:
            continue
        if network.file.path != f"{name}/model.onnx":  # a foreign metrics.json must not name files elsewhere
            raise UserError(f"{METRICS}: networks.{name}.file.path must be {name}/model.onnx: {AGAIN}")
        path = artifacts / network.file.path
        if may_lack and not path.is_file():
            continue
        if hashlib.sha256(read_bytes(path, AGAIN)).hexdigest() != network.file.sha256:
            raise UserError(f"{path}: not the file that the report is of: {AGAIN}")


def submitted(report: Path, split: str, name: str) -> Predictions:
    """What a column says of an unlabelled split; raises ``UserError`` where its submission does not say the same."""
    found = read_predictions(report / f"predictions_{split}_{name}.csv")
    path = report / submission_name(split, name)
    if read_bytes(path, AGAIN) != submission(found):
        raise UserError(f"{path}: does not say what the predictions do: {AGAIN}")
    return found
