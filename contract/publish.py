"""Publish by rename: a reader sees the old file or the new one, never half of either."""

import contextlib
import hashlib
import os
import secrets
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO

from contract.errors import UserError
from contract.files import unreadable


@contextlib.contextmanager
def publishing(path: Path) -> Iterator[BinaryIO]:
    """Open a temporary file beside ``path``; on success flush it to disk and rename it, else remove it.

    Raises ``UserError`` when the folder cannot be made or written, or the disk is full: any ``OSError`` of the block.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        name = path.parent / f".{path.name}.{secrets.token_hex(4)}.tmp"
        handle = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)  # who may read it is the umask's to say
        with _removed_on_failure(name):
            with os.fdopen(handle, "wb") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            os.replace(name, path)
    except OSError as error:
        raise UserError(f"{path}: cannot be written: {error.strerror or error}") from None


def remove(path: Path) -> None:
    """Remove a file where there is one; raises ``UserError`` where that fails."""
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise UserError(f"{path}: cannot be removed: {error.strerror}") from None


def remove_unfinished(path: Path) -> None:
    """Remove what killed writers of ``path`` left beside it; call it where no other process writes ``path`` now."""
    for left in path.parent.glob(f".{path.name}.*.tmp"):
        remove(left)


@contextlib.contextmanager
def _removed_on_failure(path: Path) -> Iterator[None]:
    try:
        yield
    except BaseException:
        with contextlib.suppress(OSError):  # the first error is the one to be told
            path.unlink()
        raise


def publish_bytes(path: Path, data: bytes) -> None:
    """Write ``data`` to ``path`` by rename."""
    with publishing(path) as file:
        file.write(data)


def publish_text(path: Path, text: str) -> None:
    """Write ``text`` as UTF-8 to ``path`` by rename."""
    publish_bytes(path, text.encode())


def publish_together(folder: Path, files: dict[str, bytes], index: str | None = None) -> None:
    """Write all files into a folder beside their places first, then rename: a full disk changes nothing that was there.

    ``index``, the last of them, speaks of the others: the old one is removed before the first is replaced. Raises
    ``UserError`` where the folder cannot be made or written, and where a folder lies in a file's place.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".publish-", dir=folder) as staging:
            for name, data in files.items():
                publish_bytes(Path(staging) / name, data)
            refuse_folders(folder / name for name in files)
            if index is not None:
                remove(folder / index)
            for name in files:
                (Path(staging) / name).replace(folder / name)
    except OSError as error:
        raise UserError(f"{folder}: cannot be written: {error.strerror}") from None


def refuse_folders(paths: Iterable[Path]) -> None:
    """Raise ``UserError`` for a folder where a file is to be written; call it before the first file is replaced."""
    for path in paths:
        if path.is_dir():
            raise UserError(f"{path}: cannot be written: a folder lies in its place: move it")


def file_sha256(path: Path) -> str:
    """Hex SHA-256 of a file's bytes; raises ``UserError`` where it cannot be read."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise unreadable(path, error) from None


def text_sha256(text: str) -> str:
    """Hex SHA-256 of a text's UTF-8 bytes."""
    return hashlib.sha256(text.encode()).hexdigest()
