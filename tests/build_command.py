"""``python -m build_shards`` as a user starts it, or inside the process of a test: starting Python takes seconds."""

import subprocess
import sys
from pathlib import Path

import pytest

from contract.command import run_command

ROOT = Path(__file__).resolve().parent.parent


def start(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "build_shards", *map(str, arguments)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)


def assert_one_line(stderr: str) -> None:
    assert stderr.count("\n") == 1
    assert stderr.startswith("error: ")


def run_here(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> int:
    monkeypatch.setattr(sys, "argv", ["build_shards", *map(str, arguments)])
    try:
        run_command("build_shards.cli")
    except SystemExit as end:
        return int(end.code or 0)
    return 0
