"""Permissions bind whoever runs the tests: root reads everything, so a block runs as a user who does not."""

import contextlib
import encodings.utf_8_sig  # noqa: F401  (what is imported inside the block may lie where only root reads)
import os
from collections.abc import Iterator


@contextlib.contextmanager
def as_nobody() -> Iterator[None]:
    """For the length of the block this process is a user without rights."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)
