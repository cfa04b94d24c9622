"""Recognise a finished build: of the same recipe and the same sources to the byte, with every shard intact."""

from collections import Counter
from dataclasses import fields, replace
from pathlib import Path

from build_shards.dataset import Dataset
from build_shards.plan import ShardPlan
from build_shards.sources import content_difference, listing_difference, placing_difference, recorded_sources
from contract.errors import ANEW, UserError
from contract.manifest import Manifest, load_manifest
from contract.recipe import Recipe


def finished_build(
    dataset: Dataset, recipe: Recipe, plans: list[ShardPlan], folder: Path, workers: int, skip_bad: bool
) -> Manifest:
    """The manifest in ``folder``, when a build of ``dataset`` by ``recipe`` into the shards of ``plans`` ends in it.

    Raises ``UserError`` that says what differs: recipe, name, a split's number of shards, the first source that is new,
    gone, placed otherwise or changed; and for a shard that is gone or damaged.
    """
    manifest = load_manifest(folder)
    left_out = manifest.skipped and not skip_bad
    other = _other_choices(replace(manifest.recipe, target=()), recipe)  # a stain's target is fitted anew
    differing = {
        f"another recipe ({'; '.join(other)})": bool(other),
        f"another name ({manifest.dataset!r}, not {dataset.name!r})": manifest.dataset != dataset.name,
        f"another split (by {manifest.split_by}, not {dataset.split_by})": manifest.split_by != dataset.split_by,
        f"all but {manifest.skipped} cells, which --skip-bad left out": left_out,
    }
    for what, differs in differing.items():
        _refuse_if(bool(differs), folder, what)
    missing = [shard.name for shard in manifest.shards if not (folder / shard.name).is_file()]
    if missing:
        raise UserError(f"{folder / missing[0]}: the manifest lists this shard and it is gone: {ANEW} builds anew")
    difference = _source_difference(dataset, folder, manifest, workers)
    _refuse_if(difference is not None, folder, f"other sources (of {manifest.dataset}: {difference})")
    counts = _count_differences(manifest, plans)
    _refuse_if(bool(counts), folder, f"another plan ({'; '.join(counts)})")
    return manifest


def _other_choices(there: Recipe, asked: Recipe) -> list[str]:
    names = (field.name for field in fields(Recipe))
    pairs = ((name, getattr(there, name), getattr(asked, name)) for name in names)
    return [f"{name} {one}, not {other}" for name, one, other in pairs if one != other]


def _count_differences(manifest: Manifest, plans: list[ShardPlan]) -> list[str]:
    """Split by split: two plans may deal the same cells otherwise over as many shards in all."""
    there, planned = Counter(shard.split for shard in manifest.shards), Counter(plan.split for plan in plans)
    splits = [split for split in there | planned if there[split] != planned[split]]
    return [f"{there[split]} shards of {split}, not {planned[split]}" for split in splits]


def _source_difference(dataset: Dataset, folder: Path, manifest: Manifest, workers: int) -> str | None:
    recorded = recorded_sources(folder, manifest)
    listed = listing_difference(dataset, recorded) or placing_difference(dataset, recorded)
    if listed is not None:
        return listed
    changed = content_difference(dataset, recorded, workers)
    if changed is None and manifest.source_digest != dataset.digest:
        return "the order of the cells, who is one person, or the IDs of a submission"
    return changed


def _refuse_if(differs: bool, folder: Path, what: str) -> None:
    if differs:
        raise UserError(f"{folder}: holds shards of {what}: {ANEW} builds them anew")
