"""Run a room's command line so that a user's mistake ends in one line, never in a traceback."""

import contextlib
import importlib
import io
import os
import re
import select
import signal
import sys
import threading
from collections.abc import Iterator
from types import ModuleType
from typing import NoReturn

from contract.errors import UserError

CONTROLS = re.compile(r"[\x00-\x1f\x7f-\x9f]")  # in a file's name, say: they steer a terminal
ROOMS = ("contract", "build_shards", "train", "export", "evaluate")


class Terminated(KeyboardInterrupt):
    """SIGTERM, which ends a command as Ctrl-C does: nothing stays half written, and no worker works on."""


def printable(text: str) -> str:
    """A line that came from a file, such that it steers no terminal."""
    return CONTROLS.sub("\ufffd", text)


def run_command(module: str, function: str = "main") -> None:
    """Import ``module`` and call its ``function``; exit 2 with one line on a user's mistake.

    A user's mistake is a ``UserError`` (bad input), a file that the system refuses (a name too long, a folder that may
    not be entered) or a third-party package that is not installed.
    As shells expect, ``Ctrl-C`` exits 130 and SIGTERM 143 (another one while it ends, at once and without a word), and
    a reader that leaves (``| head``) 141. Output that cannot be written
    (``> log`` on a full disk) is one line too; output that is closed (``>&-``) is written nowhere. Anything else is a
    defect of ours and keeps its traceback.
    """
    _open_closed()
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
    except Terminated:
        _fail("terminated", 143)
    except KeyboardInterrupt:
        _fail("interrupted", 130)
    except OSError as error:
        _end_by(error)


def _end_by(error: OSError) -> NoReturn:
    """End in one line where the system refused a file that it names, or output that nobody reads or has room for."""
    if isinstance(error.filename, str | bytes):
        _fail(f"error: {' '.join(os.fsdecode(error.filename).split())}: {error.strerror}", 2)
    if not _is_of_output(error):
        raise error
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or Python tells of what it could not flush
    if isinstance(error, BrokenPipeError):
        raise SystemExit(141)
    _fail(f"error: standard output: cannot be written: {error.strerror}", 2)


def _run(module: str, function: str) -> None:
    try:
        command = getattr(imported(module), function)
        _end_in_order_by_sigterm()
        command()
    except SystemExit as end:  # of a page of help, say
        if isinstance(end.__context__, BrokenPipeError):  # rich found that nobody reads, and has put that right
            raise SystemExit(141) from None
        sys.stdout.flush()
        raise
    finally:
        _leave_signals_to_the_system()
    sys.stdout.flush()


def _end_in_order_by_sigterm() -> None:
    """From here on SIGTERM raises ``Terminated`` once, where it is not ignored; another one ends the process."""
    if signal.getsignal(signal.SIGTERM) is signal.SIG_DFL and _in_main_thread():
        signal.signal(signal.SIGTERM, _terminate)


def _terminate(*_: object) -> NoReturn:
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    raise Terminated


def _leave_signals_to_the_system() -> None:
    """From here on they end the process at once: Python would tell of them in a traceback while it shuts down."""
    for number, ours in ((signal.SIGINT, signal.default_int_handler), (signal.SIGTERM, _terminate)):
        if signal.getsignal(number) is ours and _in_main_thread():
            signal.signal(number, signal.SIG_DFL)


def _in_main_thread() -> bool:
    """Python takes handlers from no other."""
    return threading.current_thread() is threading.main_thread()


def imported(module: str) -> ModuleType:
    """Import ``module``; Ctrl-C ends the process meanwhile, at once and with the same line and status as later.

    Imports of large packages take seconds and catch what they should not: one that swallows Ctrl-C goes on half made.
    """
    with _ended_by_ctrl_c():
        return importlib.import_module(module)


@contextlib.contextmanager
def _ended_by_ctrl_c() -> Iterator[None]:
    of_python = signal.getsignal(signal.SIGINT) is signal.default_int_handler  # not so where Ctrl-C is ignored (nohup)
    if not of_python or not _in_main_thread():
        yield
        return
    signal.signal(signal.SIGINT, _end_at_once)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def _end_at_once(*_: object) -> NoReturn:
    with contextlib.suppress(OSError):
        os.write(2, b"interrupted\n")
    os._exit(130)


def _open_closed() -> None:
    """Put nothing in the place of standard streams that are closed.

    Else the next file that is opened takes their number, and all that libraries print goes into it.
    """
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is None:
            opened = os.open(os.devnull, os.O_RDWR)
            os.dup2(opened, number)
            os.set_inheritable(number, True)  # by worker processes; where both are one, dup2 leaves that as it was
            if opened != number:
                os.close(opened)
            file = open(number, "w" if number else "r", encoding="utf-8", closefd=False)  # noqa: SIM115  (for good)
            setattr(sys, name, file)


def _is_of_output(error: OSError) -> bool:
    """Whether it is standard output that failed: a pipe whose other end is closed, or what fails again."""
    if isinstance(error, BrokenPipeError):
        return _nobody_reads()
    if error.filename is not None:
        return False
    try:
        print(flush=True)
    except OSError as again:
        return again.errno == error.errno
    return False


def _nobody_reads() -> bool:
    poll = select.poll()
    poll.register(sys.stdout, 0)
    return any(event & (select.POLLERR | select.POLLHUP) for _, event in poll.poll(0))  # Linux says ERR, BSD HUP


def _fail(line: str, status: int) -> NoReturn:
    with contextlib.suppress(OSError):  # where that cannot be written either, the status says it
        print(printable(line), file=sys.stderr)
    raise SystemExit(status)
