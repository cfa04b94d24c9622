"""Files that are missing, closed or no text: one line each, with what to do."""

from pathlib import Path

import pytest
from as_nobody import as_nobody

from contract.errors import UserError
from contract.files import read_bytes, read_text


def test_what_is_there_is_read(tmp_path: Path):
    (tmp_path / "x").write_bytes("größer\r\n".encode())
    assert read_bytes(tmp_path / "x") == "größer\r\n".encode()
    assert read_text(tmp_path / "x") == "größer\n"


@pytest.mark.parametrize("read", [read_bytes, read_text])
def test_a_missing_file_and_a_folder_are_named_with_the_advice(read, tmp_path: Path):
    with pytest.raises(UserError, match=r"/gone: no such file: make it first$"):
        read(tmp_path / "gone", "make it first")
    with pytest.raises(UserError, match=r"/gone: no such file$"):
        read(tmp_path / "gone")
    with pytest.raises(UserError, match=rf"^{tmp_path}: cannot be read: Is a directory: make it first$"):
        read(tmp_path, "make it first")


@pytest.mark.parametrize("read", [read_bytes, read_text])
def test_a_closed_file_is_named_with_the_advice(read, open_folder: Path):
    (open_folder / "closed").write_text("x")
    (open_folder / "closed").chmod(0)
    with as_nobody(), pytest.raises(UserError, match=r"/closed: cannot be read: Permission denied: make it first$"):
        read(open_folder / "closed", "make it first")


def test_bytes_that_are_no_utf8_are_named_with_their_place(tmp_path: Path):
    (tmp_path / "x").write_bytes(b"abc\xff")
    with pytest.raises(UserError, match=r"/x: cannot be read: not UTF-8 text \(byte 3\): make it first$"):
        read_text(tmp_path / "x", "make it first")
