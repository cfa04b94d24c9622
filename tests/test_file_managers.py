"""Files that macOS and Windows leave in a dataset's folders are no cells, and stop nothing; others of no place do."""

from collections.abc import Callable
from pathlib import Path

import pytest
from archive_folder import add_final, add_prelim, write_archive

from build_shards.dataset import read_dataset
from contract.errors import UserError

NAMES = (".DS_Store", "Thumbs.db", "desktop.ini")


def leave_files(folder: Path) -> None:
    """Those of file managers in every folder, and beside every file its companion of macOS."""
    for path in [folder, *folder.rglob("*")]:
        for name in NAMES if path.is_dir() else ():
            (path / name).touch()
        if path.is_file() and path.name not in NAMES:
            path.with_name(f"._{path.name}").write_bytes(bytes.fromhex("00051607 00020000") + b"Mac OS X")


def test_an_archive_is_read_as_if_nobody_had_looked_at_it(tmp_path: Path) -> None:
    archive = add_prelim(write_archive(tmp_path / "archive", subjects=4))
    add_final(archive)
    cell = next(archive.glob("C-NMC/fold_0/all/*.bmp"))
    inner = archive / "C-NMC" / "fold_0" / "all" / "fold_0" / "all"  # as some downloads are unpacked
    inner.mkdir(parents=True)
    cell.rename(inner / cell.name)
    before = read_dataset(archive)
    leave_files(archive)
    assert read_dataset(archive) == before


def test_a_course_folder_is_read_as_if_nobody_had_looked_at_it(write_course: Callable[..., Path]) -> None:
    folder = write_course()
    before = read_dataset(folder)
    leave_files(folder)
    assert read_dataset(folder) == before


@pytest.mark.parametrize("name", [".DS_Store.bmp", "._UID_1_1_1_all.bmp", "_UID_1_1_1_all.bmp", "Thumbs.db.bmp"])
def test_a_file_that_is_almost_theirs_is_refused(name: str, tmp_path: Path) -> None:
    archive = write_archive(tmp_path / "archive", subjects=4)
    (archive / "C-NMC" / "fold_0" / "all" / name).write_bytes(b"BM an image, whatever its name")
    with pytest.raises(UserError, match="its name is not UID_SUBJECT_FIELD_CELL_all"):
        read_dataset(archive)


def test_a_folder_of_such_a_name_is_not_passed_over(tmp_path: Path) -> None:
    archive = write_archive(tmp_path / "archive", subjects=4)
    hidden = archive / "._more"
    hidden.mkdir()
    (hidden / "1.bmp").touch()
    with pytest.raises(UserError, match=r"_more/1\.bmp: lies in no set of the archive"):
        read_dataset(archive)
