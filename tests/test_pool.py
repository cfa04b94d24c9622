"""Building loads no torch: neither in the command's process nor in its workers."""

import importlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

from build_shards.pool import WorkerPool
from build_shards.torchless import import_webdataset

ROOT = Path(__file__).resolve().parent.parent


def run(code: str) -> list[str]:
    command = [sys.executable, "-c", code]
    return subprocess.run(command, cwd=ROOT, capture_output=True, check=True, text=True).stdout.split()


def loaded(_: int) -> tuple[bool, bool]:
    """What a worker has imported once it can write shards."""
    importlib.import_module("build_shards.shard_writer")
    return "webdataset" in sys.modules, "torch" in sys.modules


def test_the_command_imports_everything_it_builds_with_but_torch():
    prepared = "from build_shards.torchless import import_webdataset; import_webdataset(); import sys; "
    assert run(prepared + "import build_shards.cli; print('webdataset' in sys.modules, 'torch' in sys.modules)") == [
        "True",
        "False",
    ]


def test_a_worker_loads_webdataset_and_no_torch():
    with WorkerPool(2, import_webdataset) as pool:
        assert list(pool.map_in_order(loaded, [0, 1])) == [(True, False)] * 2


def test_a_workers_blas_has_one_thread(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("OPENBLAS_NUM_THREADS", "2")
    with WorkerPool(2) as pool:
        assert list(pool.map_in_order(os.getenv, ["OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS"])) == ["1", "1"]


def test_torch_can_be_imported_afterwards():
    assert run("from build_shards.torchless import import_webdataset; import_webdataset(); import torch; print(1)") == [
        "1"
    ]
