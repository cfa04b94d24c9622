"""Draw a small synthetic dataset of cells in the course layout, so that everything runs without a download.

The cells look like the real ones (a stained cell on exact black, blasts larger with a nucleus that fills them) and
prove nothing about leukemia: the dataset's name, its paths and so every output made from it say "synthetic".
"""

import json
import shutil
import tempfile
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from contract.errors import UserError
from contract.seed import check_seed

Image = NDArray[np.uint8]
NAME = "synthetic cells (drawn, not real)"
SIDE = 450  # px, as the archive's images
SPLITS = {"train": 0.6, "valid": 0.2, "test": 0.2}
SUBJECTS = 12  # of each class
NETWORKS = ("resnet_18", "resnet_50", "resnet_152")

# Optical densities per RGB channel of a nucleus (haematoxylin-like) and a cytoplasm (eosin-like).
NUCLEUS = np.array([0.65, 0.85, 0.30])
CYTOPLASM = np.array([0.20, 0.45, 0.15])


def write_synthetic(folder: Path, cells: int, seed: int) -> None:
    """Draw ``cells`` cells and their CSVs into ``folder``, which must not exist or be empty.

    The same ``seed`` gives the same bytes. Raises ``UserError`` for fewer than 20 cells, a folder in use, and a disk
    that is full.
    """
    check_seed(seed)
    if cells < 20:
        raise UserError(f"cells {cells}: at least 20 are needed for three splits of two classes")
    try:
        if folder.exists() and any(folder.iterdir()):
            raise UserError(f"{folder}: not empty: synthetic cells are drawn into a new folder only")
        folder.parent.mkdir(parents=True, exist_ok=True)
        staging = Path(tempfile.mkdtemp(prefix=".synthetic-", dir=folder.parent))
    except OSError as error:
        raise UserError(f"{folder}: cannot be written: {error.strerror}") from None
    try:
        drawn = staging / "data"
        drawn.mkdir()  # the staging folder is closed to others, this one as the umask says
        _write(drawn, cells, np.random.default_rng(seed))
        if folder.exists():
            folder.rmdir()
        drawn.rename(folder)
    except OSError as error:
        raise UserError(f"{folder}: cannot be written: {error.strerror}") from None
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def draw_cell(label: int, hue: float, rng: np.random.Generator, side: int = SIDE) -> Image:
    """Draw one cell: uint8 ``[side, side, 3]`` RGB on exact black; ``hue`` shifts the stain, as subjects differ."""
    radius = rng.normal((88, 106)[label], 11) * side / SIDE
    share = np.clip(rng.normal((0.74, 0.88)[label], 0.05), 0.5, 0.96)  # nucleus to cell, in diameters
    centre = side / 2 + rng.uniform(-8, 8, 2)
    cell = _blob(side, centre, radius, 0.05, rng)
    nucleus = _blob(side, centre + rng.uniform(-0.3, 0.3, 2) * radius * (1 - share), radius * share, 0.07, rng) * cell
    texture = cv2.GaussianBlur(rng.normal(0, 1, (side, side)), (0, 0), side / 90)
    texture *= (0.16, 0.10)[label] / texture.std()
    nucleus_blurred = cv2.GaussianBlur(nucleus, (0, 0), 2)[..., None]
    density = CYTOPLASM + (NUCLEUS - CYTOPLASM) * nucleus_blurred
    density = density * (1 + hue * np.array([0.15, -0.1, 0.2])) * (1 + texture[..., None])
    pixels = np.clip(np.rint(255 * np.exp(-density) + rng.normal(0, 2, density.shape)), 1, 255)
    return (pixels * cell[..., None]).astype(np.uint8)


def _blob(side: int, centre: NDArray[np.float64], radius: float, wobble: float, rng: np.random.Generator) -> NDArray:
    """A filled, slightly uneven disc: float64 ``[side, side]`` of 0 and 1."""
    angle = np.linspace(0, 2 * np.pi, 180, endpoint=False)
    waves = sum(rng.normal(0, wobble / k) * np.cos(k * angle + rng.uniform(0, 2 * np.pi)) for k in (2, 3, 4, 5))
    reach = np.minimum(radius * (1 + waves), side * 0.45)
    points = np.stack([centre[0] + reach * np.cos(angle), centre[1] + reach * np.sin(angle)], axis=1)
    canvas = np.zeros((side, side), np.uint8)
    cv2.fillPoly(canvas, [np.rint(points).astype(np.int32)], (1,))
    return canvas.astype(np.float64)


def _write(folder: Path, cells: int, rng: np.random.Generator) -> None:
    hues = {f"S{label}{i:02d}": (label, rng.normal()) for label in (0, 1) for i in range(SUBJECTS)}
    counts = {split: round(cells * share) for split, share in SPLITS.items()}
    counts["train"] += cells - sum(counts.values())
    rows = []
    for split, count in counts.items():
        (folder / "synthetic" / split).mkdir(parents=True)
        for number in range(count):
            wanted = int(rng.random() < 0.6)
            subject = str(rng.choice([name for name, (label, _) in hues.items() if label == wanted]))
            label, hue = hues[subject]
            path = f"./synthetic/{split}/{number}.bmp"
            encoded = cv2.imencode(".bmp", draw_cell(label, hue, rng)[:, :, ::-1])[1]
            (folder / path).write_bytes(encoded.tobytes())  # cv2.imwrite would only return False where the disk is full
            rows.append((split, path, label, subject))
    table = pd.DataFrame(rows, columns=["split", "Path", "label", "subject"])
    for split in ("train", "valid"):
        table[table["split"] == split][["Path", "label"]].to_csv(folder / f"{split}.csv", index=False)
    tests = table[table["split"] == "test"]["Path"]
    for network in NETWORKS:  # each board asks in an order of its own
        tests.iloc[rng.permutation(len(tests))].to_csv(folder / f"{network}_test.csv", index=False)
    table[table["split"] != "test"][["Path", "subject"]].to_csv(folder / "subjects.csv", index=False)
    (folder / "dataset.json").write_text(json.dumps({"name": NAME}) + "\n")
