"""Read WebDataset shards by index: any sample of a split by its position, verified against the manifest.

``webdataset`` imports torch where torch is installed, so readers that must live without torch index tars here.
"""

import hashlib
import io
import mmap
import os
import re
import tarfile
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from contract.errors import UserError
from contract.files import unreadable
from contract.manifest import NAME, Manifest, Shard
from contract.pixels import IMAGE_MEMBERS, Image, decode_pixels
from contract.record import parsed

MEMBER = re.compile(r"(?P<key>[A-Za-z0-9_-]+)\.(?P<extension>[a-z.]+)")


@dataclass(frozen=True)
class Sample:
    """Where one sample lies: its shard and the (offset, length) of its members."""

    key: str
    label: int | None  # None on unlabelled splits
    shard: str
    members: dict[str, tuple[int, int]]


class SplitReader:
    """Random access to the samples of one split, or of several together, in the manifest's order.

    ``SplitReader(folder, manifest, "train")`` hashes each shard once, and raises ``UserError`` that names
    the shard when its bytes, members or counts are not those that the manifest lists.
    """

    def __init__(self, folder: Path, manifest: Manifest, *splits: str) -> None:
        self.splits = splits
        self.recipe = manifest.recipe
        self.size = manifest.recipe.size
        self.folder = folder
        self.samples: list[Sample] = []
        self._maps: dict[str, mmap.mmap | bytes] = {}
        self._opened: dict[str, tuple[int, ...]] = {}  # which file each verified shard was
        for shard in manifest.shards:
            if shard.split in splits:
                self.samples += self._open(shard)
        _refuse_shared_keys(self.samples)
        listed = sum(manifest.split(split).samples for split in splits)
        if len(self.samples) != listed:
            found = f"the shards hold {len(self.samples)} samples of the split {self.what!r}"
            raise UserError(f"{folder / NAME}: {found}, it says {listed}")

    def __len__(self) -> int:
        return len(self.samples)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_maps": {}}  # a loader's worker process maps the verified files again

    @property
    def what(self) -> str:
        """The split's name; of several, "train + valid"."""
        return " + ".join(self.splits)

    @cached_property
    def labels(self) -> NDArray[np.int64]:
        """Int64 ``[n]``: each sample's label, -1 on unlabelled splits."""
        return np.array([-1 if sample.label is None else sample.label for sample in self.samples], np.int64)

    @cached_property
    def subjects(self) -> tuple[str | None, ...]:
        """Each sample's subject, None where it is unknown; reads every sample's JSON once."""
        return tuple(self.info(position).get("subject") for position in range(len(self)))

    def image(self, position: int) -> Image:
        """Decode a sample's image: uint8 ``[size, size, 3]`` RGB."""
        sample = self.samples[position]
        members = {extension: self._bytes(sample, extension) for extension in IMAGE_MEMBERS[self.recipe.format]}
        return decode_pixels(members, self.recipe, self.name(position))

    def name(self, position: int) -> str:
        """How messages call a sample: its shard and its key."""
        return f"{self.samples[position].shard}: {self.samples[position].key}"

    def info(self, position: int) -> dict[str, Any]:
        """A sample's JSON: source path, subject, crop box, SHA-256 of the source."""
        sample = self.samples[position]
        try:
            info = parsed(self._bytes(sample, "json"))
        except (ValueError, RecursionError):  # not JSON, or nested beyond what a reader bears
            info = None
        if not isinstance(info, dict):
            raise UserError(f"{sample.shard}: {sample.key}.json is not a JSON object")
        if not isinstance(info.get("subject"), str | None):
            raise UserError(f"{sample.shard}: {sample.key}.json: its subject is neither a text nor null")
        return info

    def _bytes(self, sample: Sample, extension: str) -> bytes:
        offset, length = sample.members[extension]
        if sample.shard not in self._maps:
            path = self.folder / sample.shard
            self._maps[sample.shard], identity = _map(path)
            if identity != self._opened[sample.shard]:
                raise UserError(f"{path}: was replaced after it was opened: start again")
        return self._maps[sample.shard][offset : offset + length]

    def _open(self, shard: Shard) -> list[Sample]:
        path = self.folder / shard.name
        mapped, self._opened[shard.name] = _map(path)
        if not has_listed_bytes(mapped, shard):
            raise UserError(f"{path}: its bytes are not those that the manifest lists: build the shards anew")
        self._maps[shard.name] = mapped
        samples = index_tar(mapped, shard, IMAGE_MEMBERS[self.recipe.format])
        counts = tuple(sum(sample.label == label for sample in samples) for label in (0, 1))
        if len(samples) != shard.samples or counts != shard.class_counts:
            raise UserError(f"{path}: {len(samples)} samples {counts}, the manifest lists {shard.samples}")
        return samples


