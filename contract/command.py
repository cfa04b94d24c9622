"""Run a room's command line so that a user's mistake ends in one line, never in a traceback."""

import importlib
import os
import select
import sys

from contract.errors import UserError

ROOMS = ("contract", "build_shards", "train", "export", "evaluate")


def run_command(module: str, function: str = "main") -> None:
    """Import ``module`` and call its ``function``; exit 2 with one line on a user's mistake.

    A user's mistake is a ``UserError`` (bad input) or a third-party package that is not installed.
    As shells expect, ``Ctrl-C`` exits 130, and a reader that leaves (``| head``) 141. Anything else is a defect of ours
    and keeps its traceback.
    """
    try:
        _run(module, function)
    except UserError as error:
        _fail(f"error: {' '.join(str(error).split())}", 2)
    except ModuleNotFoundError as error:
        package = (error.name or "").split(".")[0]
        if package in ROOMS or not package:
            raise
        _fail(f"error: the package {package!r} is not installed: run `make setup`", 2)
    except KeyboardInterrupt:
        _fail("interrupted", 130)
    except BrokenPipeError:
        if not _nobody_reads():
            raise
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or Python tells of what it could not flush
        raise SystemExit(141) from None


def _run(module: str, function: str) -> None:
    try:
        getattr(importlib.import_module(module), function)()
    except SystemExit:  # of a page of help, say
        sys.stdout.flush()
        raise
    sys.stdout.flush()


def _nobody_reads() -> bool:
    """Whether standard output is a pipe whose other end is closed."""
    poll = select.poll()
    poll.register(sys.stdout, 0)
    return any(event & (select.POLLERR | select.POLLHUP) for _, event in poll.poll(0))  # Linux says ERR, BSD HUP


def _fail(line: str, status: int) -> None:
    print(line, file=sys.stderr)
    raise SystemExit(status)
