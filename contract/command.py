"""Run a room's command line so that a user's mistake ends in one line, never in a traceback."""

import errno
import importlib
import io
import os
import select
import sys
from typing import NoReturn

from contract.errors import UserError

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)  # of errors that name no file: those of standard output, above all
ROOMS = ("contract", "build_shards", "train", "export", "evaluate")


def run_command(module: str, function: str = "main") -> None:
    """Import ``module`` and call its ``function``; exit 2 with one line on a user's mistake.

    A user's mistake is a ``UserError`` (bad input), a file that the system refuses (a name too long, a folder that may
    not be entered) or a third-party package that is not installed.
    As shells expect, ``Ctrl-C`` exits 130, and a reader that leaves (``| head``) 141. Anything else is a defect of ours
    and keeps its traceback.
    """
    if isinstance(sys.stdout, io.TextIOWrapper) and sys.stdout.errors == "strict":
        sys.stdout.reconfigure(errors="backslashreplace")  # a name that this terminal has no letters for is no mistake
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
    except OSError as error:
        _end_by(error)


def _end_by(error: OSError) -> NoReturn:
    """End in one line where the system refused a file that it names, or output that nobody reads or has room for."""
    if isinstance(error, BrokenPipeError) and _nobody_reads():
        _close_output()
        raise SystemExit(141)
    if isinstance(error.filename, str | bytes):
        _fail(f"error: {' '.join(os.fsdecode(error.filename).split())}: {error.strerror}", 2)
    if error.errno in FULL:
        _close_output()
        _fail(f"error: output: {error.strerror}", 2)
    raise error


def _run(module: str, function: str) -> None:
    try:
        getattr(importlib.import_module(module), function)()
    except SystemExit:  # of a page of help, say
        sys.stdout.flush()
        raise
    sys.stdout.flush()


def _close_output() -> None:
    """Else Python tells of what it could not flush."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _nobody_reads() -> bool:
    """Whether standard output is a pipe whose other end is closed."""
    poll = select.poll()
    poll.register(sys.stdout, 0)
    return any(event & (select.POLLERR | select.POLLHUP) for _, event in poll.poll(0))  # Linux says ERR, BSD HUP


def _fail(line: str, status: int) -> NoReturn:
    print(line, file=sys.stderr)
    raise SystemExit(status)
