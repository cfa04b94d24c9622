"""The archive layout (TCIA, Kaggle): class, subject, field and cell number in the file names.

``UID_11_10_1_all`` is subject 11, field 10, cell 1; normals are ``UID_H11_..._hem``. Beside the folds may lie the
challenge's two test sets, whose images are numbered: the preliminary one with a labels CSV, the final one without.
Source of the convention: Gupta & Gupta 2019, ALL Challenge dataset of ISBI 2019, The Cancer Imaging Archive,
doi:10.7937/tcia.2019.dc64i46r.
"""

import os
import re
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Literal

from build_shards.dataset import Cell, Dataset, cell_file, left_by_file_manager, natural
from build_shards.deal import deal_cells
from build_shards.table import read_table
from contract.errors import UserError
from contract.manifest import Submission

# The archive writes one subject as H3 and as h3.
NAME = re.compile(r"UID_(?P<subject>[Hh]?\d+)_(?P<field>\d+)_(?P<cell>\d+)_(?P<cls>all|hem)\.bmp")
LABELS = {"hem": 0, "all": 1}
SHARES = {"train": 0.75, "valid": 0.15, "test": 0.10}
FINAL = "C-NMC_test_final_phase_data"  # the folder of the final test set
NUMBERED = re.compile(r"[1-9]\d*\.bmp")


def fold_folders(folder: Path) -> list[Path]:
    """The ``fold_*/all`` and ``fold_*/hem`` folders anywhere below ``folder``, sorted.

    Raises ``UserError`` for a folder that cannot be listed: what is in it must not be dropped in silence.
    """
    for _ in os.walk(folder, onerror=_refuse_unreadable):
        pass
    return sorted(p for cls in LABELS for p in folder.glob(f"**/fold_*/{cls}") if p.is_dir())


def _refuse_unreadable(error: OSError) -> None:
    raise UserError(f"{error.filename}: cannot be read: {error.strerror}")


def read_archive(folder: Path, split_by: Literal["subject", "image"], seed: int) -> Dataset:
    """List the cells of a folder in the archive layout, split train/valid/test 75/15/10 within each class.

    ``split_by`` "subject" keeps every subject in one split; "image" draws single images and leaks subjects.
    The challenge's test sets become the further splits "prelim" (labelled) and "final" (unlabelled).
    Raises ``UserError`` for a file in a class folder whose name or class does not fit, that is no plain file, or is a
    link out of ``folder``; for a test set that is not whole; and for a BMP that lies in none of these sets.
    """
    folds = fold_folders(folder)
    cells = [_cell(folder, file) for fold in folds for file in _files(fold, folds)]
    if not cells:
        raise UserError(f"{folder}: its fold_*/all and fold_*/hem folders hold no images")
    groups = [str(cell.subject) if split_by == "subject" else cell.source for cell in cells]
    part_of = deal_cells(groups, [cell.label for cell in cells], list(SHARES.values()), seed)
    names = list(SHARES)
    placed = [replace(cell, split=names[part_of[group]]) for cell, group in zip(cells, groups, strict=True)]
    placed.sort(key=lambda cell: (names.index(cell.split), cell.source))
    final = _read_final(folder)
    placed += [*_read_prelim(folder), *final]
    _refuse_strays(folder, placed)
    asked = (Submission("final", "final", tuple(cell.source for cell in final)),) if final else ()
    return Dataset(folder.resolve().name, "archive", split_by, tuple(placed), asked)


def _refuse_strays(folder: Path, cells: Iterable[Cell]) -> None:
    """Raise ``UserError`` for an image that is no cell of any set, and for a linked folder that may hold some."""
    known = {cell.file for cell in cells}
    for path in sorted(folder.rglob("*")):
        if path.suffix.lower() == ".bmp" and path not in known and not left_by_file_manager(path):
            raise UserError(
                f"{path}: lies in no set of the archive (fold_*/all and fold_*/hem, the preliminary test set with its "
                f"labels CSV, {FINAL}): move it away; nothing is left out in silence"
            )
        if path.is_symlink() and path.is_dir() and not path.resolve().is_relative_to(folder.resolve()):
            raise UserError(f"{path}: leaves the folder through a link: what is in it would be left out in silence")


