"""What a run was made with: Python, packages, and the project's commit."""

import platform
import subprocess
from importlib.metadata import version
from pathlib import Path

import torch

PACKAGES = ("torch", "numpy", "opencv-python", "webdataset")


def versions(device: torch.device | None = None) -> dict[str, str]:
    """Versions by name, and the name of the GPU where ``device``, which trains, is one.

    ``commit`` is "unknown" outside a git checkout and ends in "+" where files were changed.
    """
    found = {"python": platform.python_version(), **{package: version(package) for package in PACKAGES}}
    if device is not None and device.type == "cuda":
        found["gpu"] = torch.cuda.get_device_name(device)
    return {**found, "commit": _commit()}


def _commit() -> str:
    command = ["git", "describe", "--always", "--exclude=*", "--abbrev=12", "--dirty=+"]
    try:
        done = subprocess.run(command, cwd=Path(__file__).parent, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return done.stdout.strip()
