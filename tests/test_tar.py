"""Our tars beside webdataset's own writer, byte for byte, and as GNU tar's format wants them."""

import io
import tarfile

import pytest
import webdataset
from hypothesis import given, settings
from hypothesis import strategies as st

from build_shards.tar import BLOCK, LARGEST, LONGEST_NAME, RECORD, ending, sample_blocks

KEYS = st.from_regex(r"[A-Za-z0-9_-]{1,40}", fullmatch=True)
MEMBERS = st.dictionaries(st.sampled_from(["png", "jpg", "mask.png", "npy", "cls", "json"]), st.binary(max_size=1200))
SAMPLES = st.dictionaries(KEYS, MEMBERS, max_size=8)


def tar_of(samples: dict[str, dict[str, bytes]]) -> bytes:
    blocks = b"".join(sample_blocks(key, members) for key, members in samples.items())
    return blocks + ending(len(blocks))


@settings(max_examples=60, deadline=None)
@given(SAMPLES)
def test_the_bytes_are_those_of_webdatasets_writer(samples: dict[str, dict[str, bytes]]):
    file = io.BytesIO()
    with webdataset.TarWriter(file, encoder=False, mtime=0) as tar:
        for key, members in samples.items():
            tar.write({"__key__": key, **members})
    assert tar_of(samples) == file.getvalue()


@pytest.mark.parametrize("size", [0, 1, BLOCK - 1, BLOCK, BLOCK + 1, RECORD - 3 * BLOCK, RECORD - 2 * BLOCK, RECORD])
def test_members_come_back_and_the_tar_ends_on_a_record(size: int):
    data = bytes(range(256)) * (size // 256 + 1)
    written = tar_of({"train-000000": {"png": data[:size], "cls": b"1"}})
    assert len(written) % RECORD == 0
    with tarfile.open(fileobj=io.BytesIO(written)) as tar:
        found = {member.name: tar.extractfile(member).read() for member in tar}  # type: ignore[union-attr]
        assert [(m.mtime, m.mode, m.type) for m in tar] == [(0, 0o444, tarfile.REGTYPE)] * 2
    assert found == {"train-000000.cls": b"1", "train-000000.png": data[:size]}


def test_a_name_that_ustar_cannot_hold_is_refused():
    fits = "k" * (LONGEST_NAME - len(".png"))
    assert sample_blocks(fits, {"png": b""})[:LONGEST_NAME] == f"{fits}.png".encode()
    with pytest.raises(ValueError, match="a ustar header has no room for it"):
        sample_blocks(fits + "k", {"png": b""})


def test_data_that_ustar_cannot_hold_are_refused(monkeypatch: pytest.MonkeyPatch):
    assert f"{LARGEST:011o}" == "7" * 11
    monkeypatch.setattr("build_shards.tar.LARGEST", 10)
    assert sample_blocks("k", {"png": bytes(10)})
    with pytest.raises(ValueError, match=r"'k\.png' of 11 bytes: a ustar header has no room for it"):
        sample_blocks("k", {"png": bytes(11)})