def _files(fold: Path, folds: list[Path]) -> list[Path]:
    """The entries of a class folder that must be images; a folder among them may only hold further class folders."""
    entries = sorted(path for path in fold.iterdir() if not left_by_file_manager(path))
    for inner in (path for path in entries if path.is_dir() and not NAME.fullmatch(path.name)):
        files = [file for file in sorted(inner.rglob("*")) if file.is_file() and not left_by_file_manager(file)]
        stray = [file for file in files if file.parent not in folds]
        if stray:
            raise UserError(f"{stray[0]}: lies below {fold.name}/ in no fold_*/all or fold_*/hem folder of its own")
    return [path for path in entries if not path.is_dir() or NAME.fullmatch(path.name)]


def _cell(folder: Path, file: Path) -> Cell:
    match = NAME.fullmatch(file.name)
    if match is None or match["cls"] != file.parent.name:
        raise UserError(f"{file}: its name is not UID_SUBJECT_FIELD_CELL_{file.parent.name}.bmp")
    source = file.relative_to(folder).as_posix()
    return Cell(cell_file(folder, source, str(file.parent)), source, "", LABELS[match["cls"]], match["subject"].upper())


def _read_prelim(folder: Path) -> list[Cell]:
    """The preliminary test set: a CSV with ``Patient_ID,new_names,labels`` and a folder of its images."""
    csvs = sorted(path for path in folder.glob("**/*prelim*labels*.csv") if not left_by_file_manager(path))
    if not csvs:
        return []
    if len(csvs) > 1:
        raise UserError(f"{csvs[1]}: a second labels CSV of a preliminary set, beside {csvs[0]}: move one away")
    rows = _read_prelim_rows(csvs[0])
    files = _prelim_images(csvs[0].parent)
    cells: list[Cell] = []
    for line, original, name, label in rows:
        match = NAME.fullmatch(original)
        if match is None or label != str(LABELS[match["cls"]]) or name not in files:
            raise UserError(
                f"{csvs[0]}, line {line}: {original!r}, {name!r}, {label!r} is not a name, an image of its own, "
                "and the label that the name says"
            )
        source = files.pop(name).relative_to(folder).as_posix()  # popped: a second row for it finds none
        file = cell_file(folder, source, f"{csvs[0]}, line {line}")
        cells.append(Cell(file, source, "prelim", int(label), match["subject"].upper()))
    if files:
        raise UserError(f"{min(files.values())}: no row of {csvs[0]} names it; nothing is left out in silence")
    return cells


def _read_prelim_rows(csv: Path) -> list[tuple[int, str, str, str]]:
    """Line, original name, image and label of every row that is not blank."""
    columns = ("Patient_ID", "new_names", "labels")
    table = read_table(csv, columns)
    rows = zip(table.index + 2, *(table[column] for column in columns), strict=True)
    return [row for row in rows if any(row[1:])]


def _prelim_images(folder: Path) -> dict[str, Path]:
    """The images of the preliminary set by name: all below ``folder`` that lie in a folder named so, else all.

    The archive's final test set, of other images with the same names, may lie beside it.
    """
    images = [path for path in sorted(folder.glob("**/*.bmp")) if not NAME.fullmatch(path.name)]
    images = [path for path in images if path.parent.name != FINAL and not left_by_file_manager(path)]
    named = [path for path in images if "prelim" in path.relative_to(folder).parent.as_posix()]
    return _by_name(named or images, "the preliminary set")


def _read_final(folder: Path) -> list[Cell]:
    """The final test set, unlabelled and of unknown subjects, in the order of its numbers."""
    inner = [path for path in sorted(folder.glob(f"**/{FINAL}")) if path.is_dir()]
    entries = [path for one in inner for path in sorted(one.iterdir())]
    entries = [path for path in entries if not left_by_file_manager(path)]
    files = [path for path in entries if path.name != FINAL]  # unpacked into a folder of its own name, it lies in two
    for file in files:
        if not NUMBERED.fullmatch(file.name):
            raise UserError(f"{file}: its name is not NUMBER.bmp, as in the final test set")
    named = sorted(_by_name(files, "the final test set").items(), key=lambda item: natural(item[0]))
    sources = [file.relative_to(folder).as_posix() for _, file in named]
    return [Cell(cell_file(folder, source, FINAL), source, "final", None, None) for source in sources]


def _by_name(images: Iterable[Path], whose: str) -> dict[str, Path]:
    files: dict[str, Path] = {}
    for path in images:
        first = files.setdefault(path.name, path)
        if first != path:
            raise UserError(f"{path}: a second image of this name: {whose} has {first}")
    return files
