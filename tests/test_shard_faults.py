"""A shard that was cut, changed or put together wrongly is refused: all of the cuts, all of the flips."""

import hashlib
import io
import random
import shutil
import tarfile
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tars import Members, members_of, tar_bytes

from build_shards.dataset import read_dataset
from build_shards.shards import build
from build_shards.verify import verify
from contract.errors import UserError
from contract.manifest import Manifest, PixelStatistics, Shard, Split, Submission, load_manifest
from contract.recipe import Recipe
from contract.shard_reader import SplitReader, index_tar

SHARD = "valid-000000.tar"
FLIPS = 300


@pytest.fixture
def copied(shards: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(shards, tmp_path / "shards"))


def listed(manifest: Manifest, name: str, data: bytes) -> Manifest:
    """The manifest of a builder that had written these bytes."""
    said = {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
    return replace(manifest, shards=tuple(replace(s, **said) if s.name == name else s for s in manifest.shards))


def test_a_shard_cut_at_any_512_bytes_is_refused(copied: Path, manifest: Manifest):
    whole = (copied / SHARD).read_bytes()
    cuts = range(0, len(whole), 512)
    for length in cuts:
        (copied / SHARD).write_bytes(whole[:length])
        with pytest.raises(UserError, match=rf"{SHARD}: its bytes are not those that the manifest lists"):
            SplitReader(copied, manifest, "valid")
    assert len(cuts) == len(whole) // 512 > 50


def test_a_shard_that_was_cut_before_it_was_listed_is_refused_or_has_lost_nothing(copied: Path, manifest: Manifest):
    whole, reference = (copied / SHARD).read_bytes(), SplitReader(copied, manifest, "valid")
    images = [reference.image(position).tobytes() for position in range(12)]
    end = max(offset + length for sample in reference.samples for offset, length in sample.members.values())
    for length in range(0, len(whole), 512):
        (copied / SHARD).write_bytes(whole[:length])
        anew = listed(manifest, SHARD, whole[:length])
        if length < end:
            with pytest.raises(UserError, match=SHARD):
                SplitReader(copied, anew, "valid")
        else:  # only zeros behind the last member are gone
            reader = SplitReader(copied, anew, "valid")
            assert [reader.image(position).tobytes() for position in range(12)] == images


def test_a_shard_with_any_byte_flipped_is_refused(copied: Path, manifest: Manifest):
    whole, rng = (copied / SHARD).read_bytes(), random.Random(0)
    places = [rng.randrange(len(whole)) for _ in range(FLIPS)]
    for place in places:
        changed = bytearray(whole)
        changed[place] ^= rng.randrange(1, 256)
        (copied / SHARD).write_bytes(changed)
        with pytest.raises(UserError, match=rf"{SHARD}: its bytes are not those that the manifest lists"):
            SplitReader(copied, manifest, "valid")


def test_every_flip_and_cut_is_found_by_verify_too(copied: Path):
    whole, rng = (copied / SHARD).read_bytes(), random.Random(1)
    for _ in range(10):
        changed = bytearray(whole)
        changed[rng.randrange(len(whole))] ^= 1 << rng.randrange(8)
        (copied / SHARD).write_bytes(changed)
        with pytest.raises(UserError, match=SHARD):
            verify(copied)


def test_a_key_in_two_shards_is_refused_by_the_reader(write_course, tmp_path: Path, monkeypatch):
    monkeypatch.setattr("build_shards.plan.SAMPLES_PER_SHARD", 1)
    folder = tmp_path / "shards"
    manifest, _ = build(read_dataset(write_course()), Recipe(size=33, window=40), folder, workers=1, force=False)
    data = (folder / "train-000000.tar").read_bytes()
    (folder / "train-000001.tar").write_bytes(data)
    first = manifest.shards[0]
    twice = listed(manifest, "train-000001.tar", data)
    twice = replace(twice, shards=(first, replace(first, name="train-000001.tar"), *twice.shards[2:]))
    with pytest.raises(UserError, match=r"train-000001\.tar: the key '.*' is in train-000000\.tar too"):
        SplitReader(folder, twice, "train")


def test_a_sample_whose_members_stand_apart_is_refused(copied: Path, manifest: Manifest):
    members = members_of(copied / SHARD)
    apart = tar_bytes([*members[1:], members[0]])  # webdataset would make two samples of one key of it
    (copied / SHARD).write_bytes(apart)
    with pytest.raises(UserError, match=rf"{SHARD}: the member '{members[0][0]}' stands apart"):
        SplitReader(copied, listed(manifest, SHARD, apart), "valid")


@pytest.mark.parametrize(
    "name",
    [
        "../valid-000099.png",
        "..",
        "/valid-000099.png",
        "//valid-000099.png",
        "./valid-000099.png",
        "a/../valid-000099.png",
        "valid-000099.png/",
        "valid-000099",
        "valid-000099.",
        ".png",
        "valid-000099.PNG",
        "valid-000099.jpg",
        "valid-000099.mask.png",
        "valid-000099.npy",
        "valid-000099.pyd",
        "valid-000099.pickle",
        "valid-000099.png ",
        "valid 000099.png",
        "välid-000099.png",
        "valid-000099.png.gz",
    ],
)
def test_any_other_name_of_a_member_is_refused(copied: Path, manifest: Manifest, name: str):
    data = tar_bytes([*members_of(copied / SHARD), (name, b"0")])
    (copied / SHARD).write_bytes(data)
    with pytest.raises(UserError, match=rf"{SHARD}: the member '.*' is not KEY\.png, KEY\.cls or KEY\.json"):
        SplitReader(copied, listed(manifest, SHARD, data), "valid")


@pytest.mark.parametrize("kind", [tarfile.DIRTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE])
def test_a_member_that_is_no_plain_file_is_refused(kind: bytes):
    buffer, member = io.BytesIO(), tarfile.TarInfo("valid-000099.png")
    member.type, member.linkname = kind, "/etc/passwd"
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        tar.addfile(member)
    with pytest.raises(UserError, match=r"the member 'valid-000099\.png/?' is not"):
        index_tar(buffer.getvalue(), Shard(SHARD, "valid", 1, (0, 0), 1, ""), ("png",))


keys = st.from_regex(r"[A-Za-z0-9_-]{1,20}", fullmatch=True)
labels = st.sampled_from([None, 0, 1])


@settings(max_examples=50, deadline=None)
@given(st.dictionaries(keys, st.tuples(labels, st.binary(max_size=2000), st.binary(max_size=50)), max_size=8))
def test_what_is_put_into_a_tar_is_found_in_it(samples: dict[str, tuple[int | None, bytes, bytes]]):
    members: Members = []
    for key, (label, image, text) in samples.items():
        members += [(f"{key}.cls", str(label).encode())] * (label is not None)
        members += [(f"{key}.json", text), (f"{key}.png", image)]
    data = tar_bytes(members)
    found = index_tar(data, Shard(SHARD, "valid", 1, (0, 0), 1, ""), ("png",))
    assert [(sample.key, sample.label) for sample in found] == [(key, value[0]) for key, value in samples.items()]
    for sample in found:
        (offset, length), (start, size) = sample.members["png"], sample.members["json"]
        assert (data[offset : offset + length], data[start : start + size]) == samples[sample.key][1:]


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=3000))
def test_bytes_that_are_no_tar_are_refused_or_hold_nothing(data: bytes):
    try:
        assert index_tar(data, Shard(SHARD, "valid", 1, (0, 0), 1, ""), ("png",)) == []
    except UserError as error:
        assert str(error).startswith(SHARD)  # noqa: PT017


text = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
counts = st.integers(0, 10**9)
numbers = st.tuples(*[st.floats(0.01, 255)] * 3)
shard_names = st.from_regex(r"[A-Za-z0-9_-]{1,12}-[0-9]{6}\.tar", fullmatch=True)


@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.data(),
    st.lists(
        st.builds(Shard, shard_names, text, counts, st.tuples(counts, counts), counts, text),
        max_size=4,
        unique_by=lambda shard: shard.name,
    ),
    st.lists(
        st.builds(Split, text, st.booleans(), counts, counts, counts), max_size=4, unique_by=lambda split: split.name
    ),
    st.lists(st.builds(Submission, text, text, st.lists(text, max_size=3).map(tuple)), max_size=3),
)
def test_any_manifest_survives_the_round_trip(tmp_path: Path, manifest: Manifest, data, shards, splits, submissions):
    changed = replace(
        manifest,
        dataset=data.draw(text),
        pixels=PixelStatistics(data.draw(numbers), data.draw(numbers)),
        unnormalised=tuple(data.draw(st.lists(text, max_size=3))),
        skipped=data.draw(counts),
        shards=tuple(shards),
        splits=tuple(splits),
        submissions=tuple(submissions),
    )
    (tmp_path / "manifest.json").write_bytes(changed.to_json().encode())
    assert load_manifest(tmp_path) == changed
    assert load_manifest(tmp_path).digest == changed.digest
