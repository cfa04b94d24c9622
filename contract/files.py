"""Reading a whole file, with the one line that a user reads where that fails."""

from pathlib import Path

from contract.errors import UserError


def read_bytes(path: Path, otherwise: str = "") -> bytes:
    """The content of ``path``; raises ``UserError`` naming it and the reason, and what to do ``otherwise``."""
    try:
        return path.read_bytes()
    except OSError as error:
        advice = f": {otherwise}" if otherwise else ""
        raise UserError(f"{path}: cannot be read: {error.strerror}{advice}") from None
