"""``make`` as a user starts it, for tests of the Makefile; nothing is installed."""

import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def make(*arguments: str) -> subprocess.CompletedProcess[str]:
    # -o: the set-up is taken as done, so that a test never starts an installation.
    command = ["make", "-s", "-o", ".venv/.installed", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def given(tmp_path: Path, target: str, *arguments: str) -> list[str]:
    """The words that the target's command is given, from a stub in the place of Python."""
    stub = tmp_path / "python"
    stub.write_text('#!/bin/sh\nprintf "%s\\n" "$@"\n')
    stub.chmod(0o755)
    done = make(target, *arguments, f"PY={stub}")
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def after(words: list[str], flag: str) -> list[str]:
    """The words after ``flag``, up to the next one that begins with a dash."""
    rest = words[words.index(flag) + 1 :]
    return rest[: next((i for i, word in enumerate(rest) if word.startswith("-")), len(rest))]


def trained(folder: Path, *archs: str) -> str:
    """Networks that are trained and, after that, exported; returns ``ARTIFACTS=...``."""
    for arch in archs:
        (folder / arch).mkdir(parents=True)
        for name in ("best.pt", "model.onnx"):
            (folder / arch / name).write_text("earlier")
    return f"ARTIFACTS={folder}"
