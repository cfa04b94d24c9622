"""`python -m build_shards verify` names the first bad shard and what is wrong with it."""

import json
import shutil
import sys
import tarfile
from io import BytesIO
from pathlib import Path

import cv2
import numpy as np
import pytest
from tars import members_of, tar_bytes

from build_shards.cli import main
from build_shards.verify import verify
from contract.errors import UserError
from contract.publish import file_sha256


@pytest.fixture
def copy(shards: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(shards, tmp_path / "shards"))


def rewrite(folder: Path, name: str, change: dict[str, bytes]) -> None:
    """Replace members of a shard (or add them) and make the manifest agree, as a faulty builder would."""
    with tarfile.open(folder / name) as tar:
        members = {m.name: tar.extractfile(m).read() for m in tar}  # type: ignore[union-attr]
    with tarfile.open(folder / name, "w", format=tarfile.USTAR_FORMAT) as tar:
        for member, data in {**members, **change}.items():
            info = tarfile.TarInfo(member)
            info.size = len(data)
            tar.addfile(info, BytesIO(data))
    manifest = json.loads((folder / "manifest.json").read_text())
    for shard in manifest["shards"]:
        if shard["name"] == name:
            shard["bytes"], shard["sha256"] = (folder / name).stat().st_size, file_sha256(folder / name)
    (folder / "manifest.json").write_text(json.dumps(manifest))


def count_classes(folder: Path, name: str, counts: tuple[int, int]) -> None:
    """Make the manifest say so many samples of label 0 and of label 1."""
    manifest = json.loads((folder / "manifest.json").read_text())
    (shard,) = [shard for shard in manifest["shards"] if shard["name"] == name]
    shard["class_counts"] = counts
    (folder / "manifest.json").write_text(json.dumps(manifest))


def first_key(folder: Path, name: str) -> str:
    with tarfile.open(folder / name) as tar:
        return tar.getnames()[0].split(".")[0]


def test_a_good_build_passes(shards: Path) -> None:
    assert sum(shard.samples for shard in verify(shards).shards) == 60


def test_a_flipped_bit_is_found_and_the_shard_named(copy: Path) -> None:
    data = bytearray((copy / "valid-000000.tar").read_bytes())
    data[2000] ^= 1
    (copy / "valid-000000.tar").write_bytes(data)
    with pytest.raises(UserError, match=r"valid-000000\.tar"):
        verify(copy)


@pytest.mark.parametrize(
    ("extension", "content", "word"),
    [
        ("png", b"not an image", "is not a 40 px colour image"),
        ("json", b'{"subject": null, "box": [], "sha256": ""}', "lacks 'source'"),
        ("json", b'{"source": "", "box": [], "sha256": ""}', "lacks 'subject'"),
        ("json", b'{"source": "", "subject": null, "sha256": ""}', "lacks 'box'"),
        ("json", b'{"source": "", "subject": null, "box": []}', "lacks 'sha256'"),
        ("json", b"[", "JSON object"),
        ("json", b"[" * 200_000, "JSON object"),
        ("json", rb'{"subject": "\ud800"}', "JSON object"),
        ("json", b'{"subject": ["a"]}', "its subject is neither a text nor null"),
    ],
)
def test_content_that_hashes_well_and_is_wrong_is_found(copy: Path, extension: str, content: bytes, word: str) -> None:
    key = first_key(copy, "train-000000.tar")
    rewrite(copy, "train-000000.tar", {f"{key}.{extension}": content})
    with pytest.raises(UserError, match=word):
        verify(copy)


def test_a_shard_of_no_split_is_found(copy: Path) -> None:
    manifest = json.loads((copy / "manifest.json").read_text())
    manifest["shards"].append({**manifest["shards"][0], "name": "ghost-000000.tar", "split": "ghost"})
    (copy / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(
        UserError, match=r"ghost-000000\.tar: its split 'ghost' is none of the manifest's: train, valid"
    ):
        verify(copy)


def test_a_label_on_an_unlabelled_split_is_found(copy: Path) -> None:
    key = first_key(copy, "test-000000.tar")
    members = [(f"{key}.cls", b"1"), *members_of(copy / "test-000000.tar")]
    (copy / "test-000000.tar").write_bytes(tar_bytes(members))
    rewrite(copy, "test-000000.tar", {})
    count_classes(copy, "test-000000.tar", (0, 1))
    with pytest.raises(UserError, match=rf"test-000000\.tar: {key} has a label"):
        verify(copy)


def test_a_key_that_another_shard_has_too_is_found(copy: Path) -> None:
    taken, old = first_key(copy, "train-000000.tar"), first_key(copy, "valid-000000.tar")
    members = [(name.replace(f"{old}.", f"{taken}."), data) for name, data in members_of(copy / "valid-000000.tar")]
    (copy / "valid-000000.tar").write_bytes(tar_bytes(members))
    rewrite(copy, "valid-000000.tar", {})
    with pytest.raises(UserError, match=rf"valid-000000\.tar: the key '{taken}' is in train-000000\.tar too"):
        verify(copy)


def test_the_command_exits_1_and_prints_one_line(
    copy: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["build_shards", "verify", str(copy)])
    main()
    assert "60 samples, all as listed" in capsys.readouterr().out
    (copy / "train-000000.tar").unlink()
    with pytest.raises(SystemExit) as stopped:
        main()
    assert stopped.value.code == 1
    error = capsys.readouterr().err
    assert error.startswith("bad: ")
    assert error.count("\n") == 1


def test_a_shard_that_is_listed_twice_is_found(copy: Path) -> None:
    manifest = json.loads((copy / "manifest.json").read_text())
    manifest["shards"].append(manifest["shards"][0])
    (copy / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(UserError, match="the manifest lists a shard twice"):
        verify(copy)


def test_a_cell_without_its_label_is_found(copy: Path) -> None:
    key = first_key(copy, "valid-000000.tar")
    members = [(name, data) for name, data in members_of(copy / "valid-000000.tar") if name != f"{key}.cls"]
    (copy / "valid-000000.tar").write_bytes(tar_bytes(members))
    rewrite(copy, "valid-000000.tar", {})
    normal, blast = (sum(data == label for _, data in members) for label in (b"0", b"1"))
    count_classes(copy, "valid-000000.tar", (normal, blast))
    with pytest.raises(UserError, match=rf"valid-000000\.tar: {key} has no label"):
        verify(copy)


def test_an_image_of_background_alone_is_found(copy: Path) -> None:
    key = first_key(copy, "valid-000000.tar")
    black = cv2.imencode(".png", np.zeros((40, 40, 3), np.uint8))[1].tobytes()
    rewrite(copy, "valid-000000.tar", {f"{key}.png": black})
    with pytest.raises(UserError, match=rf"valid-000000\.tar: the image {key} is all background"):
        verify(copy)
