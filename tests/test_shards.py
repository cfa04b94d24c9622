import hashlib
import shutil
import subprocess
import tarfile
from collections import Counter
from pathlib import Path

import cv2
import numpy as np
import pytest
import webdataset

from build_shards.dataset import Cell, Dataset, read_dataset
from build_shards.plan import SAMPLES_PER_SHARD, plan_shards
from build_shards.preprocess import cell_mask
from build_shards.shards import INFO, build
from contract.manifest import NAME, Manifest
from contract.recipe import Recipe
from contract.shard_reader import SplitReader

SMALL = Recipe(size=33, window=40)


def contents(folder: Path) -> dict[str, bytes]:
    """Every file below the folder, hidden ones too."""
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def build_small(data: Path, folder: Path, recipe: Recipe = SMALL) -> Manifest:
    return build(read_dataset(data), recipe, folder, workers=1, force=False)[0]


def many_cells(split: str, labels: list[int | None]) -> Dataset:
    cells = tuple(Cell(Path(f"{i}"), f"./{split}/{i}.bmp", split, label, None) for i, label in enumerate(labels))
    return Dataset("many", "course", "given", cells, ())


def test_bytes_do_not_depend_on_the_number_of_workers(write_course, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("build_shards.plan.SAMPLES_PER_SHARD", 1)
    dataset = read_dataset(write_course())
    for workers in (1, 2, 8):
        build(dataset, SMALL, tmp_path / str(workers), workers, force=False)
    assert len(contents(tmp_path / "1")) == 3 + 2 + 1 + 2  # a shard a cell, manifest.json, _info.json
    assert contents(tmp_path / "1") == contents(tmp_path / "2") == contents(tmp_path / "8")


def test_bytes_do_not_depend_on_when_and_where_they_are_built(synthetic_data: Path, shards: Path, tmp_path: Path):
    shutil.copytree(synthetic_data, tmp_path / "elsewhere")
    build_small(tmp_path / "elsewhere", tmp_path / "shards", Recipe(size=40))
    assert contents(tmp_path / "shards") == contents(shards)


def test_every_image_lies_in_the_shards_once(synthetic_data: Path, shards: Path, manifest: Manifest):
    readers = {split.name: SplitReader(shards, manifest, split.name) for split in manifest.splits}
    stored = Counter((name, r.info(i)["source"]) for name, r in readers.items() for i in range(len(r)))
    assert stored == Counter((cell.split, cell.source) for cell in read_dataset(synthetic_data).cells)


def test_the_manifest_lists_exactly_the_files_that_are_there(shards: Path, manifest: Manifest):
    assert {path.name for path in shards.iterdir()} == {NAME, INFO, *(shard.name for shard in manifest.shards)}
    for shard in manifest.shards:
        data = (shards / shard.name).read_bytes()
        assert (shard.bytes, shard.sha256) == (len(data), hashlib.sha256(data).hexdigest())


def test_the_manifest_counts_classes_and_subjects(synthetic_data: Path, manifest: Manifest):
    cells = [cell for cell in read_dataset(synthetic_data).cells if cell.split == "valid"]
    shard = next(shard for shard in manifest.shards if shard.split == "valid")
    people = {c.subject for c in cells}
    shared = people & {c.subject for c in read_dataset(synthetic_data).cells if c.split == "train"}
    assert shard.class_counts == tuple(sum(c.label == k for c in cells) for k in (0, 1))
    assert manifest.split("valid").subjects == len(people)
    assert manifest.split("valid").shared_subjects == len(shared)
    assert manifest.split("test").subjects == 0


def test_mean_and_std_are_those_of_the_training_splits_cell_pixels(shards: Path, manifest: Manifest):
    reader = SplitReader(shards, manifest, "train")
    images = [reader.image(i) for i in range(len(reader))]
    pixels = np.concatenate([image[cell_mask(image)] for image in images]).astype(np.float64)
    np.testing.assert_allclose(manifest.pixels.mean, pixels.mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose(manifest.pixels.std, pixels.std(axis=0), rtol=1e-9)


def test_cells_of_one_colour_have_a_std_that_can_be_divided_by(write_course, tmp_path: Path):
    manifest = build_small(write_course(train="Path,label\n./cells/0.bmp,0\n"), tmp_path / "shards")
    assert manifest.pixels.mean == (90, 40, 120)
    assert manifest.pixels.std == (1, 1, 1)


def test_cells_larger_than_the_window_are_counted(synthetic_data: Path, tmp_path: Path, manifest: Manifest):
    narrow = build_small(synthetic_data, tmp_path / "shards", Recipe(size=33, window=33))
    assert manifest.shrunk == 0
    assert narrow.shrunk == 60


def test_keys_are_unique_and_hold_no_dot(shards: Path, manifest: Manifest):
    keys = [s.key for split in manifest.splits for s in SplitReader(shards, manifest, split.name).samples]
    assert len(set(keys)) == len(keys) == 60
    assert not any("." in key for key in keys)


def test_members_are_plain_ustar_files_without_a_time(shards: Path):
    for path in shards.glob("*.tar"):
        assert path.read_bytes()[257:265] == b"ustar\x0000"
        with tarfile.open(path) as tar:
            assert {(member.mtime, member.isreg()) for member in tar} == {(0, True)}


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # webdataset leaves its files open
@pytest.mark.parametrize(("split", "members"), [("valid", {"png", "cls", "json"}), ("test", {"png", "json"})])
def test_webdataset_reads_the_shards(shards: Path, manifest: Manifest, split: str, members: set[str]):
    samples = list(webdataset.WebDataset(str(shards / f"{split}-000000.tar"), shardshuffle=False))
    reader = SplitReader(shards, manifest, split)
    assert [sample["__key__"] for sample in samples] == [sample.key for sample in reader.samples]
    for sample in samples:
        assert {key for key in sample if not key.startswith("__")} == members
        assert sample["png"].startswith(b"\x89PNG")
        assert sample.get("cls", b"0") in (b"0", b"1")


@pytest.mark.skipif(shutil.which("tar") is None, reason="there is no tar command here")
def test_the_tar_command_unpacks_the_shards(shards: Path, manifest: Manifest, tmp_path: Path):
    subprocess.run(["tar", "-xf", str(shards / "train-000000.tar"), "-C", str(tmp_path)], check=True)
    assert len(list(tmp_path.glob("train-*.png"))) == len(list(tmp_path.glob("train-*.cls"))) == 36
    reader = SplitReader(shards, manifest, "train")
    for position, sample in enumerate(reader.samples):
        found = cv2.imread(str(tmp_path / f"{sample.key}.png"), cv2.IMREAD_UNCHANGED)[:, :, ::-1]
        np.testing.assert_array_equal(found, reader.image(position))
        assert (tmp_path / f"{sample.key}.cls").read_text() == str(sample.label)


@pytest.mark.parametrize("blasts", [0, 1, 411, 700])
def test_class_proportions_of_shards_differ_by_at_most_one_sample(blasts: int):
    plans = plan_shards(many_cells("train", [int(i < blasts) for i in range(700)]))
    counts = [Counter(cell.label for _, cell in plan.keyed_cells) for plan in plans]
    assert len(plans) == 3
    for label in (0, 1):
        assert max(c[label] for c in counts) - min(c[label] for c in counts) <= 1
    assert all(len(plan.keyed_cells) <= SAMPLES_PER_SHARD for plan in plans)


@pytest.mark.parametrize(("cells", "shards"), [(1, 1), (256, 1), (257, 2)])
def test_a_shard_is_opened_only_when_needed_and_every_cell_is_planned_once(cells: int, shards: int):
    plans = plan_shards(many_cells("test", [None] * cells))
    assert [plan.name for plan in plans] == [f"test-{number:06d}.tar" for number in range(shards)]
    assert len({key for plan in plans for key, _ in plan.keyed_cells}) == cells
    assert len({cell.source for plan in plans for _, cell in plan.keyed_cells}) == cells


def test_classes_are_mixed_within_a_shard():
    # Sorted by class, the first half of every shard would be normal cells.
    (plan,) = plan_shards(many_cells("train", [0] * 100 + [1] * 100))
    assert 30 <= sum(cell.label or 0 for _, cell in plan.keyed_cells[:100]) <= 70
