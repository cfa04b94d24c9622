"""`python -m evaluate publish`: the files of docs/results/course/, from a finished report and nothing else.

Everything is read and checked before the first file is written; all are written beside their places, then renamed.
"""

import re
from dataclasses import dataclass
from pathlib import Path

from contract.baseline import CARD
from contract.baseline import NAME as BASELINE
from contract.errors import UserError
from contract.files import read_bytes
from contract.publish import publish_together, remove
from evaluate.answer_tables import HEADER, published
from evaluate.record_check import check_record
from evaluate.report_record import AGAIN, ARCHS, ENSEMBLE, METRICS, ReportRecord, load_record
from evaluate.stale import check_history, check_networks, submitted
from evaluate.stand_ins import COUNTERPART, REFIT, UNSEEN, stand_ins

WANTED = (*ARCHS, ENSEMBLE, BASELINE)
KINDS = ("submission", "predictions", "history", "confusion")
PARTS = (REFIT, COUNTERPART, UNSEEN)
OURS = re.compile(rf"({'|'.join(KINDS)})_({'|'.join(WANTED)})(_({'|'.join(PARTS)}))?\.(csv|png)")
OF_A_SPLIT = re.compile(rf".+_({'|'.join(WANTED)})\.csv")  # "external_resnet18.csv", where its header is HEADER


@dataclass(frozen=True)
class Publish:
    """Copy a finished report's submissions, predictions, histories and figures to a folder that git keeps."""

    artifacts: Path = Path("artifacts")  # folder of the networks and their report
    out: Path = Path("docs/results/course")  # folder to write
    refit: Path | None = None  # folder of refits: their answers (python -m evaluate answers) stand in for the report's
    unseen: Path | None = None  # folder of networks for people never seen: theirs do so for every split but test
    incomplete: bool = False  # also where a network, the ensemble or the baseline is missing


def publish(command: Publish) -> Path:
    """Write the files, remove those of columns that are no longer there, and return the folder.

    Raises ``UserError`` where the report is damaged or not of the networks that lie there now, something is missing,
    or the answers that stand in do not fit the report.
    """
    report = command.artifacts / "report"
    record = load_record(report)
    check_record(record, report / METRICS)
    missing = [name for name in WANTED if name not in record.networks]
    if missing and not command.incomplete:
        raise UserError(
            f"{report}: has no {', '.join(missing)}: nothing was written (train, export and evaluate, or --incomplete)"
        )
    _refuse_shared_names(record, report)
    _refuse_stale(record, command.artifacts)
    files = _figures(record, report) | _histories(record, command.artifacts)
    for name in record.networks:
        files |= _answers(record, report, name)
    files |= stand_ins(record, report, command.refit, command.unseen)
    _swap(files, command.out)
    print(f"{command.out}: {len(files)} files; {record.dataset.name}, split by {record.dataset.split_by}")
    return command.out


def _refuse_shared_names(record: ReportRecord, report: Path) -> None:
    """A split's files are called by its name, so one called "history" would lose those of another kind."""
    shared = sorted({split for network in record.networks.values() for split in network.unlabelled} & {*KINDS})
    if shared:
        raise UserError(
            f"{report}: its split {shared[0]!r} is called as files of another kind are: nothing was written"
        )


def _refuse_stale(record: ReportRecord, artifacts: Path) -> None:
    """The report speaks of the very files that lie there."""
    check_history(record, artifacts)
    check_networks(record, artifacts)
    for network in record.networks.values():
        if network.baseline is not None:
            path = artifacts / BASELINE / CARD
            if read_bytes(path, AGAIN).decode(errors="replace") != network.baseline.to_json():
                raise UserError(f"{path}: not what the report is of: {AGAIN}")
    without = [arch for arch in ARCHS if arch in record.networks and arch not in record.history]
    if without:
        raise UserError(f"{artifacts / without[0] / 'history.csv'}: was not there when the report was made: {AGAIN}")


def _figures(record: ReportRecord, report: Path) -> dict[str, bytes]:
    names = ["accuracy.png", *(f"confusion_{name}.png" for name in record.networks)]
    return {name: read_bytes(report / name, AGAIN) for name in names}


def _histories(record: ReportRecord, artifacts: Path) -> dict[str, bytes]:
    return {f"history_{arch}.csv": read_bytes(artifacts / arch / "history.csv", AGAIN) for arch in record.history}


def _answers(record: ReportRecord, report: Path, name: str) -> dict[str, bytes]:
    """Of every unlabelled split: ``predictions_NAME.csv`` of test, ``<split>_NAME.csv`` of any other."""
    files: dict[str, bytes] = {}
    for split in record.networks[name].unlabelled:
        files |= published(split, name, submitted(report, split, name))
    return files


def _swap(files: dict[str, bytes], out: Path) -> None:
    """Write all files, then remove what an older report had, of columns and of splits that this one has not."""
    publish_together(out, files)
    for path in [path for path in out.iterdir() if path.name not in files and _is_ours(path)]:
        remove(path)


def _is_ours(path: Path) -> bool:
    """By its name; of a split, which may have any name, by its header too."""
    if OURS.fullmatch(path.name):
        return True
    begin = ",".join(HEADER).encode() + b"\n"
    return bool(OF_A_SPLIT.fullmatch(path.name)) and path.is_file() and read_bytes(path).startswith(begin)
