import gzip
import hashlib
import io
import pickle
import shutil
import tarfile
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from as_nobody import as_nobody
from tars import members_of, tar_bytes

from build_shards.dataset import read_dataset
from build_shards.preprocess import preprocess, read_image
from contract.errors import UserError
from contract.manifest import Manifest, Shard
from contract.publish import file_sha256
from contract.shard_reader import SplitReader

SHARD = "valid-000000.tar"


@pytest.fixture
def copied(shards: Path, tmp_path: Path) -> Path:
    """A copy of the built shards that a test may damage."""
    return Path(shutil.copytree(shards, tmp_path / "shards"))


def relist(folder: Path, manifest: Manifest, data: bytes, **changes: object) -> Manifest:
    """Replace the valid shard by ``data`` and list it so: what is refused then is what is *in* the shard."""
    (folder / SHARD).write_bytes(data)
    digest = hashlib.sha256(data).hexdigest()

    def listed(shard: Shard) -> Shard:
        return replace(shard, bytes=len(data), sha256=digest, **changes) if shard.name == SHARD else shard

    return replace(manifest, shards=tuple(map(listed, manifest.shards)))


def test_it_reads_back_every_pixel_label_and_source(synthetic_data: Path, shards: Path, manifest: Manifest):
    cells = {cell.source: cell for cell in read_dataset(synthetic_data).cells}
    reader = SplitReader(shards, manifest, "valid")
    assert len(reader) == 12
    for position, sample in enumerate(reader.samples):
        info = reader.info(position)
        cell = cells.pop(info["source"])
        crop = preprocess(read_image(cell.file)[0], manifest.recipe, "x")
        np.testing.assert_array_equal(reader.image(position), crop.image)
        assert (sample.label, info["subject"]) == (cell.label, cell.subject)
        assert (tuple(info["box"]), info["sha256"]) == (crop.box, file_sha256(cell.file))


def test_an_unlabelled_split_has_no_labels(shards: Path, manifest: Manifest):
    reader = SplitReader(shards, manifest, "test")
    assert {sample.label for sample in reader.samples} == {None}
    assert set(reader.labels.tolist()) == {-1}


def test_an_unknown_split_lists_those_there_are(shards: Path, manifest: Manifest):
    with pytest.raises(UserError, match="there are train, valid, test"):
        SplitReader(shards, manifest, "extra")


def test_any_flipped_bit_is_refused(copied: Path, manifest: Manifest):
    whole, rng = (copied / SHARD).read_bytes(), np.random.default_rng(0)
    for position in (0, len(whole) - 1, *rng.integers(0, len(whole), 40)):
        damaged = bytearray(whole)
        damaged[position] ^= 1 << int(rng.integers(8))
        (copied / SHARD).write_bytes(damaged)
        with pytest.raises(UserError, match=rf"{SHARD}: its bytes are not those that the manifest lists"):
            SplitReader(copied, manifest, "valid")


def test_a_shard_cut_anywhere_is_refused(copied: Path, manifest: Manifest):
    whole = (copied / SHARD).read_bytes()
    for length in (0, 1, 511, 512, *range(1000, len(whole), 4099), len(whole) - 512, len(whole) - 1):
        (copied / SHARD).write_bytes(whole[:length])
        with pytest.raises(UserError, match=rf"{SHARD}: its bytes are not those"):
            SplitReader(copied, manifest, "valid")


def test_a_shard_with_something_behind_its_end_is_refused(copied: Path, manifest: Manifest):
    with (copied / SHARD).open("ab") as file:
        file.write(b"\0")
    with pytest.raises(UserError, match=rf"{SHARD}: its bytes are not those"):
        SplitReader(copied, manifest, "valid")


def test_a_missing_shard_is_refused_and_other_splits_still_open(copied: Path, manifest: Manifest):
    (copied / SHARD).unlink()
    with pytest.raises(UserError, match=rf"{SHARD}: the manifest lists this shard and it is not there"):
        SplitReader(copied, manifest, "valid")
    assert len(SplitReader(copied, manifest, "train")) == 36


def test_a_shard_that_the_manifest_does_not_list_is_not_read(copied: Path, manifest: Manifest):
    shutil.copy(copied / SHARD, copied / "valid-000001.tar")
    assert len(SplitReader(copied, manifest, "valid")) == 12


