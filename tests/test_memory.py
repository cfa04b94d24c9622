"""What a step frees is there for the next one."""

import platform
import subprocess
import sys
from pathlib import Path

import pytest

import train.cli
from contract.errors import UserError

STEPS = """
import resource, sys
import torch
from train.memory import keep_freed_memory

if sys.argv[1] == "kept":
    assert keep_freed_memory()

def steps(n: int) -> int:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(n):
        tensors = [torch.ones(size << 20, dtype=torch.uint8) for size in (40, 70, 200, 10)]
        del tensors
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

steps(10)
print(steps(3))
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another C library than glibc has no such setting")
def test_later_steps_ask_for_no_page_again() -> None:
    faults = {
        how: int(subprocess.run([sys.executable, "-c", STEPS, how], check=True, capture_output=True, text=True).stdout)
        for how in ("kept", "given back")
    }
    assert faults["given back"] > 400  # of 2 MB each, where the system has pages of that size; else of 4 kB
    assert faults["kept"] < faults["given back"] / 10


def test_the_command_keeps_what_it_frees(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    called: list[bool] = []
    monkeypatch.setattr(train.cli, "keep_freed_memory", lambda: called.append(True))
    monkeypatch.setattr(sys, "argv", ["train", "--shards", str(tmp_path)])
    with pytest.raises(UserError, match="build the shards first"):
        train.cli.main()
    assert called
