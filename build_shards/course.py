"""The course layout: train.csv, valid.csv, one test CSV a network, and any further NAME_test.csv."""

import re
from itertools import pairwise
from pathlib import Path, PurePosixPath

import pandas as pd

from build_shards.archive import NAME as ARCHIVE_NAME
from build_shards.dataset import Cell, Dataset, cell_file, left_by_file_manager, natural
from build_shards.table import read_table
from contract.errors import UserError
from contract.files import read_text
from contract.manifest import Submission
from contract.record import parsed

TEST_CSV = re.compile(r"(?P<name>[A-Za-z0-9_-]+)_test\.csv")
NETWORK_CSV = re.compile(r"resnet_(18|50|152)")
RESERVED = ("train", "valid", "test")  # in any case: to some file systems train-000000.tar is Train-000000.tar
LONGEST_NAME = 80  # characters of a split: with number and extension, members of a tar have up to 100


def read_course(folder: Path) -> Dataset:
    """List the cells of a folder in the course layout.

    Raises ``UserError`` for a CSV that is missing, empty or without its columns, a label other than 0 and 1,
    a path twice, in two splits, outside the folder or without a file, and a subjects.csv of other images.
    """
    subjects, stated = _read_subjects(folder)
    cells: list[Cell] = []
    for split in ("train", "valid"):
        cells += _read_split(folder, f"{split}.csv", split, subjects)
    submissions = _read_submissions(folder)
    for split in dict.fromkeys(submission.split for submission in submissions):
        wanted = [i for s in submissions if s.split == split for i in s.ids]
        ids = {_normal(i): i for i in reversed(wanted)}.values()  # one cell, however its path is spelled
        cells += [Cell(folder / i, i, split, None, subjects.get(_normal(i))) for i in sorted(ids, key=natural)]
    _refuse_shared_paths(cells)
    if subjects and all(cell.subject is None for cell in cells):
        raise UserError(
            f"{folder / 'subjects.csv'}: none of its paths, first {next(iter(subjects))!r}, is in another CSV"
        )
    return Dataset(_name(folder), "course", "given", tuple(cells), tuple(submissions), stated)


def _read_split(folder: Path, csv: str, split: str, subjects: dict[str, str]) -> list[Cell]:
    table = _read_csv(folder / csv, ("Path", "label"))
    cells = []
    for line, (path, label) in enumerate(zip(table["Path"], table["label"], strict=True), start=2):
        if label not in ("0", "1"):
            raise UserError(f"{folder / csv}, line {line}: the label {label!r} is not 0 or 1")
        file = cell_file(folder, path, f"{folder / csv}, line {line}")
        cells.append(Cell(file, path, split, int(label), subjects.get(_normal(path))))
    return cells


def _read_submissions(folder: Path) -> list[Submission]:
    """Every ``*_test.csv``: a network's list of the split "test", or one further unlabelled split."""
    submissions: list[Submission] = []
    for csv in sorted(path for path in folder.glob("*_test.csv") if not left_by_file_manager(path)):
        match = TEST_CSV.fullmatch(csv.name)
        if match is None or match["name"].lower() in RESERVED or len(match["name"]) > LONGEST_NAME:
            raise UserError(
                f"{csv}: a split cannot be called {csv.name.removesuffix('_test.csv')!r}: up to {LONGEST_NAME} "
                f"letters, digits, - and _, and neither of {', '.join(RESERVED)}: rename or move it"
            )
        network = NETWORK_CSV.fullmatch(match["name"])
        name, split = (f"resnet{network[1]}", "test") if network else (match["name"], match["name"])
        ids = tuple(_read_csv(csv, ("Path",))["Path"])
        for line, path in enumerate(ids, start=2):
            cell_file(folder, path, f"{csv}, line {line}")
        if name.lower() in (submission.name.lower() for submission in submissions):
            raise UserError(
                f"{csv}: a second test CSV for {name}: resnet_18_test.csv and resnet18_test.csv are one name, and so "
                "are A_test.csv and a_test.csv"
            )
        submissions.append(Submission(name, split, ids))
    return submissions


def _read_subjects(folder: Path) -> tuple[dict[str, str], tuple[tuple[str, str], ...]]:
    """Subject of each normalised path from the optional subjects.csv, and the ids that it says are one person.

    Its optional column ``original`` may name several archive files of one image, joined by ``|``.
    """
    csv = folder / "subjects.csv"
    if not csv.exists() and not csv.is_symlink():  # a link to nowhere is a mistake, not a dataset without subjects
        return {}, ()
    table = _read_csv(csv, ("Path", "subject"))
    for line, subject in enumerate(table["subject"], start=2):
        if subject != subject.strip():  # it would be another person than the one without the blank
            raise UserError(f"{csv}, line {line}: the subject {subject!r} begins or ends with a blank")
    subjects = zip(map(_normal, table["Path"]), table["subject"], strict=True)
    stated: list[tuple[str, str]] = []
    if "original" in table.columns:
        for line, (subject, original) in enumerate(zip(table["subject"], table["original"], strict=True), start=2):
            stated += _one_person(subject, original, f"{csv}, line {line}") if "|" in original else []
    return {path: subject for path, subject in subjects if subject}, tuple(stated)  # a blank is unknown, not a person


def _one_person(subject: str, original: str, where: str) -> list[tuple[str, str]]:
    """Pairs of the different ids that ``original`` and ``subject`` give one image."""
    ids = {subject} - {""}
    for name in original.split("|"):
        match = ARCHIVE_NAME.fullmatch(PurePosixPath(name).name)
        if match is None:
            raise UserError(f"{where}: the original {name!r} is not an archive file, UID_SUBJECT_FIELD_CELL_CLASS.bmp")
        ids.add(match["subject"].upper())
    return list(pairwise(sorted(ids, key=natural)))


def _read_csv(path: Path, columns: tuple[str, ...]) -> pd.DataFrame:
    """Read a CSV with these columns and check emptiness and repeated paths.

    Rows without any value are left out at the end, where editors leave them; elsewhere one may be a cell that got lost.
    """
    if not path.is_file():
        raise UserError(f"{path}: no such file")
    table = read_table(path, columns)
    filled = (table != "").any(axis=1).to_numpy().nonzero()[0]
    table = table[: filled.max(initial=-1) + 1]
    if table.empty:
        raise UserError(f"{path}: empty: it has a header and no rows")
    paths = table["Path"].map(_normal)
    if paths.duplicated().any():
        row = int(paths.duplicated().to_numpy().argmax())
        raise UserError(f"{path}, line {row + 2}: the path {table['Path'][row]!r} stands there twice")
    return table


def _refuse_shared_paths(cells: list[Cell]) -> None:
    split_of: dict[str, str] = {}
    for cell in cells:
        path = _normal(cell.source)
        if split_of.setdefault(path, cell.split) != cell.split:
            raise UserError(f"{cell.source!r} is in two splits: {split_of[path]} and {cell.split}")


def _name(folder: Path) -> str:
    """The dataset's name from an optional dataset.json (``{"name": ...}``), else the folder's."""
    path = folder / "dataset.json"
    if not path.exists() and not path.is_symlink():  # a link to nowhere is a mistake here, too
        return folder.resolve().name
    if not path.is_file():
        raise UserError(f"{path}: no such file")
    text = read_text(path)
    try:
        name = parsed(text)["name"]
    except (ValueError, RecursionError, KeyError, TypeError):
        name = None
    if not isinstance(name, str) or not name.strip():
        raise UserError(f'{path}: not a JSON object with a "name", a text')
    return name


def _normal(path: str) -> str:
    return str(PurePosixPath(path))
