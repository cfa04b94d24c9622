"""The whole command ``python -m build_shards build`` on a dataset of any size: seconds, and memory of every process."""

import os
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from build_shards.dataset import Cell

ROOT = Path(__file__).resolve().parent.parent
POLL = 0.02  # seconds


@dataclass(frozen=True)
class WholeBuild:
    """One run of the command."""

    cells: int
    seconds: float  # wall time from the shell's point of view: imports, fitting, writing, publishing
    parent: float  # peak resident memory in MB; 0 where the system has no /proc
    workers: tuple[float, ...]  # of every worker process, in MB


def enlarge(cells: Sequence[Cell], count: int, folder: Path) -> Path:
    """A dataset of ``count`` cells in the course layout: hard links to ``cells``, again and again.

    Where links cannot be made (another file system) ``OSError``. Labels that are hidden become 0: only bytes matter.
    """
    (folder / "cells").mkdir(parents=True)
    lines = []
    for i in range(count):
        cell = cells[i % len(cells)]
        os.link(cell.file, folder / "cells" / f"{i}{cell.file.suffix}")
        lines.append(f"./cells/{i}{cell.file.suffix},{cell.label or 0}")
    cut = max(2, count // 10)
    for name, rows in (("train", lines[cut:]), ("valid", lines[: cut - 1])):
        (folder / f"{name}.csv").write_text("\n".join(["Path,label", *rows]) + "\n")
    (folder / "resnet_18_test.csv").write_text(f"Path\n{lines[cut - 1].split(',')[0]}\n")
    return folder


def evict(cells: Sequence[Cell]) -> bool:
    """Take the files out of the system's file cache; false where the system cannot."""
    if not hasattr(os, "posix_fadvise"):
        return False
    os.sync()
    for cell in cells:
        number = os.open(cell.file, os.O_RDONLY)
        os.posix_fadvise(number, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(number)
    return True


def run(data: Path, cells: int, stain: str, workers: int, shards: Path) -> WholeBuild:
    """Run the command and watch its processes."""
    command = [sys.executable, "-m", "build_shards", "build", "--data", str(data), "--shards", str(shards)]
    began = time.perf_counter()
    process = subprocess.Popen(
        [*command, "--stain", stain, "--workers", str(workers)],
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    peaks: dict[int, float] = {}
    while process.poll() is None:
        for pid in (process.pid, *_children(process.pid)):
            peaks[pid] = max(peaks.get(pid, 0.0), _peak(pid))
        time.sleep(POLL)
    seconds = time.perf_counter() - began
    if process.returncode:
        raise RuntimeError(process.stderr.read() if process.stderr else "")
    parent = peaks.pop(process.pid, 0.0)
    return WholeBuild(cells, seconds, parent, tuple(sorted(peaks.values(), reverse=True)[:workers]))


def _children(pid: int) -> list[int]:
    try:
        tasks = list(Path(f"/proc/{pid}/task").iterdir())
        return [int(child) for task in tasks for child in (task / "children").read_text().split()]
    except OSError:
        return []


def _peak(pid: int) -> float:
    """The system's own high-water mark of resident memory, in MB."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0.0
    return next((int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM")), 0.0)
