"""Shared memory of the loader: what does not fit is one line before anything starts, and all of it is given back."""

import os
import shutil
from multiprocessing import active_children
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from contract.errors import UserError
from contract.shard_reader import SplitReader
from train import shared_array
from train.data import open_cache, train_batches


def test_a_shared_memory_too_small_is_one_line_before_anything_starts(
    reader: SplitReader, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shared_array, "room", lambda: 100_000)
    others = set(active_children())
    with pytest.raises(UserError, match=r"--cache ram for the split 'train' \(36 samples\) needs 0\.2 MiB .* --cache"):
        open_cache("ram", reader, torch.device("cpu"), 0)
    with pytest.raises(UserError, match=r"the loader \(5 batches in flight\) needs .* fewer --workers"):
        train_batches(reader, 8, 0, 1, 2, pin=False)
    assert set(active_children()) == others


def test_room_is_what_the_system_has() -> None:
    free = shared_array.room()
    if not shared_array.SHARED_MEMORY.is_dir():
        assert free is None
    else:
        assert free is not None
        assert 0 < free <= shutil.disk_usage(shared_array.SHARED_MEMORY).free


def test_shared_memory_is_given_back() -> None:
    def mapped() -> int:
        return Path("/proc/self/maps").read_text().count("/dev/shm/pym-")

    if not Path("/dev/shm").is_dir():
        pytest.skip("shared memory is elsewhere here")
    before, files = mapped(), set(os.listdir("/dev/shm"))
    cache = shared_array.SharedArray((64, 2**20), np.uint8, "a test", "")
    assert mapped() == before + 1
    assert set(os.listdir("/dev/shm")) == files  # it has no name: a killed process leaves none
    del cache
    assert mapped() == before


def test_memory_that_other_programs_hold_is_no_room(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    if not shared_array.SHARED_MEMORY.is_dir():
        pytest.skip("shared memory is elsewhere here")
    (tmp_path / "meminfo").write_text("MemTotal:  900 kB\nMemFree:  1 kB\nMemAvailable:  8 kB\n")
    monkeypatch.setattr(shared_array, "MEMORY", tmp_path / "meminfo")
    assert shared_array.room() == 8192


def test_room_is_what_a_user_may_still_take(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    if not shared_array.SHARED_MEMORY.is_dir():
        pytest.skip("shared memory is elsewhere here")
    blocks = SimpleNamespace(f_frsize=4096, f_blocks=10, f_bfree=5, f_bavail=3)
    monkeypatch.setattr(shared_array, "MEMORY", tmp_path / "no such file")
    monkeypatch.setattr(shared_array.os, "statvfs", lambda _: blocks)
    assert shared_array.room() == 3 * 4096