def test_the_same_members_listed_anew_are_welcome(copied: Path, manifest: Manifest):
    # Without this, the refusals below could come from our way of writing tars here.
    anew = relist(copied, manifest, tar_bytes(members_of(copied / SHARD)))
    assert len(SplitReader(copied, anew, "valid")) == 12


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        ("valid-000099.txt", b"0", r"the member 'valid-000099\.txt' is not KEY\.png, KEY\.cls or KEY\.json"),
        ("valid-000099.seg.png", b"0", "is not KEY.png"),
        ("../escape.png", b"0", r"the member '\.\./escape\.png' is not KEY\.png"),
        ("/tmp/escape.png", b"0", "is not KEY.png"),
        ("folder/valid-000099.png", b"0", "is not KEY.png"),
        ("valid-000000.png", b"0", r"the member 'valid-000000\.png' stands there twice"),
        ("valid-000000.cls", b"0", r"the member 'valid-000000\.cls' stands there twice"),
        ("valid-000099.cls", b"1", "the sample 'valid-000099' has no image or no JSON"),
        ("valid-000099.png", b"1", "the sample 'valid-000099' has no image or no JSON"),
    ],
)
def test_a_member_that_does_not_belong_is_refused(
    copied: Path, manifest: Manifest, name: str, data: bytes, message: str
):
    changed = relist(copied, manifest, tar_bytes([*members_of(copied / SHARD), (name, data)]))
    with pytest.raises(UserError, match=rf"{SHARD}: .*{message}"):
        SplitReader(copied, changed, "valid")


@pytest.mark.parametrize("text", [b"2", b"-1", b"", b"1\n", b"01", b"one", b"1.0"])
def test_a_label_that_is_not_0_or_1_is_refused(copied: Path, manifest: Manifest, text: bytes):
    members = [(n, text if n == "valid-000003.cls" else data) for n, data in members_of(copied / SHARD)]
    with pytest.raises(UserError, match=rf"{SHARD}: valid-000003\.cls says .*, a label is 0 or 1"):
        SplitReader(copied, relist(copied, manifest, tar_bytes(members)), "valid")


@pytest.mark.parametrize("headers", [{"GNU.sparse.map": "a,b"}, {"GNU.sparse.map": "1", "GNU.sparse.size": "x"}])
def test_a_number_in_a_header_that_is_none_is_refused(copied: Path, manifest: Manifest, headers: dict[str, str]):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for name, data in members_of(copied / SHARD):
            info = tarfile.TarInfo(name)
            info.size, info.pax_headers = len(data), headers
            tar.addfile(info, io.BytesIO(data))
    with pytest.raises(UserError, match=r"valid-000000\.tar: not a whole tar file"):
        SplitReader(copied, relist(copied, manifest, buffer.getvalue()), "valid")


def test_a_link_in_place_of_a_member_is_refused(copied: Path, manifest: Manifest):
    buffer, link = io.BytesIO(), tarfile.TarInfo("valid-000099.png")
    link.type, link.linkname = tarfile.SYMTYPE, "valid-000000.png"
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        tar.addfile(link)
    with pytest.raises(UserError, match=rf"{SHARD}: the member 'valid-000099\.png'"):
        SplitReader(copied, relist(copied, manifest, buffer.getvalue()), "valid")


@pytest.mark.parametrize("lost", ["valid-000003.png", "valid-000003.json", "valid-000003.cls"])
def test_a_member_that_is_gone_is_noticed(copied: Path, manifest: Manifest, lost: str):
    members = [(name, data) for name, data in members_of(copied / SHARD) if name != lost]
    with pytest.raises(UserError, match=SHARD):
        SplitReader(copied, relist(copied, manifest, tar_bytes(members)), "valid")


@pytest.mark.parametrize("changes", [{"samples": 11}, {"samples": 13}, {"class_counts": (0, 12)}])
def test_counts_that_differ_from_the_manifest_are_refused(copied: Path, manifest: Manifest, changes: dict[str, object]):
    changed = relist(copied, manifest, (copied / SHARD).read_bytes(), **changes)
    with pytest.raises(UserError, match=rf"{SHARD}: 12 samples \(\d+, \d+\), the manifest lists"):
        SplitReader(copied, changed, "valid")


