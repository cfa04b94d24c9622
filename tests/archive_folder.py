"""Folders in the archive layout: folds, and beside them the challenge's two test sets, as the archive has them."""

import random
from pathlib import Path

FINAL = "C-NMC_test_final_phase_data"
PRELIM = "Patient_ID,new_names,labels\nUID_57_22_2_all.bmp,1.bmp,1\nUID_H49_1_1_hem.bmp,2.bmp,0\n"


def write_archive(folder: Path, subjects: int = 30, seed: int = 0) -> Path:
    """Empty files with the archive's names: subjects 1.. and H1.. with 1 to 12 cells each, over three folds."""
    rng = random.Random(seed)
    for cls, prefix in (("all", ""), ("hem", "H")):
        for subject in range(1, subjects + 1):
            for cell in range(rng.randint(1, 12)):
                fold = folder / "C-NMC" / f"fold_{subject % 3}" / cls
                fold.mkdir(parents=True, exist_ok=True)
                (fold / f"UID_{prefix}{subject}_{cell}_1_{cls}.bmp").touch()
    return folder


def add_prelim(folder: Path, text: str = PRELIM) -> Path:
    images = folder / "validation" / "C-NMC_test_prelim_phase_data"
    images.mkdir(parents=True)
    for number in (1, 2):
        (images / f"{number}.bmp").touch()
    (folder / "validation" / "C-NMC_test_prelim_phase_data_labels.csv").write_text(text)
    return folder


def add_final(folder: Path, *names: str) -> Path:
    """The final test set, of empty files; returns the folder of its images."""
    images = folder / "testing_data" / FINAL
    images.mkdir(parents=True)
    for name in names or ("1.bmp", "2.bmp", "10.bmp"):
        (images / name).touch()
    return images
