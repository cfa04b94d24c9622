"""Seconds from the command to a page whose networks answer: `python -m benchmarks.web_start --artifacts artifacts`.

Each start is a fresh process; the first, which brings the files into the system's cache, is not counted. Beside it
stands the least that a peer needs: a Python process that opens the same files with onnxruntime one after another.
"""

import subprocess
import sys
import time
import urllib.request
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import numpy as np
import tyro

from benchmarks.counts import refuse_counts
from contract.command import run_command
from contract.errors import UserError

ROOT = Path(__file__).resolve().parent.parent
ARCHS = ("resnet18", "resnet50", "resnet152")
OPEN = """
import sys, onnxruntime
opened = [onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"]) for path in sys.argv[1:]]
"""


@dataclass(frozen=True)
class Benchmark:
    """Time the web page's start."""

    artifacts: Path = Path("artifacts")  # folder of the exported networks
    shards: Path = Path("shards")  # of the training cells
    int8: bool = False  # take model.int8.onnx
    n: int = 5  # starts that are counted


def main() -> None:
    """Print median and range of both, and their ratio."""
    command = tyro.cli(Benchmark, description=__doc__)
    refuse_counts(command)
    name = "model.int8.onnx" if command.int8 else "model.onnx"
    files = [str(path) for arch in ARCHS if (path := command.artifacts / arch / name).is_file()]
    if not files:
        raise UserError(f"{command.artifacts}: no exported network there (ARCH/{name})")
    starts, plain = [], []
    for _ in range(command.n + 1):
        starts.append(_start(command))
        began = time.perf_counter()
        subprocess.run([sys.executable, "-c", OPEN, *files], check=True)
        plain.append(time.perf_counter() - began)
    ours, peer = np.array(starts[1:]), np.array(plain[1:])
    print(f"networks: {len(files)}, {name}, n = {command.n}, onnxruntime {version('onnxruntime-gpu')}")
    for label, seconds in (("demo-web, page and networks ready", ours), ("onnxruntime alone, sessions open", peer)):
        print(f"{label:36} median {np.median(seconds):5.2f} s  ({seconds.min():.2f} to {seconds.max():.2f})")
    print(f"ratio {np.median(ours) / np.median(peer):.2f}")


def _start(command: Benchmark) -> float:
    line = [sys.executable, "-m", "evaluate", "web", "--port", "0", "--artifacts", str(command.artifacts.resolve())]
    line += ["--shards", str(command.shards.resolve()), "--device", "cpu", *(["--int8"] * command.int8)]
    began = time.perf_counter()
    with subprocess.Popen(line, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            address = process.stdout.readline().split(maxsplit=1)[0]
            with urllib.request.urlopen(f"{address}networks", timeout=120) as answer:
                answer.read()
            return time.perf_counter() - began
        finally:
            process.terminate()  # a page whose networks did not answer would be waited for without end


if __name__ == "__main__":
    run_command("benchmarks.web_start")
