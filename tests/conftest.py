"""What several test files need: a small synthetic dataset, shards built of it, and a 24-bit BMP on demand."""

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from build_shards.dataset import read_dataset
from build_shards.shards import build
from build_shards.synthetic import write_synthetic
from contract.manifest import Manifest, load_manifest
from contract.recipe import Recipe

WriteImage = Callable[[Path, np.ndarray], Path]


@pytest.fixture(scope="session")
def synthetic_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """60 drawn cells in the course layout: 36 train, 12 valid, 12 test. Read only."""
    folder = tmp_path_factory.mktemp("synthetic") / "data"
    write_synthetic(folder, cells=60, seed=0)
    return folder


@pytest.fixture(scope="session")
def shards(synthetic_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished build of ``synthetic_data`` at 40 px. Read only: copy it before damaging it."""
    folder = tmp_path_factory.mktemp("built") / "shards"
    build(read_dataset(synthetic_data, "subject", 0), Recipe(size=40), folder, workers=1, force=False)
    return folder


@pytest.fixture(scope="session")
def manifest(shards: Path) -> Manifest:
    """The manifest of ``shards``."""
    return load_manifest(shards)


@pytest.fixture(scope="session")
def write_image() -> WriteImage:
    """``write_image(path, rgb)`` writes uint8 RGB pixels as the path's suffix says (.bmp: 24 bit) and returns it."""

    def write(path: Path, rgb: np.ndarray) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        assert cv2.imwrite(str(path), np.ascontiguousarray(rgb[:, :, ::-1]))
        return path

    return write
