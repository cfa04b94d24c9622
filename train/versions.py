"""What a run was made with: Python, packages, and the project's commit."""

import platform
import subprocess
from importlib.metadata import version
from pathlib import Path

import torch

PACKAGES = ("torch", "numpy", "opencv-python", "webdataset")


def versions() -> dict[str, str]:
    """Versions by name; ``commit`` is "unknown" outside a git checkout and ends in "+" where files were changed."""
    found = {"python": platform.python_version(), **{package: version(package) for package in PACKAGES}}
    if torch.cuda.is_available():
        found["gpu"] = torch.cuda.get_device_name()
    return {**found, "commit": _commit()}


def _commit() -> str:
    command = ["git", "describe", "--always", "--exclude=*", "--abbrev=12", "--dirty=+"]
    try:
        done = subprocess.run(command, cwd=Path(__file__).parent, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return done.stdout.strip()
