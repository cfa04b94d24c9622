"""What a dataset is, and which of the two layouts a folder holds."""

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from contract.errors import UserError
from contract.manifest import Submission
from contract.publish import text_sha256

FILE_MANAGERS = (".DS_Store", "Thumbs.db", "desktop.ini")  # files of macOS and Windows
APPLE_DOUBLE = b"\x00\x05\x16\x07"  # how a file begins that holds what macOS knows of another (RFC 1740, appendix A)


@dataclass(frozen=True)
class Cell:
    """One source image."""

    file: Path  # where it lies
    source: str  # its path as the CSV writes it, or relative to the folder; the ID of a submission
    split: str
    label: int | None  # 0 normal, 1 blast, None where hidden
    subject: str | None  # "11" and "H11" are different people

    @property
    def scatter(self) -> str:
        """A fixed place in a seemingly random order: SHA-256 of the source path, so that neighbours are strangers."""
        return text_sha256(self.source)


@dataclass(frozen=True)
class Dataset:
    """All cells of a folder, split.

    The order is the CSVs' (course, as given) or the paths' (archive, and any other split), never the disk's.
    """

    name: str
    layout: Literal["course", "archive"]
    split_by: Literal["given", "identity", "subject", "image"]
    cells: tuple[Cell, ...]
    submissions: tuple[Submission, ...]
    stated: tuple[tuple[str, str], ...] = ()  # two subject ids under which a table of the dataset names one image
    folds: int = 0  # 0 where there are no folds
    fold: int = 0  # 1 to ``folds``: the one that is "valid"
    identities: dict[str, str] = field(default_factory=dict)  # of every subject id, where the split is by identity

    def __post_init__(self) -> None:
        if self.name.encode(errors="replace").decode() != self.name:  # no manifest could hold it
            raise UserError(f"the dataset's name {self.name!r} is not UTF-8: rename its folder, or give another --name")

    @property
    def digest(self) -> str:
        """SHA-256 over split, path, label, subject and file size of every cell, submissions and kind of split."""
        lines = [f"{self.split_by}\t{self.folds}\t{self.fold}", *(f"{k}\t{v}" for k, v in self.identities.items())]
        lines += [f"{c.split}\t{c.source}\t{c.label}\t{c.subject}\t{c.file.stat().st_size}" for c in self.cells]
        lines += [f"{s.name}\t{s.split}\t{i}" for s in self.submissions for i in s.ids]
        return text_sha256("\n".join(lines))


def read_dataset(folder: Path, split_by: Literal["subject", "image"] = "subject", seed: int = 0) -> Dataset:
    """Recognise the layout of ``folder`` by what is in it, and list its cells.

    ``split_by`` and ``seed`` decide the split of the archive layout only; the course layout brings its own.
    Raises ``UserError`` naming the file and the rule for every kind of bad input.
    """
    from build_shards.archive import fold_folders, read_archive
    from build_shards.course import read_course

    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder")
    try:
        is_course = (folder / "train.csv").is_file()
    except OSError as error:
        raise UserError(f"{folder}: cannot be read: {error.strerror}") from None
    if is_course:
        return read_course(folder)
    if fold_folders(folder):
        return read_archive(folder, split_by, seed)
    raise UserError(
        f"{folder}: neither layout recognised: looked for train.csv and valid.csv (course) "
        "and for **/fold_*/{all,hem}/UID_*.bmp (archive)"
    )


def cell_file(root: Path, written: str, source: str) -> Path:
    """The file that a CSV's path names; ``source`` (CSV and line) opens the error.

    Raises ``UserError`` for a path that is absolute, leaves ``root`` (by ``..`` or a link), is no file or no UTF-8.
    """
    if written.encode(errors="replace").decode() != written:  # bytes of a name that Python could only escape
        raise UserError(f"{source}: the path {written!r} is not UTF-8: rename it")
    path = Path(written)
    if path.is_absolute() or ".." in path.parts:
        raise UserError(f"{source}: the path {written!r} leaves the folder: it must be relative, without '..'")
    file = root / path
    try:
        found = file.is_file()
    except OSError:  # a name that the file system cannot hold
        found = False
    if not found:
        raise UserError(f"{source}: {written!r}: no such file in {root}")
    if not file.resolve().is_relative_to(root.resolve()):
        raise UserError(f"{source}: the path {written!r} leaves the folder through a link")
    return file


def left_by_file_manager(path: Path) -> bool:
    """Whether macOS or Windows left this file in a folder that somebody opened or copied: it is no cell and no CSV.

    Where files without a place stop the build, these alone do not: ``.DS_Store``, ``Thumbs.db``, ``desktop.ini``, and
    what macOS writes beside a file under its name with ``._`` in front, told from an image by its first bytes.
    """
    if not path.is_file():
        return False
    return path.name in FILE_MANAGERS or (path.name.startswith("._") and _begins_with(path, APPLE_DOUBLE))


def _begins_with(path: Path, wanted: bytes) -> bool:
    try:
        with path.open("rb") as file:
            return file.read(len(wanted)) == wanted
    except OSError:  # refused as any other file is
        return False


def natural(text: str) -> tuple[str | int, ...]:
    """Sort key that puts 2 before 10 and H2 before H10; text and numbers alternate, so keys always compare.

    Other texts have other keys: of 1 and 01, which are one number, the text decides.
    """
    parts = re.split(r"([0-9]+)", text)
    return (*(int(part) if i % 2 else part for i, part in enumerate(parts)), -1, text)
