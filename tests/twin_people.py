"""Drawn cells of people of whom some have two ids, and whose cells are twins, in both layouts."""

import shutil
from collections import defaultdict
from pathlib import Path

import cv2
import numpy as np
import pandas as pd

from build_shards.dataset import Dataset, read_dataset
from build_shards.split import SplitChoice, find_people, split_dataset
from build_shards.synthetic import draw_cell

IDS = [f"{cls}{i}" for cls in ("", "H") for i in range(1, 8)]  # blasts 1 to 7, normals H1 to H7
TWINS = {"1+2", "H3+H4+H5"}  # joined by twins: 1 = 2 and H3 = H4; by the table: H4 = H5


def _draw(folder: Path) -> dict[str, list[Path]]:
    """Two drawn cells of every id; the last of 2 and of H4 are cells of 1 and of H3, seen again."""
    rng, files = np.random.default_rng(0), defaultdict(list)
    folder.mkdir(parents=True)
    for subject in IDS:
        for cell in range(2):
            files[subject].append(folder / f"{subject}_{cell}.bmp")
            assert cv2.imwrite(str(files[subject][-1]), draw_cell(int(subject[0] != "H"), rng.normal(), rng, 160))
    brighter = cv2.convertScaleAbs(cv2.imread(str(files["1"][0])), alpha=1.15)
    cv2.imwrite(str(files["2"][1]), np.ascontiguousarray(np.rot90(brighter)))
    shutil.copy(files["H3"][0], files["H4"][1])
    return files


def write_course(folder: Path) -> Path:
    files = _draw(folder / "cells")
    rows = [(f"./cells/{f.name}", s, int(s[0] != "H"), i) for s in IDS for i, f in enumerate(files[s])]
    table = pd.DataFrame(rows, columns=["Path", "subject", "label", "second"])
    for name, second in (("train", 0), ("valid", 1)):
        table[table["second"] == second][["Path", "label"]].to_csv(folder / f"{name}.csv", index=False)
    named = "fold_1/hem/UID_{}_1_1_hem.bmp"
    table["original"] = [named.format(s) + ("|" + named.format("h5") if s == "H4" else "") for s in table["subject"]]
    table[["Path", "subject", "original"]].to_csv(folder / "subjects.csv", index=False)
    shutil.copy(files["1"][1], folder / "cells" / "test.bmp")
    (folder / "resnet_18_test.csv").write_text("Path\n./cells/test.bmp\n")
    return folder


def write_archive(folder: Path) -> Path:
    for subject, files in _draw(folder / "drawn").items():
        cls = "hem" if subject[0] == "H" else "all"
        (folder / "fold_0" / cls).mkdir(parents=True, exist_ok=True)
        for cell, file in enumerate(files):
            file.rename(folder / "fold_0" / cls / f"UID_{subject}_{cell}_1_{cls}.bmp")
    (folder / "drawn").rmdir()
    return folder


def split(folder: Path, **choice) -> Dataset:
    """The dataset in ``folder``, split as ``SplitChoice(**choice)`` says."""
    return split_dataset(read_dataset(folder), SplitChoice(**choice), lambda data: find_people(data, 1, None, False))
