"""Building loads no torch: neither in the command's process nor in its workers, whose BLAS has one thread."""

import importlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

from build_shards.pool import WorkerPool, map_in_order
from contract.command import Terminated

ROOT = Path(__file__).resolve().parent.parent
HEAVY = ("torch", "webdataset")  # webdataset imports torch


def loaded(_: int) -> list[str]:
    """What of it a worker has imported once it can write shards."""
    importlib.import_module("build_shards.shard_writer")
    return [name for name in HEAVY if name in sys.modules]


def pid(_: int) -> int:
    return os.getpid()


def test_the_command_imports_everything_it_builds_with_but_torch():
    code = f"import sys, build_shards.cli; print([name for name in {HEAVY} if name in sys.modules])"
    command = [sys.executable, "-c", code]
    assert subprocess.run(command, cwd=ROOT, capture_output=True, check=True, text=True).stdout == "[]\n"


def test_a_worker_loads_no_torch():
    with WorkerPool(2) as pool:
        assert list(pool.map_in_order(loaded, [0, 1])) == [[], []]


def test_a_workers_blas_has_one_thread(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("OPENBLAS_NUM_THREADS", "2")
    with WorkerPool(2) as pool:
        assert list(pool.map_in_order(os.getenv, ["OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS"])) == ["1", "1"]


def assert_interrupted(body: str, folder: Path, status: int = 130, line: str = "interrupted") -> None:
    """Run a module of this text as a room's command, in a session of its own, which a signal ends in its one line."""
    (folder / "stopped.py").write_text(body, encoding="utf-8")
    paths = f"import sys; sys.path[:0] = [{str(ROOT)!r}, {str(folder)!r}]"
    code = f"{paths}; from contract.command import run_command; run_command('stopped')"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False, start_new_session=True
    )
    assert (done.returncode, done.stderr) == (status, f"{line}\n")


def test_ctrl_c_is_one_line_whatever_the_workers_are_at(tmp_path: Path):
    # As a terminal sends it, to every process: the first worker that is ready does, the other one has yet to import.
    body = "import os, signal\n\nfrom build_shards.pool import map_in_order\n\n\ndef work(number):\n    "
    body += "if number == 0:\n        os.killpg(0, signal.SIGINT)\n\n\n"
    body += "def main():\n    list(map_in_order(work, range(9), 2))\n"
    assert_interrupted(body, tmp_path)


@pytest.mark.parametrize("kill", ["os.kill(os.getppid()", "os.killpg(0"])
def test_sigterm_is_one_line_and_does_not_wait_for_what_the_workers_are_at(kill: str, tmp_path: Path):
    body = "import os, signal, time\n\nfrom build_shards.pool import map_in_order\n\n\ndef work(number):\n    "
    body += f"if number == 0:\n        {kill}, signal.SIGTERM)\n    time.sleep(120)\n\n\n"
    body += "def main():\n    list(map_in_order(work, range(40), 2))  # more than a queue holds\n"
    assert_interrupted(body, tmp_path, 143, "terminated")


def test_a_second_ctrl_c_does_not_wait_for_what_the_workers_are_at(tmp_path: Path):
    body = "import os, signal, time\n\nfrom build_shards.pool import map_in_order\n\n\ndef work(number):\n    "
    body += "for _ in range(2 if number == 0 else 0):\n        os.kill(os.getppid(), signal.SIGINT)\n        "
    body += "time.sleep(1)\n    time.sleep(120)\n\n\n"
    body += "def main():\n    list(map_in_order(work, range(2), 2))\n"
    assert_interrupted(body, tmp_path)


def test_a_second_ctrl_c_does_not_wait_for_the_rest_of_a_result(tmp_path: Path):
    body = "import os, signal, time\nfrom multiprocessing.connection import Connection\n\n"
    body += "from build_shards.pool import map_in_order\n\n\ndef send_half(self, data):\n    "
    body += "os.write(self.fileno(), data[: len(data) // 2])\n    os.kill(os.getppid(), signal.SIGINT)\n    "
    body += "time.sleep(120)\n\n\ndef work(job):\n    if not job[0]:\n        Connection._send = send_half\n        "
    body += "os.kill(os.getppid(), signal.SIGINT)\n        time.sleep(1)\n    else:\n        time.sleep(120)\n\n\n"
    body += "def main():\n    jobs = [(n, bytes(1 << 20)) for n in range(9)]  # more than a pipe holds\n    "
    body += "list(map_in_order(work, jobs, 2))\n"
    assert_interrupted(body, tmp_path)


def test_the_end_of_python_does_not_meet_a_pool_that_is_still_ending(tmp_path: Path):
    body = "import os, signal, time\nfrom concurrent.futures import process\n\n"
    body += "from build_shards.pool import map_in_order\n\nclose = process._ThreadWakeup.close\n\n\n"
    body += "def close_late(self):\n    time.sleep(1)\n    close(self)\n\n\n"
    body += "def wake_slowly(self):\n    if not self._closed:\n        time.sleep(2 * process._global_shutdown)\n    "
    body += "    self._writer.send_bytes(b'')\n\n\n"
    body += "def work(number):\n    os.kill(os.getppid(), signal.SIGINT)\n    time.sleep(120)\n\n\n"
    body += "def main():\n    process._ThreadWakeup.close = close_late\n    "
    body += "process._ThreadWakeup.wakeup = wake_slowly\n    list(map_in_order(work, range(2), 2))\n"
    assert_interrupted(body, tmp_path)


def test_a_pool_that_is_told_to_end_before_its_first_work_ends():
    with pytest.raises(Terminated), WorkerPool(2):
        raise Terminated


@pytest.mark.parametrize("workers", [0, 1])
def test_no_worker_and_one_are_this_very_process(workers: int):
    with WorkerPool(workers) as pool:
        assert {*pool.map_in_order(pid, range(3))} == {*map_in_order(pid, range(3), workers)} == {os.getpid()}


def test_workers_that_cannot_be_started_are_one_line():
    body = "import resource\nfrom build_shards.pool import map_in_order\n"
    body += "resource.setrlimit(resource.RLIMIT_NOFILE, (8, 8))\nlist(map_in_order(abs, [0, 1], 2))\n"
    command = [sys.executable, "-c", f"import sys; sys.path.insert(0, {str(ROOT)!r})\n{body}"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    said = "UserError: --workers 2: cannot be started: Too many open files: choose fewer\n"
    assert (done.returncode, done.stderr.endswith(said)) == (1, True), done.stderr
