"""How a command ends: where nobody reads its output on, and where a pipe of our own breaks."""

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from contract import command
from contract.command import run_command

ROOT = Path(__file__).parents[1]
LONG, SHORT = "print('x' * 100_000)", "print('x')"


@pytest.mark.parametrize("last", ["", "; sys.exit(0)", "; sys.exit(3)"])
@pytest.mark.parametrize("body", [LONG, SHORT])
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
        ("import no_such_package.part", 2, "error: the package 'no_such_package' is not installed: run `make setup`\n"),
        ("raise KeyboardInterrupt", 130, "interrupted\n"),
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


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device here is always full")
@pytest.mark.parametrize("body", [LONG, SHORT])
def test_output_that_finds_no_room_is_one_line(body: str, tmp_path: Path) -> None:
    (tmp_path / "chatty.py").write_text(f"def main():\n    {body}\n", encoding="utf-8")
    script = f"import sys; sys.path[:0] = [{str(ROOT)!r}, {str(tmp_path)!r}]\n"
    script += "from contract.command import run_command\nrun_command('chatty')"
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run([sys.executable, "-c", script], stdout=full, stderr=subprocess.PIPE, check=False)
    assert (done.returncode, done.stderr) == (2, b"error: output: No space left on device\n")


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
