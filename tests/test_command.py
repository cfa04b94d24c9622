"""How a command ends: where nobody reads its output on, and where a pipe of our own breaks."""

import errno
import os
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from contract import command
from contract.command import run_command

ROOT = Path(__file__).parents[1]
LONG, SHORT = "print('x' * 100_000)", "print('x')"
RICH = "from rich.console import Console; Console().print('x')"


@pytest.mark.parametrize("last", ["", "; sys.exit(0)", "; sys.exit(3)"])
@pytest.mark.parametrize("body", [LONG, SHORT, RICH])
def test_a_reader_that_leaves_ends_a_command_without_a_word(body: str, last: str, tmp_path: Path) -> None:
    (tmp_path / "chatty.py").write_text(f"import sys\ndef main():\n    {body}{last}\n", encoding="utf-8")
    done = _run_unread(f"import sys; sys.path[:0] = [{str(ROOT)!r}, {str(tmp_path)!r}]", "chatty")
    assert (done.returncode, done.stderr) == (141, b"")


def test_help_that_nobody_reads() -> None:
    done = _run_unread("import sys; sys.argv = ['train', '--help']", "train.cli")
    assert (done.returncode, done.stderr) == (141, b"")


def test_another_pipe_that_breaks_is_a_defect_of_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_: str) -> None:
        raise BrokenPipeError("of a worker")

    monkeypatch.setattr(command.importlib, "import_module", broken)
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE, text=True) as read, monkeypatch.context() as context:
        context.setattr(sys, "stdout", read.stdin)
        with pytest.raises(BrokenPipeError, match="of a worker"):
            run_command("train.cli")


