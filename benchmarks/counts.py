"""Counts on a benchmark's command line: how many cells, repeats, workers, px."""

from collections.abc import Collection
from dataclasses import fields
from typing import Any

from contract.errors import UserError


def refuse_counts(command: Any, zero: Collection[str] = ()) -> None:
    """Raise ``UserError`` for a count below 1, or below 0 in the fields ``zero``.

    ``command`` is a dataclass; its counts are its whole numbers, alone and in tuples.
    """
    for field in fields(command):
        value, least = getattr(command, field.name), int(field.name not in zero)
        for number in value if isinstance(value, tuple) else (value,):
            if type(number) is int and number < least:
                raise UserError(f"--{field.name.replace('_', '-')} {number}: must be at least {least}")
