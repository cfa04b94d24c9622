"""Two states of a run, bit by bit."""

from typing import Any

import torch


def assert_equal(found: Any, wanted: Any, where: str = "state") -> None:
    """Equal bit by bit, apart from times."""
    if isinstance(wanted, torch.Tensor):
        assert torch.equal(found, wanted), where
    elif isinstance(wanted, dict):
        assert found.keys() == wanted.keys(), where
        for key in wanted.keys() - {"seconds", "images_per_second"}:
            assert_equal(found[key], wanted[key], f"{where}.{key}")
    elif isinstance(wanted, list):
        assert len(found) == len(wanted), where
        for i, (a, b) in enumerate(zip(found, wanted, strict=True)):
            assert_equal(a, b, f"{where}[{i}]")
    else:
        assert found == wanted, where
