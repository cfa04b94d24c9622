"""``python -m export`` inside the process of a test."""

from pathlib import Path

import pytest

import export.cli


def run_export(artifacts: Path, shards: Path, arch: str = "all", *flags: str) -> None:
    """``python -m export`` inside this process, float32 alone unless ``flags`` say more."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        arguments = ["export", "--arch", arch, "--artifacts", str(artifacts), "--shards", str(shards)]
        arguments += flags or ("--no-int8", "--no-raw")
        monkeypatch.setattr("sys.argv", arguments)
        export.cli.main()
