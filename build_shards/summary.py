"""The manifest of written shards: exact sums over all of them, whatever order they were written in."""

from build_shards.dataset import Dataset
from build_shards.shard_writer import ShardResult
from contract.errors import UserError
from contract.manifest import CLASSES, FORMAT, Manifest, PixelStatistics, Split
from contract.recipe import Recipe


def make_manifest(dataset: Dataset, recipe: Recipe, results: list[ShardResult]) -> Manifest:
    """Describe a build; raises ``UserError`` for a split of which ``--skip-bad`` left no cell."""
    splits = _splits(dataset, results)
    _refuse_empty(splits)
    return Manifest(
        format=FORMAT,
        dataset=dataset.name,
        layout=dataset.layout,
        split_by=dataset.split_by,
        folds=dataset.folds,
        fold=dataset.fold,
        identities=dataset.identities,
        source_digest=dataset.digest,
        classes=CLASSES,
        recipe=recipe,
        pixels=_pixel_statistics([r for r in results if r.shard.split == "train"]),
        shrunk=sum(result.shrunk for result in results),
        unnormalised=tuple(key for result in results for key in result.unnormalised),
        skipped=sum(len(result.skipped) for result in results),
        splits=splits,
        submissions=dataset.submissions,
        shards=tuple(result.shard for result in results),
    )


def _splits(dataset: Dataset, results: list[ShardResult]) -> tuple[Split, ...]:
    skipped = {s.source for result in results for s in result.skipped}
    kept = [cell for cell in dataset.cells if cell.source not in skipped]
    splits = dict.fromkeys(cell.split for cell in dataset.cells)
    subjects = {s: {c.subject for c in kept if c.split == s and c.subject is not None} for s in splits}
    return tuple(
        Split(
            name=name,
            labelled=any(cell.label is not None for cell in dataset.cells if cell.split == name),
            samples=sum(result.shard.samples for result in results if result.shard.split == name),
            subjects=len(subjects[name]),
            shared_subjects=len(subjects[name] & subjects.get("train", set())),
        )
        for name in splits
    )


def _refuse_empty(splits: tuple[Split, ...]) -> None:
    for split in splits:
        if split.samples == 0:
            raise UserError(f"the split {split.name!r} has no readable cell: --skip-bad left out all of them")


def _pixel_statistics(results: list[ShardResult]) -> PixelStatistics:
    """Mean and standard deviation from exact integer sums, so that they do not depend on an order."""
    pixels = sum(result.pixels for result in results)
    mean = [sum(r.total[c] for r in results) / pixels for c in range(3)]
    variance = [sum(r.squares[c] for r in results) / pixels - mean[c] ** 2 for c in range(3)]
    std = [max(v, 1.0) ** 0.5 for v in variance]
    return PixelStatistics((mean[0], mean[1], mean[2]), (std[0], std[1], std[2]))
