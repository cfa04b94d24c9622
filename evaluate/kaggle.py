"""`python -m evaluate submit`: hand a checked submission to Kaggle's own command line.

Its options and credentials are those of the `kaggle` package, https://github.com/Kaggle/kaggle-cli/tree/main/docs.
"""

import csv
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from contract.baseline import NAME as BASELINE
from contract.errors import UserError
from contract.files import read_text
from contract.manifest import load_manifest
from contract.publish import text_sha256
from evaluate.answers import AGAIN, FOLDER, answered, load_answers
from evaluate.report_record import ENSEMBLE, load_record
from evaluate.stale import check_networks, submitted
from evaluate.submission import check_submission, submission_name, wanted_order

GET_TOKEN = (
    "make a token at https://www.kaggle.com/settings/api (Generate New Token), then run `kaggle auth login`, or "
    "export KAGGLE_API_TOKEN=..., or save it as ~/.kaggle/access_token"
)
NO_UPLOAD = "Could not submit"  # older versions of the command say so and still exit 0


@dataclass(frozen=True)
class Submit:
    """Check a submission once more, show what will be sent, and hand it to the `kaggle` command line."""

    arch: Literal["resnet18", "resnet50", "resnet152", "baseline", "ensemble"]  # whose submission
    competition: str  # the board's name: the last part of its address
    message: str  # what the board shows beside the score
    shards: Path = Path("shards")  # folder of the shards, whose manifest keeps the test CSVs
    artifacts: Path = Path("artifacts")  # folder whose report/ holds the submissions
    answers: bool = False  # that of ARTIFACTS/answers/ (python -m evaluate answers) and not the report's
    split: str = "test"  # unlabelled split that the board scores
    csv: Path | None = None  # check against this test CSV instead of the one that the shards were built with
    dry_run: bool = False  # show what would be sent, and send nothing


def submit(command: Submit) -> None:
    """Send ``submission_<arch>.csv``; raises ``UserError`` where it does not fit its test CSV or Kaggle refuses it."""
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9-]*", command.competition):
        raise UserError(f"--competition {command.competition!r}: not a board's name: letters, digits and hyphens")
    folder, first = (FOLDER, AGAIN) if command.answers else ("report", "make the report first (python evaluate/run.py)")
    path = command.artifacts / folder / submission_name(command.split, command.arch)
    text = read_text(path, first)
    ids, ordered = _wanted(command)
    labels = check_submission(text, ids, str(path), ordered)
    rows = sum(labels.values())
    print(f"competition  {command.competition}\nmessage      {command.message}\nfile         {path}")
    print(f"rows         {rows}: {labels['1']} of label 1, {labels['0']} of label 0; sha256 {text_sha256(text)}")
    print(f"network      {_describe_answer(command, path) if command.answers else _describe(command)}", flush=True)
    if command.dry_run:
        print("dry run: nothing was sent")
        return
    _hand_over(command, path)


def has_credentials(environment: dict[str, str], home: Path) -> bool:
    """Whether the `kaggle` command would find a token: in the environment, or in one of its files."""
    if environment.get("KAGGLE_API_TOKEN") or (environment.get("KAGGLE_USERNAME") and environment.get("KAGGLE_KEY")):
        return True
    config = Path(environment.get("XDG_CONFIG_HOME") or home / ".config") / "kaggle"
    folders = [Path(environment["KAGGLE_CONFIG_DIR"])] if environment.get("KAGGLE_CONFIG_DIR") else []
    names = ("kaggle.json", "access_token", "access_token.txt", "credentials.json")
    return any((folder / name).is_file() for folder in (*folders, home / ".kaggle", config) for name in names)


def _wanted(command: Submit) -> tuple[tuple[str, ...], bool]:
    """The IDs that the board asks for, and whether the submission must have their order (a board takes any)."""
    if command.csv is None:
        return wanted_order(load_manifest(command.shards), command.split, command.arch).ids, True
    return _ids_of(command.csv), command.arch not in (ENSEMBLE, BASELINE)


def _ids_of(path: Path) -> tuple[str, ...]:
    """The column Path or ID of a test CSV."""
    reader = csv.reader(read_text(path).lstrip("\ufeff").splitlines())
    try:
        rows = [(reader.line_num, row) for row in reader if row]
    except csv.Error as error:
        raise UserError(f"{path}: not a test CSV: {error}") from None
    header = rows[0][1] if rows else []
    if not {"Path", "ID"} & set(header):
        raise UserError(f"{path}: not a test CSV: it has no column Path or ID")
    column = header.index("Path" if "Path" in header else "ID")
    for line, row in rows[1:]:
        if len(row) <= column:
            raise UserError(f"{path}: line {line}: {','.join(row)!r} has no {header[column]}")
    return tuple(row[column] for _, row in rows[1:])


def _describe(command: Submit) -> str:
    """The network of the last report, which must be of what is exported now, and the submission of the report."""
    report = command.artifacts / "report"
    record = load_record(report)
    network = record.networks.get(command.arch)
    if network is None:
        raise UserError(f"--arch {command.arch}: not in the last report: make it anew (python evaluate/run.py)")
    check_networks(record, command.artifacts, may_lack=True)
    submitted(report, command.split, command.arch)
    named = f"{command.arch}, threshold {network.threshold:.3f} ({network.operating_point})"
    if network.baseline is not None:
        return f"{named}, {network.baseline.model}"
    if network.file is None:
        return f"{named}, mean of {', '.join(network.members)}"
    return f"{named}, {network.file.path}, sha256 {network.file.sha256}"


def _describe_answer(command: Submit, path: Path) -> str:
    """The network that answered, from the record beside its CSV, which must list that very file."""
    record = load_answers(command.artifacts)
    answered(command.artifacts, record, path.name)
    network = record.networks.get(command.arch)
    if network is None:
        return f"{command.arch}, mean of {', '.join(record.networks)}"
    named = f"{command.arch}, threshold {network.card['threshold']:.3f} ({network.card['operating_point']})"
    learned = "learned train and valid, " if network.card["training"].get("refit") else ""
    return f"{named}, {learned}{network.path}, sha256 {network.sha256}"


def _hand_over(command: Submit, path: Path) -> None:
    executable = shutil.which("kaggle")
    if executable is None:
        raise UserError(f"kaggle: no such command: `pip install kaggle`, {GET_TOKEN}")
    if not has_credentials(dict(os.environ), Path.home()):
        raise UserError(f"kaggle: no credentials: {GET_TOKEN}")
    options = [f"--competition={command.competition}", f"--file={path}", f"--message={command.message}"]
    done = subprocess.run([executable, "competitions", "submit", *options], capture_output=True, text=True, check=False)
    said = [line for line in (done.stdout + done.stderr).splitlines() if line.strip()]
    if done.returncode or any(NO_UPLOAD in line for line in said):
        raise UserError(f"kaggle: refused (exit status {done.returncode}): {' / '.join(said[-3:]) or 'without a word'}")
    sys.stdout.write(done.stdout)