def has_listed_bytes(shard_bytes: mmap.mmap | bytes, shard: Shard) -> bool:
    """Whether length and SHA-256 are those that the manifest lists; what is hashed is what is read later."""
    return len(shard_bytes) == shard.bytes and hashlib.sha256(shard_bytes).hexdigest() == shard.sha256


def _refuse_shared_keys(samples: list[Sample]) -> None:
    shard_of: dict[str, str] = {}
    for sample in samples:
        first = shard_of.setdefault(sample.key, sample.shard)
        if first != sample.shard:
            raise UserError(f"{sample.shard}: the key {sample.key!r} is in {first} too")


def _map(path: Path) -> tuple[mmap.mmap | bytes, tuple[int, ...]]:
    """A file's bytes, not copied, and what tells it from another that takes its name."""
    try:
        if not path.is_file():
            raise UserError(f"{path}: the manifest lists this shard and it is not there")
        with path.open("rb") as file:
            stat = os.fstat(file.fileno())
            mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) if stat.st_size else b""
    except OSError as error:
        raise unreadable(path, error) from None
    return mapped, (stat.st_dev, stat.st_ino, stat.st_size, stat.st_mtime_ns)


def index_tar(tar_bytes: mmap.mmap | bytes, shard: Shard, images: tuple[str, ...]) -> list[Sample]:
    """List the samples of a tar whose members are regular files ``KEY.json``, ``KEY.cls``, and ``KEY`` with ``images``.

    Raises ``UserError`` for any other member, a member twice, a sample whose members stand apart (webdataset would
    take it for two) or lacks its image or JSON.
    """
    found: dict[str, dict[str, tuple[int, int]]] = {}
    known, last = (*images, "cls", "json"), None
    for member in _members(tar_bytes, shard):
        match = MEMBER.fullmatch(member.name)
        if match is None or match["extension"] not in known or not member.isreg():
            names = ", ".join(f"KEY.{extension}" for extension in known[:-1])
            raise UserError(f"{shard.name}: the member {member.name!r} is not {names} or KEY.{known[-1]}")
        key, extension = match["key"], match["extension"]
        if extension in found.get(key, ()):
            raise UserError(f"{shard.name}: the member {member.name!r} stands there twice")
        if key in found and key != last:
            raise UserError(f"{shard.name}: the member {member.name!r} stands apart from others of its key")
        found.setdefault(key, {})[extension] = (member.offset_data, member.size)
        last = key
    return [_sample(key, members, tar_bytes, shard, images) for key, members in found.items()]


def _sample(
    key: str,
    members: dict[str, tuple[int, int]],
    tar_bytes: mmap.mmap | bytes,
    shard: Shard,
    images: tuple[str, ...],
) -> Sample:
    if not members.keys() >= {*images, "json"}:
        raise UserError(f"{shard.name}: the sample {key!r} has no image or no JSON")
    label = None
    if "cls" in members:
        offset, length = members["cls"]
        text = bytes(tar_bytes[offset : offset + length])
        if text not in (b"0", b"1"):
            raise UserError(f"{shard.name}: {key}.cls says {text!r}, a label is 0 or 1")
        label = int(text)
    return Sample(key, label, shard.name, members)


def _members(tar_bytes: mmap.mmap | bytes, shard: Shard) -> list[tarfile.TarInfo]:
    try:
        with tarfile.open(fileobj=io.BytesIO(tar_bytes), mode="r:") as tar:
            return tar.getmembers()
    except (tarfile.TarError, ValueError) as error:  # ValueError: a number in a header that is none
        raise UserError(f"{shard.name}: not a whole tar file: {error}") from None
