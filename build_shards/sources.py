"""Are shards made of these very files? Every sample's JSON names its source and the SHA-256 of the source's bytes.

Sizes and times would be read faster, but a file may change and keep both. So every byte is read: as fast as the disk
gives it, and several times faster than building.
"""

import csv
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from tqdm import tqdm

from build_shards.dataset import Cell, Dataset
from contract.errors import UserError
from contract.manifest import Manifest
from contract.publish import file_sha256
from contract.shard_reader import SplitReader

SKIPPED = "skipped.csv"
COLUMNS = ["Path", "split", "reason", "sha256"]


@dataclass(frozen=True)
class Source:
    """What shards, or the list of cells that were left out, say about one source image."""

    split: str
    sha256: str  # of its bytes; "" where it could not be read
    skipped: bool  # then label and subject were not recorded
    label: int | None = None
    subject: str | None = None


def source_sha256(file: Path) -> str:
    """Hex SHA-256 of a source's bytes, or "" where they cannot be read."""
    try:
        return file_sha256(file)
    except UserError:
        return ""


def recorded_sources(folder: Path, manifest: Manifest) -> dict[str, Source]:
    """What a build was made of, by source path; every shard is hashed on the way.

    Raises ``UserError`` for a shard that is not what the manifest lists, and where skipped.csv does not fit.
    """
    recorded = _skipped_sources(folder, manifest)
    for split in manifest.splits:
        reader = SplitReader(folder, manifest, split.name)
        for position, sample in enumerate(reader.samples):
            info = reader.info(position)
            values = (split.name, str(info.get("sha256")), False, sample.label, info.get("subject"))
            recorded[str(info.get("source"))] = Source(*values)
    return recorded


def _skipped_sources(folder: Path, manifest: Manifest) -> dict[str, Source]:
    if not manifest.skipped:
        return {}
    try:
        with (folder / SKIPPED).open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file, strict=True))
        skipped = {row["Path"]: Source(row["split"], row["sha256"], True) for row in rows}
    except (OSError, UnicodeDecodeError, csv.Error, KeyError):
        skipped = {}
    if len(skipped) != manifest.skipped:
        raise UserError(f"{folder / SKIPPED}: does not list the {manifest.skipped} cells that the manifest counts")
    return skipped


def listing_difference(dataset: Dataset, recorded: dict[str, Source]) -> str | None:
    """The first source that only one of both knows, in words; None where both list the same."""
    sources = {cell.source for cell in dataset.cells}
    new = [cell.source for cell in dataset.cells if cell.source not in recorded]
    gone = [source for source in recorded if source not in sources]
    if new:
        return f"{new[0]} is new" + _more(new)
    return f"{gone[0]} is gone" + _more(gone) if gone else None


def placing_difference(dataset: Dataset, recorded: dict[str, Source]) -> str | None:
    """The first source in another split, or of another label or subject, in words; both must list the same."""
    for cell in dataset.cells:
        was = recorded[cell.source]
        for name in ("split",) if was.skipped else ("split", "label", "subject"):
            if getattr(cell, name) != getattr(was, name):
                return f"{cell.source} has {name} {getattr(cell, name)}, not {getattr(was, name)}"
    return None


def content_difference(dataset: Dataset, recorded: dict[str, Source], workers: int) -> str | None:
    """The sources whose bytes are not the recorded ones, in words; None where all are. Both must list the same.

    ``workers`` threads read and hash: neither holds Python's lock.
    """
    cells = dataset.cells
    changed = [c.source for c, sha256 in _hashed(cells, workers) if sha256 != recorded[c.source].sha256]
    return f"{changed[0]} has changed" + _more(changed) if changed else None


def _hashed(cells: tuple[Cell, ...], workers: int) -> Iterable[tuple[Cell, str]]:
    with ThreadPoolExecutor(max(1, workers)) as pool:
        hashes = pool.map(source_sha256, [cell.file for cell in cells])
        yield from zip(cells, tqdm(hashes, total=len(cells), unit="cell", desc="check", disable=None), strict=True)


def _more(names: list[str]) -> str:
    return f" (and {len(names) - 1} more)" if len(names) > 1 else ""
