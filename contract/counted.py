"""A number with what it counts, as a person says it."""


def counted(number: int, thing: str) -> str:
    """``1 cell``, ``0 cells``; ``thing`` is in the singular and takes an s."""
    return f"{number} {thing}" if number == 1 else f"{number} {thing}s"