def test_a_split_with_fewer_samples_than_the_manifest_says_is_refused(shards: Path, manifest: Manifest):
    shortened = replace(manifest, shards=tuple(s for s in manifest.shards if s.name != SHARD))
    with pytest.raises(UserError, match=r"manifest\.json: the shards hold 0 samples of the split 'valid', it says 12"):
        SplitReader(shards, shortened, "valid")


def test_so_is_one_with_more(shards: Path, manifest: Manifest):
    splits = tuple(replace(split, samples=11) if split.name == "valid" else split for split in manifest.splits)
    with pytest.raises(UserError, match=r"manifest\.json: the shards hold 12 samples of the split 'valid', it says 11"):
        SplitReader(shards, replace(manifest, splits=splits), "valid")


def test_a_number_of_bytes_that_is_not_the_shard_s_is_refused(shards: Path, manifest: Manifest):
    listed = tuple(replace(s, bytes=s.bytes + 1) if s.name == SHARD else s for s in manifest.shards)
    with pytest.raises(UserError, match=rf"{SHARD}: its bytes are not those that the manifest lists"):
        SplitReader(shards, replace(manifest, shards=listed), "valid")


@pytest.mark.parametrize("length", [100, 512, 700, 5000])
def test_a_tar_that_was_listed_when_already_cut_short_is_refused(copied: Path, manifest: Manifest, length: int):
    changed = relist(copied, manifest, (copied / SHARD).read_bytes()[:length])
    with pytest.raises(UserError, match=SHARD):
        SplitReader(copied, changed, "valid")


@pytest.mark.parametrize("png", [b"", b"no image", cv2.imencode(".png", np.zeros((39, 40, 3), np.uint8))[1].tobytes()])
def test_an_image_that_is_not_of_the_recipes_size_is_refused_when_read(copied: Path, manifest: Manifest, png: bytes):
    members = [(n, png if n == "valid-000003.png" else data) for n, data in members_of(copied / SHARD)]
    reader = SplitReader(copied, relist(copied, manifest, tar_bytes(members)), "valid")
    position = [sample.key for sample in reader.samples].index("valid-000003")
    with pytest.raises(UserError, match=rf"{SHARD}: valid-000003\.png is not a 40 px colour image"):
        reader.image(position)


def test_a_shard_that_may_not_be_read_is_refused_by_name(shards: Path, manifest: Manifest, open_folder: Path):
    folder = Path(shutil.copytree(shards, open_folder / "shards"))
    folder.chmod(0o755)
    (folder / SHARD).chmod(0)
    with as_nobody(), pytest.raises(UserError, match=rf"{SHARD}: cannot be read: Permission denied$"):
        SplitReader(folder, manifest, "valid")
    folder.chmod(0)
    with as_nobody(), pytest.raises(UserError, match=rf"{SHARD}: cannot be read: Permission denied$"):
        SplitReader(folder, manifest, "valid")


def test_a_shard_that_vanishes_before_a_loader_s_worker_maps_it_is_refused_by_name(copied: Path, manifest: Manifest):
    reader = pickle.loads(pickle.dumps(SplitReader(copied, manifest, "valid")))
    (copied / SHARD).unlink()
    with pytest.raises(UserError, match=rf"{SHARD}: the manifest lists this shard and it is not there"):
        reader.image(0)


def test_so_is_one_that_is_written_over(copied: Path, manifest: Manifest):
    reader = pickle.loads(pickle.dumps(SplitReader(copied, manifest, "valid")))
    (copied / SHARD).write_bytes((copied / SHARD).read_bytes())
    with pytest.raises(UserError, match=rf"{SHARD}: was replaced after it was opened"):
        reader.image(0)


def test_a_compressed_shard_is_refused(copied: Path, manifest: Manifest):
    changed = relist(copied, manifest, gzip.compress((copied / SHARD).read_bytes(), mtime=0))
    with pytest.raises(UserError, match=rf"{SHARD}: not a whole tar file"):
        SplitReader(copied, changed, "valid")
