"""Shards in every format of a stored image: built, read, verified, and read by others."""

import hashlib
import io
import shutil
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import webdataset

from build_shards.dataset import read_dataset
from build_shards.preprocess import cell_mask
from build_shards.shards import build
from build_shards.verify import verify
from contract.errors import UserError
from contract.manifest import Manifest
from contract.pixels import IMAGE_MEMBERS, decode_pixels, encode_pixels
from contract.recipe import Recipe
from contract.shard_reader import SplitReader

FORMATS = {
    "png": Recipe(size=40),
    "npy": Recipe(size=40, format="npy"),
    "jpg": Recipe(size=40, format="jpg", quality=90),
}


@pytest.fixture(scope="module", params=FORMATS)
def built(request, synthetic_data: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Manifest]:
    folder = tmp_path_factory.mktemp(request.param) / "shards"
    manifest, _ = build(read_dataset(synthetic_data), FORMATS[request.param], folder, workers=1, force=False)
    return folder, manifest


def images(folder: Path, manifest: Manifest, split: str) -> dict[str, np.ndarray]:
    reader = SplitReader(folder, manifest, split)
    return {sample.key: reader.image(i) for i, sample in enumerate(reader.samples)}


def test_the_shards_hold_the_same_cells_whatever_the_format(built, shards: Path, manifest: Manifest):
    folder, ours = built
    assert verify(folder) == ours
    for split in ("train", "valid", "test"):
        stored, reference = images(folder, ours, split), images(shards, manifest, split)
        assert stored.keys() == reference.keys()
        for key, image in stored.items():
            if ours.recipe.format == "jpg":
                np.testing.assert_array_equal(cell_mask(image), cell_mask(reference[key]))
                assert np.abs(image.astype(int) - reference[key]).mean() < 3
            else:
                np.testing.assert_array_equal(image, reference[key])


def test_mean_and_std_are_of_the_pixels_that_are_read(built, manifest: Manifest):
    folder, ours = built
    stored = images(folder, ours, "train").values()
    pixels = np.concatenate([image[cell_mask(image)] for image in stored]).astype(np.float64)
    np.testing.assert_allclose(ours.pixels.mean, pixels.mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose(ours.pixels.std, pixels.std(axis=0), rtol=1e-9)
    assert (ours.pixels == manifest.pixels) == (ours.recipe.format != "jpg")


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # webdataset leaves its files open
def test_webdataset_finds_the_members_and_decodes_them(built):
    folder, ours = built
    extensions = IMAGE_MEMBERS[ours.recipe.format]
    reader = SplitReader(folder, ours, "valid")
    samples = list(webdataset.WebDataset(str(folder / "valid-000000.tar"), shardshuffle=False))
    assert [sample["__key__"] for sample in samples] == [sample.key for sample in reader.samples]
    for position, sample in enumerate(samples):
        assert {key for key in sample if not key.startswith("__")} == {*extensions, "cls", "json"}
        data, image = sample[extensions[0]], reader.image(position)
        if ours.recipe.format == "npy":
            np.testing.assert_array_equal(np.load(io.BytesIO(data), allow_pickle=False), image)
            continue
        found = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)[:, :, ::-1]
        mask = cell_mask(image)
        np.testing.assert_array_equal(np.maximum(found[mask], 1), image[mask])


def test_another_format_in_the_same_folder_is_refused(synthetic_data: Path, shards: Path, tmp_path: Path):
    folder = shutil.copytree(shards, tmp_path / "shards")
    for recipe in (FORMATS["npy"], FORMATS["jpg"]):
        with pytest.raises(UserError, match="holds shards of another recipe"):
            build(read_dataset(synthetic_data), recipe, folder, workers=1, force=False)


def test_another_quality_in_the_same_folder_is_refused(write_course, tmp_path: Path):
    dataset, recipe = read_dataset(write_course()), Recipe(size=33, window=40, format="jpg", quality=80)
    build(dataset, recipe, tmp_path / "shards", workers=1, force=False)
    with pytest.raises(UserError, match=r"holds shards of another recipe \(quality 80, not 81\)"):
        build(dataset, replace(recipe, quality=81), tmp_path / "shards", workers=1, force=False)


def test_members_of_another_format_than_the_recipe_says_are_refused(built):
    folder, ours = built
    others = {"png": "npy", "npy": "jpg", "jpg": "png"}
    said = replace(ours, recipe=FORMATS[others[ours.recipe.format]])
    with pytest.raises(UserError, match=r"-000000\.tar: the member '.*' is not KEY\."):
        SplitReader(folder, said, "valid")


@pytest.mark.parametrize("position", [0.2, 0.5, 0.8])
def test_a_changed_byte_is_refused_in_every_format(built, tmp_path: Path, position: float):
    folder = shutil.copytree(built[0], tmp_path / "shards")
    data = bytearray((folder / "train-000000.tar").read_bytes())
    data[int(len(data) * position)] ^= 0xFF
    (folder / "train-000000.tar").write_bytes(data)
    assert hashlib.sha256(data).hexdigest() != built[1].shards[0].sha256
    with pytest.raises(UserError, match=r"train-000000\.tar: its bytes are not those"):
        verify(folder)


def test_a_cell_that_fills_its_image_has_a_jpg_too():
    image = np.random.default_rng(0).integers(1, 256, (40, 40, 3), dtype=np.uint8)
    back = decode_pixels(encode_pixels(image, FORMATS["jpg"]), FORMATS["jpg"], "s: k")
    assert cell_mask(back).all()
