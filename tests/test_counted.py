"""Counts in what commands print: one of a thing is not called several."""

import pytest

from contract.counted import counted


@pytest.mark.parametrize(("number", "said"), [(0, "0 ties"), (1, "1 tie"), (2, "2 ties"), (11, "11 ties")])
def test_one_is_singular_and_any_other_number_is_not(number: int, said: str) -> None:
    assert counted(number, "tie") == said
