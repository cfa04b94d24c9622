"""Run a room's command line so that a user's mistake ends in one line, never in a traceback."""

import importlib
import sys

from contract.errors import UserError

ROOMS = ("contract", "build_shards", "train", "export", "evaluate")


def run_command(module: str, function: str = "main") -> None:
    """Import ``module`` and call its ``function``; exit 2 with one line on a user's mistake.

    A user's mistake is a ``UserError`` (bad input) or a third-party package that is not installed.
    ``Ctrl-C`` exits 130 as shells expect. Anything else is a defect of ours and keeps its traceback.
    """
    try:
        getattr(importlib.import_module(module), function)()
    except UserError as error:
        _fail(f"error: {' '.join(str(error).split())}", 2)
    except ModuleNotFoundError as error:
        package = (error.name or "").split(".")[0]
        if package in ROOMS or not package:
            raise
        _fail(f"error: the package {package!r} is not installed: run `make setup`", 2)
    except KeyboardInterrupt:
        _fail("interrupted", 130)


def _fail(line: str, status: int) -> None:
    print(line, file=sys.stderr)
    raise SystemExit(status)
