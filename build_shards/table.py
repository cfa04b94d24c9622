"""A CSV of a dataset, value by value as it is written."""

import warnings
from pathlib import Path

import pandas as pd

from contract.errors import UserError


def read_table(path: Path) -> pd.DataFrame:
    """Read a CSV as text (UTF-8, a byte-order mark allowed).

    Row ``i`` is line ``i + 2`` of the file, as an empty line is a row too, unless a value holds a line end.

    Raises ``UserError`` for what is no CSV, and where a row is longer than the header: its values would move a column.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", pd.errors.ParserWarning)  # a row longer than the header
            return pd.read_csv(
                path, dtype=str, keep_default_na=False, encoding="utf-8-sig", skip_blank_lines=False, index_col=False
            )
    except (ValueError, pd.errors.ParserWarning, OSError) as error:  # pandas' own errors are ValueErrors
        raise UserError(f"{path}: not a readable CSV: {error}") from None
