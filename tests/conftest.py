"""What several test files need: a small synthetic dataset, shards built of it, and a 24-bit BMP on demand."""

import dataclasses
import os
import shutil
import signal
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch: small tensors lose time to more threads

from build_shards.dataset import read_dataset
from build_shards.shards import build
from build_shards.synthetic import write_synthetic
from contract.manifest import Manifest, load_manifest
from contract.model_card import FORMAT, METADATA_KEY, ModelCard
from contract.model_file import DIGEST_KEY, UNSEALED, seal
from contract.recipe import Recipe
from contract.shard_reader import SplitReader

WriteImage = Callable[[Path, np.ndarray], Path]
WriteCourse = Callable[..., Path]


@pytest.fixture(autouse=True)
def _ctrl_c() -> Iterator[None]:
    """A command that a test runs in this very process leaves Ctrl-C to the system: the next test has Python's again."""
    before = signal.getsignal(signal.SIGINT)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that other users reach and write; pytest's own are closed to them."""
    folder = Path(tempfile.mkdtemp(prefix="leukoshard-"))
    folder.chmod(0o777)
    yield folder
    for path in folder.rglob("*"):
        path.chmod(0o755)
    shutil.rmtree(folder)


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


@pytest.fixture
def reader(shards: Path, manifest: Manifest) -> SplitReader:
    """The training split of ``shards``."""
    return SplitReader(shards, manifest, "train")


@pytest.fixture(scope="module")
def small_networks() -> Iterator[None]:
    """Runs of this file train the small network, on one thread."""
    from small_network import small_runs  # imports torch, which most tests' workers do without

    with small_runs():
        yield


@pytest.fixture(scope="session")
def finished(shards: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The artifacts of an uninterrupted run of the small network, two epochs. Read only: copy it before changing it."""
    from small_network import config_of, small_runs  # imports torch, which most tests' workers do without

    from train.loop import train

    artifacts = tmp_path_factory.mktemp("finished")
    with small_runs():
        train(config_of(shards, artifacts))
    return artifacts


@pytest.fixture(scope="session")
def write_image() -> WriteImage:
    """``write_image(path, rgb)`` writes uint8 RGB pixels as the path's suffix says (.bmp: 24 bit) and returns it."""

    def write(path: Path, rgb: np.ndarray) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        assert cv2.imwrite(str(path), np.ascontiguousarray(rgb[:, :, ::-1]))
        return path

    return write


@pytest.fixture
def write_course(tmp_path: Path, write_image: WriteImage) -> WriteCourse:
    """``write_course()`` makes a folder of 8 small cells, 0.bmp to 7.bmp, and CSVs of 0 to 5; 6 and 7 are to spare.

    ``write_course(train="...")`` gives train.csv another text; any keyword ``name`` is the text of name.csv.
    """

    def write(**texts: str) -> Path:
        folder = tmp_path / "data"
        for number in range(8):
            cell = np.zeros((40, 44, 3), np.uint8)
            cell[8:30, 10:32] = (90 + 10 * number, 40, 120)
            write_image(folder / "cells" / f"{number}.bmp", cell)
        given = {
            "train": "Path,label\n./cells/0.bmp,0\n./cells/1.bmp,1\n./cells/2.bmp,1\n",
            "valid": "Path,label\n./cells/3.bmp,0\n./cells/4.bmp,1\n",
            "resnet_18_test": "Path\n./cells/5.bmp\n",
        }
        for name, text in (given | texts).items():
            (folder / f"{name}.csv").write_text(text, encoding="utf-8")
        return folder

    return write


@pytest.fixture(scope="session")
def card(manifest: Manifest) -> ModelCard:
    """The card of a ResNet18 that fits ``shards``."""
    return ModelCard(
        format=FORMAT,
        arch="resnet18",
        classes=manifest.classes,
        dataset=manifest.dataset,
        recipe=manifest.recipe,
        mean=manifest.pixels.mean,
        std=manifest.pixels.std,
        manifest_digest=manifest.digest,
        seed=0,
        epoch=1,
        training={"lr": 0.05},
        versions={"torch": "any"},
        metrics={"valid_accuracy": 0.5},
    )


@pytest.fixture(scope="session")
def exported(card: ModelCard, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An artifacts folder with an exported network, small and called resnet18, that fits ``shards``. Read only."""
    import torch
    from exported_file import to_onnx
    from narrow_network import NarrowNetwork

    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("exported")
    (folder / "resnet18").mkdir()
    (folder / "resnet18" / "model.onnx").write_bytes(to_onnx(NarrowNetwork().eval(), card))
    return folder


@pytest.fixture(scope="session")
def three(exported: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An artifacts folder with three networks: that of ``exported`` under the names of all three. Read only."""
    import onnx

    folder = tmp_path_factory.mktemp("three")
    for arch in ("resnet18", "resnet50", "resnet152"):
        model = onnx.load(exported / "resnet18" / "model.onnx")
        values = {prop.key: prop for prop in model.metadata_props}
        entry = values[METADATA_KEY]
        entry.value = dataclasses.replace(ModelCard.from_json(entry.value), arch=arch).to_json()
        values[DIGEST_KEY].value = UNSEALED
        (folder / arch).mkdir()
        (folder / arch / "model.onnx").write_bytes(seal(model.SerializeToString()))
    return folder
