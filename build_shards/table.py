"""A CSV of a dataset, value by value as it is written."""

import warnings
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from contract.errors import UserError


def read_table(path: Path, columns: Sequence[str]) -> pd.DataFrame:
    """Read a CSV that has these columns and perhaps more, as text (UTF-8, a byte-order mark allowed).

    Row ``i`` is line ``i + 2`` of the file, as an empty line is a row too, unless a value holds a line end.

    Raises ``UserError`` for what is no CSV, where a row is longer than the header (its values would move a column), and
    for a column that is missing or stands there twice.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", pd.errors.ParserWarning)  # a row longer than the header
            table = pd.read_csv(
                path, dtype=str, keep_default_na=False, encoding="utf-8-sig", skip_blank_lines=False, index_col=False
            )
    except UnicodeDecodeError:  # its place would be that in a part of the file
        raise UserError(f"{path}: not a readable CSV: not UTF-8 text: save it as CSV UTF-8") from None
    except (ValueError, pd.errors.ParserWarning, OSError) as error:  # pandas' own errors are ValueErrors
        raise UserError(f"{path}: not a readable CSV: {error}") from None
    missing = [column for column in columns if column not in table.columns]
    if missing:
        there = ", ".join(map(str, table.columns))
        how = ": separate values by commas" if len(table.columns) == 1 and (";" in there or "\t" in there) else ""
        raise UserError(f"{path}: the column {missing[0]!r} is missing; it has {there}{how}")
    twice = [column for column in columns if f"{column}.1" in table.columns]  # as pandas calls a second one
    if twice:
        raise UserError(f"{path}: the column {twice[0]!r} stands there twice")
    return table
