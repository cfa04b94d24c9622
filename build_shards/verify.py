"""Check finished shards against their manifest, down to every pixel, and against the sources they were made of."""

from pathlib import Path

from build_shards.dataset import Dataset
from build_shards.sources import content_difference, listing_difference, recorded_sources
from contract.errors import UserError
from contract.manifest import Manifest, load_manifest
from contract.shard_reader import SplitReader


def verify(folder: Path) -> Manifest:
    """Check every hash, count, class count, member, image, JSON and key of the shards in ``folder``.

    Raises ``UserError`` that names the first bad shard and what is wrong with it.
    """
    manifest = load_manifest(folder)
    splits = [split.name for split in manifest.splits]
    for shard in manifest.shards:
        if shard.split not in splits:
            raise UserError(f"{shard.name}: its split {shard.split!r} is none of the manifest's: {', '.join(splits)}")
    shard_of: dict[str, str] = {}
    for split in manifest.splits:
        reader = SplitReader(folder, manifest, split.name)
        for position, sample in enumerate(reader.samples):
            if sample.key in shard_of:
                raise UserError(f"{sample.shard}: the key {sample.key!r} is in {shard_of[sample.key]} too")
            shard_of[sample.key] = sample.shard
            if (sample.label is None) == split.labelled:
                raise UserError(f"{sample.shard}: {sample.key} has {'no' if split.labelled else 'a'} label")
            _check_content(reader, position)
    return manifest


def verify_sources(folder: Path, manifest: Manifest, dataset: Dataset, workers: int) -> None:
    """Check that the shards were made of the very files of ``dataset``, whatever its split.

    Raises ``UserError`` that names the first source that is new, gone or changed.
    """
    recorded = recorded_sources(folder, manifest)
    difference = listing_difference(dataset, recorded) or content_difference(dataset, recorded, workers)
    if difference is not None:
        raise UserError(f"{folder}: was made of other sources: {difference}")


def _check_content(reader: SplitReader, position: int) -> None:
    sample = reader.samples[position]
    if not reader.image(position).any():
        raise UserError(f"{sample.shard}: the image {sample.key} is all background")
    missing = {"source", "subject", "box", "sha256"} - reader.info(position).keys()
    if missing:
        raise UserError(f"{sample.shard}: {sample.key}.json lacks {sorted(missing)[0]!r}")
