import errno
import hashlib
import os
import resource
import stat
from pathlib import Path

import numpy as np
import pytest

from build_shards.synthetic import write_synthetic
from contract.errors import UserError
from contract.publish import (
    file_sha256,
    publish_bytes,
    publish_text,
    publish_together,
    publishing,
    remove_unfinished,
    text_sha256,
)


def fail_while_publishing(path: Path, error: BaseException) -> None:
    with publishing(path) as file:
        file.write(b"half of the new")
        raise error


def test_bytes_and_text_arrive_whole_in_a_folder_that_did_not_exist(tmp_path: Path):
    publish_bytes(tmp_path / "a" / "b" / "file.bin", b"\x00\xff")
    publish_text(tmp_path / "text", "größer\n")
    assert (tmp_path / "a" / "b" / "file.bin").read_bytes() == b"\x00\xff"
    assert (tmp_path / "text").read_bytes() == "größer\n".encode()


@pytest.mark.parametrize("error", [RuntimeError("writer"), KeyboardInterrupt()])
def test_the_old_file_stays_when_the_writer_fails(tmp_path: Path, error: BaseException):
    path = tmp_path / "file"
    publish_text(path, "old")
    with pytest.raises(type(error)):
        fail_while_publishing(path, error)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]  # no temporary file is left


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT, errno.EROFS])
def test_a_write_that_the_system_refuses_is_a_users_matter_and_the_old_file_stays(tmp_path: Path, code: int):
    path = tmp_path / "file"
    publish_text(path, "old")
    with pytest.raises(UserError, match=rf"/file: cannot be written: {os.strerror(code)}$"):
        fail_while_publishing(path, OSError(code, os.strerror(code)))
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("name", ["fsync", "replace"])
def test_so_is_one_at_the_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str):
    def fail(*_: object) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(os, name, fail)
    with pytest.raises(UserError, match=r"/file: cannot be written: Input/output error$"):
        publish_text(tmp_path / "file", "new")
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_the_disk_has_no_room_for_is_refused_in_one_line(tmp_path: Path):
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, before[1]))
    try:
        with pytest.raises(UserError, match=r"/file: cannot be written: File too large$"):
            publish_bytes(tmp_path / "file", bytes(200_000))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert list(tmp_path.iterdir()) == []


def test_a_refusal_that_has_no_number_is_told_in_its_own_words(tmp_path: Path):
    with pytest.raises(UserError, match=r"/file: cannot be written: not seekable$"):
        fail_while_publishing(tmp_path / "file", OSError("not seekable"))


def fail(error: BaseException) -> None:
    raise error


def test_files_together_are_all_new_or_all_old_where_the_disk_is_full(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old, new = ({name: f"{age} {name}".encode() for name in ("a", "b", "index")} for age in ("old", "new"))
    publish_together(tmp_path / "out", old, "index")
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", lambda _: fail(OSError(errno.ENOSPC, "No space left on device")))
        with pytest.raises(UserError, match="cannot be written: No space left on device"):
            publish_together(tmp_path / "out", new, "index")
    assert {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()} == old
    publish_together(tmp_path / "out", new, "index")
    assert {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()} == new


def test_a_folder_in_a_file_s_place_leaves_all_as_they_were(tmp_path: Path) -> None:
    old = {"a": b"old", "index": b"old"}
    publish_together(tmp_path, old, "index")
    (tmp_path / "b").mkdir()
    with pytest.raises(UserError, match=r"/b: cannot be written: a folder lies in its place"):
        publish_together(tmp_path, {"a": b"new", "b": b"new", "index": b"new"}, "index")
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir() if path.is_file()} == old


def test_an_index_does_not_outlive_what_it_speaks_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    publish_together(tmp_path, {"a": b"old", "b": b"old", "index": b"old"}, "index")
    replace = Path.replace
    monkeypatch.setattr(Path, "replace", lambda p, to: fail(KeyboardInterrupt()) if to.name == "b" else replace(p, to))
    with pytest.raises(KeyboardInterrupt):
        publish_together(tmp_path, {"a": b"new", "b": b"new", "index": b"new"}, "index")
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {"a": b"new", "b": b"old"}


def test_hashing_a_missing_file_is_refused_by_name(tmp_path: Path):
    with pytest.raises(UserError, match=r"/gone: no such file"):
        file_sha256(tmp_path / "gone")


def test_nothing_appears_when_the_first_writer_fails(tmp_path: Path):
    with pytest.raises(RuntimeError):
        fail_while_publishing(tmp_path / "file", RuntimeError())
    assert list(tmp_path.iterdir()) == []


def test_a_temporary_file_that_is_gone_hides_no_error(tmp_path: Path):
    def lose(path: Path) -> None:
        with publishing(path):
            next(tmp_path.iterdir()).unlink()
            raise RuntimeError("writer")

    with pytest.raises(RuntimeError, match="writer"):
        lose(tmp_path / "file")


def test_what_killed_writers_left_is_removed_and_nothing_of_another_file(tmp_path: Path):
    for name in (".file.abc.tmp", ".file.abc", ".file2.abc.tmp", "file"):
        (tmp_path / name).touch()
    remove_unfinished(tmp_path / "file")
    assert {path.name for path in tmp_path.iterdir()} == {".file.abc", ".file2.abc.tmp", "file"}


def test_a_reader_sees_the_old_file_until_the_new_one_is_whole(tmp_path: Path):
    path = tmp_path / "file"
    publish_text(path, "old")
    with publishing(path) as file:
        file.write(b"new")
        file.flush()
        assert path.read_text() == "old"
    assert path.read_text() == "new"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(("umask", "mode"), [(0o022, 0o644), (0o077, 0o600), (0o002, 0o664)])
def test_the_umask_says_who_may_read_what_is_published(
    umask: int, mode: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("build_shards.synthetic.draw_cell", lambda *_: np.full((9, 9, 3), 7, np.uint8))
    before = os.umask(umask)
    try:
        publish_text(tmp_path / "one", "x")
        publish_together(tmp_path, {"two": b"x"})
        write_synthetic(tmp_path / "cells", 20, 0)
    finally:
        os.umask(before)
    files = [tmp_path / "one", tmp_path / "two", *(tmp_path / "cells").rglob("*.*")]
    assert len(files) > 20
    assert {stat.S_IMODE(path.stat().st_mode) for path in files} == {mode}
    assert stat.S_IMODE((tmp_path / "cells").stat().st_mode) == 0o777 & ~umask


def test_a_folder_that_cannot_be_made_is_a_users_mistake(tmp_path: Path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(UserError, match=r"file/new: cannot be written"):
        publish_text(tmp_path / "file" / "new", "x")


def test_hashes_are_sha256_of_the_bytes(tmp_path: Path):
    publish_text(tmp_path / "file", "größer")
    expected = hashlib.sha256("größer".encode()).hexdigest()
    assert file_sha256(tmp_path / "file") == text_sha256("größer") == expected


def test_the_whole_file_is_on_the_disk_before_it_has_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    seen: list[tuple[int, bool]] = []
    path = tmp_path / "file"
    monkeypatch.setattr(os, "fsync", lambda file: seen.append((os.fstat(file).st_size, path.exists())))
    publish_bytes(path, bytes(100))  # less than Python keeps back
    assert seen == [(100, False)]


def test_nothing_is_written_outside_the_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    # Another folder may be another file system, into which nothing can be renamed.
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "gone"))
    publish_text(tmp_path / "out" / "file", "x")
    publish_together(tmp_path / "out", {"a": b"x"})
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"file", "a"}