def _run_unread(before: str, module: str) -> "subprocess.CompletedProcess[bytes]":
    """Run a room's module, its standard output a pipe whose reader is gone."""
    script = f"{before}\nfrom contract.command import run_command\nrun_command({module!r})"
    with subprocess.Popen(
        [sys.executable, "-c", script], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as p:
        assert p.stdout is not None
        assert p.stderr is not None
        p.stdout.close()
        stderr = p.stderr.read()
    return subprocess.CompletedProcess([], p.returncode, b"", stderr)


@pytest.mark.parametrize(
    ("body", "status", "said"),
    [
        ("raise UserError('x.csv: a rule\\n  of two lines')", 2, "error: x.csv: a rule of two lines\n"),
        (r"raise UserError('\x1b[2J\x9b1m.csv: a rule')", 2, "error: \ufffd[2J\ufffd1m.csv: a rule\n"),
        ("import no_such_package.part", 2, "error: the package 'no_such_package' is not installed: run `make setup`\n"),
        ("raise KeyboardInterrupt", 130, "interrupted\n"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGTERM)", 143, "terminated\n"),
        (f"open({'a' * 300!r})", 2, f"error: {'a' * 300}: File name too long\n"),
    ],
)
def test_what_is_no_defect_ends_in_one_line(
    body: str,
    status: int,
    said: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    text = f"from contract.errors import UserError\n\ndef main():\n    {body}\n"
    (tmp_path / f"ends_with_{status}.py").write_text(text, encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    sys.modules.pop(f"ends_with_{status}", None)
    with pytest.raises(SystemExit) as end:
        run_command(f"ends_with_{status}")
    assert (end.value.code, capsys.readouterr()) == (status, ("", said))


def test_a_missing_module_of_ours_is_no_package_to_install() -> None:
    with pytest.raises(ModuleNotFoundError, match=r"contract\.nothing"):
        run_command("contract.nothing")


def test_an_error_of_the_system_that_names_no_file_is_a_defect_of_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    def failed(_: str) -> None:
        raise OSError(errno.EINVAL, "Invalid argument")

    monkeypatch.setattr(command.importlib, "import_module", failed)
    with pytest.raises(OSError, match="Invalid argument"):
        run_command("train.cli")


@pytest.mark.parametrize(("encoding", "name"), [("ascii", "Zellkern-\u00df"), ("utf-8:strict", "Erg\udce4nzung")])
def test_a_name_that_the_terminal_has_no_letters_for_is_printed_escaped(
    encoding: str, name: str, tmp_path: Path
) -> None:
    (tmp_path / "chatty.py").write_text(f"def main():\n    print({name!a})\n", encoding="utf-8")
    script = f"import sys; sys.path[:0] = [{str(ROOT)!r}, {str(tmp_path)!r}]\n"
    script += "from contract.command import run_command\nrun_command('chatty')"
    with_encoding = os.environ | {"PYTHONIOENCODING": encoding}
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, env=with_encoding, check=False)
    escaped = name.encode("ascii", "backslashreplace")
    assert (done.returncode, done.stdout, done.stderr) == (0, escaped + b"\n", b"")


FULL = pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is always full here")


@FULL
@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize("body", [LONG, SHORT, RICH])
def test_output_that_cannot_be_written_is_one_line(body: str, unbuffered: str, tmp_path: Path) -> None:
    done = _run_redirected(">/dev/full", body, tmp_path, PYTHONUNBUFFERED=unbuffered)
    said = b"error: standard output: cannot be written: No space left on device\n"
    assert (done.returncode, done.stderr) == (2, said)


@FULL
def test_another_disk_that_is_full_is_not_the_output(tmp_path: Path) -> None:
    done = _run_redirected("", "open('/dev/full', 'w', buffering=1).write('x\\n')", tmp_path)
    assert done.returncode == 1
    assert done.stderr.endswith(b"OSError: [Errno 28] No space left on device\n")


@pytest.mark.parametrize("closed", [">&-", "2>&-", "<&- >&- 2>&-"])
def test_output_that_is_closed_reaches_no_file_that_is_opened_later(closed: str, tmp_path: Path) -> None:
    body = f"file = open({str(tmp_path / 'published')!r}, 'w'); os.write(1, b'x'); os.write(2, b'x'); print('x')"
    done = _run_redirected(closed, f"{body}; print('x', file=sys.stderr); file.write('whole')", tmp_path)
    assert (done.returncode, (tmp_path / "published").read_text()) == (0, "whole")


@pytest.mark.parametrize("lost", ["2>&-", pytest.param("2>/dev/full", marks=FULL)])
def test_a_mistake_that_cannot_be_told_has_its_status(lost: str, tmp_path: Path) -> None:
    body = "from contract.errors import UserError; raise UserError('x.csv: a rule')"
    done = _run_redirected(lost, body, tmp_path)
    assert (done.returncode, done.stdout) == (2, b"")


def test_ctrl_c_ends_an_import_that_would_swallow_it(tmp_path: Path) -> None:
    text = "import os, signal\n\ntry:\n    os.kill(os.getpid(), signal.SIGINT)\nexcept BaseException:\n    pass\n"
    (tmp_path / "swallows.py").write_text(text, encoding="utf-8")
    done = _run_redirected("", "from contract.command import imported; imported('swallows')", tmp_path)
    assert (done.returncode, done.stderr) == (130, b"interrupted\n")


def test_ctrl_c_that_is_ignored_stays_so_during_an_import(tmp_path: Path) -> None:
    (tmp_path / "goes_on.py").write_text("import os, signal; os.kill(os.getpid(), signal.SIGINT)\n", encoding="utf-8")
    body = "signal.signal(signal.SIGINT, signal.SIG_IGN); imported('goes_on'); print('done')"
    done = _run_redirected("", f"import signal; from contract.command import imported; {body}", tmp_path)
    assert (done.returncode, done.stdout) == (0, b"done\n")


@pytest.mark.parametrize(
    "end", ["raise KeyboardInterrupt", "sys.exit('interrupted')", "print('interrupted', file=sys.stderr)"]
)
def test_ctrl_c_while_a_command_shuts_down_adds_no_word(end: str, tmp_path: Path) -> None:
    body = f"import atexit, signal; atexit.register(lambda: os.kill(os.getpid(), signal.SIGINT)); {end}"
    done = _run_redirected("", body, tmp_path)
    assert (done.returncode, done.stderr) == (-signal.SIGINT, b"interrupted\n")


def test_sigterm_removes_what_is_half_written_and_is_no_longer_held_back_then(tmp_path: Path) -> None:
    body = "import signal; from pathlib import Path; from contract.publish import publishing\n    "
    body += f"with publishing(Path({str(tmp_path / 'out' / 'file')!r})): os.kill(os.getpid(), signal.SIGTERM)"
    done = _run_redirected("", body, tmp_path)
    assert (done.returncode, done.stderr, [*(tmp_path / "out").iterdir()]) == (143, b"terminated\n", [])
    body = "import atexit, signal; atexit.register(lambda: os.kill(os.getpid(), signal.SIGTERM))"
    assert _run_redirected("", body, tmp_path).returncode == -signal.SIGTERM


def test_sigterm_that_is_ignored_stays_so(monkeypatch: pytest.MonkeyPatch) -> None:
    reached: list[bool] = []

    def main() -> None:
        os.kill(os.getpid(), signal.SIGTERM)
        reached.append(True)

    monkeypatch.setattr(command, "imported", lambda _: SimpleNamespace(main=main))
    before = signal.signal(signal.SIGTERM, signal.SIG_IGN)
    try:
        run_command("ignores")
        assert (reached, signal.getsignal(signal.SIGTERM)) == ([True], signal.SIG_IGN)
    finally:
        signal.signal(signal.SIGTERM, before)


def _run_redirected(how: str, body: str, folder: Path, **variables: str) -> "subprocess.CompletedProcess[bytes]":
    """Run a module of one line as a room's, its standard streams as the shell redirects them."""
    (folder / "redirected.py").write_text(f"import os\nimport sys\n\n\ndef main():\n    {body}\n", encoding="utf-8")
    script = f"import sys; sys.path[:0] = [{str(ROOT)!r}, {str(folder)!r}]\n"
    script += "from contract.command import run_command\nrun_command('redirected')"
    command = ["sh", "-c", f'exec "$@" {how}', "sh", sys.executable, "-c", script]
    return subprocess.run(command, capture_output=True, check=False, env=os.environ | variables)
