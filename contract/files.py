"""Reading a whole file, with the one line that a user reads where that fails."""

from pathlib import Path

from contract.errors import UserError


def read_bytes(path: Path, otherwise: str = "") -> bytes:
    """The content of ``path``; raises ``UserError`` naming it and the reason, and what to do ``otherwise``."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise unreadable(path, error, otherwise) from None


def read_text(path: Path, otherwise: str = "") -> str:
    """The UTF-8 text of ``path``, its line ends as ``\\n``.

    Raises ``UserError`` where it is missing, cannot be read or is not UTF-8, and says what to do ``otherwise``.
    """
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise unreadable(path, error, otherwise) from None


def unreadable(path: Path, error: OSError | UnicodeDecodeError, otherwise: str = "") -> UserError:
    """What to raise where reading ``path`` ended in ``error``."""
    advice = f": {otherwise}" if otherwise else ""
    if isinstance(error, FileNotFoundError):
        return UserError(f"{path}: no such file{advice}")
    reason = error.strerror if isinstance(error, OSError) else f"not UTF-8 text (byte {error.start})"
    return UserError(f"{path}: cannot be read: {reason}{advice}")
