"""Write a dataset as WebDataset shards: preprocess in worker processes, publish by rename, manifest last."""

import hashlib
import json
import multiprocessing
import os
import shutil
import tempfile
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import webdataset
from tqdm import tqdm

from build_shards.dataset import Cell, Dataset
from build_shards.preprocess import cell_mask, preprocess, read_image
from contract.errors import UserError
from contract.manifest import CLASSES, FORMAT, NAME, Manifest, PixelStatistics, Shard, Split, load_manifest
from contract.publish import file_sha256, publish_text
from contract.recipe import Recipe

SAMPLES_PER_SHARD = 256


@dataclass(frozen=True)
class ShardPlan:
    """The cells of one shard, with their keys, in their order."""

    name: str
    split: str
    keyed_cells: tuple[tuple[str, Cell], ...]


@dataclass(frozen=True)
class ShardResult:
    """A written shard, and exact integer sums over its cell pixels."""

    shard: Shard
    shrunk: int
    pixels: int
    total: tuple[int, ...]  # per RGB channel
    squares: tuple[int, ...]  # per RGB channel, of the squared values


def build(dataset: Dataset, recipe: Recipe, folder: Path, workers: int, force: bool) -> tuple[Manifest, bool]:
    """Write the shards of ``dataset`` and their manifest into ``folder``; returns it, and whether it was built now.

    A finished build of the same dataset and recipe is left as it is. Bytes do not depend on ``workers``.
    Raises ``UserError`` when ``folder`` holds another build and not ``force``, and for any bad image; then
    nothing of this build is left behind.
    """
    if (folder / NAME).exists() and not force:
        return _finished(dataset, recipe, load_manifest(folder), folder), False
    ours = not folder.exists()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        staging = Path(tempfile.mkdtemp(prefix=".building-", dir=folder))
    except OSError as error:
        raise UserError(f"{folder}: cannot be written: {error.strerror}") from None
    try:
        results = _write_shards(plan_shards(dataset), recipe, staging, workers)
        manifest = _manifest(dataset, recipe, results)
        _publish(staging, folder, manifest, force)
    except OSError as error:
        raise UserError(f"{folder}: cannot be written: {error.strerror}") from None
    finally:
        shutil.rmtree(staging, ignore_errors=True)
        if ours and not any(folder.iterdir()):
            folder.rmdir()
    return manifest, True


def plan_shards(dataset: Dataset) -> list[ShardPlan]:
    """Deal every split's cells over its shards: each class apart, in an order drawn from the source paths.

    So class proportions differ by at most one sample between shards, and neighbours in a shard are strangers.
    """
    plans = []
    for split in dict.fromkeys(cell.split for cell in dataset.cells):
        cells = [(f"{split}-{i:06d}", c) for i, c in enumerate(c for c in dataset.cells if c.split == split)]
        shards = max(1, -(-len(cells) // SAMPLES_PER_SHARD))
        dealt = sorted(cells, key=lambda item: (str(item[1].label), _scatter(item[1])))
        for number in range(shards):
            members = sorted(dealt[number::shards], key=lambda item: _scatter(item[1]))
            plans.append(ShardPlan(f"{split}-{number:06d}.tar", split, tuple(members)))
    return plans


def _scatter(cell: Cell) -> str:
    return hashlib.sha256(cell.source.encode()).hexdigest()


def _finished(dataset: Dataset, recipe: Recipe, manifest: Manifest, folder: Path) -> Manifest:
    """The manifest that is there, when it is of this dataset and recipe; else a refusal that says what differs."""
    if manifest.recipe != recipe:
        raise UserError(f"{folder}: holds shards of another recipe ({manifest.recipe}): --force builds them anew")
    if manifest.source_digest != dataset.digest:
        raise UserError(f"{folder}: holds shards of other sources ({manifest.dataset}): --force builds them anew")
    if manifest.dataset != dataset.name:
        raise UserError(
            f"{folder}: its shards are named {manifest.dataset!r}, not {dataset.name!r}: --force builds anew"
        )
    missing = [shard.name for shard in manifest.shards if not (folder / shard.name).is_file()]
    if missing:
        raise UserError(f"{folder / missing[0]}: the manifest lists this shard and it is gone: --force builds anew")
    return manifest


def _write_shards(plans: list[ShardPlan], recipe: Recipe, staging: Path, workers: int) -> list[ShardResult]:
    total = sum(len(plan.keyed_cells) for plan in plans)
    results = []
    with tqdm(total=total, unit="cell", desc="shards", disable=None) as bar:
        for result in _map_shards(plans, recipe, staging, workers):
            bar.update(result.shard.samples)
            results.append(result)
    return results


def _map_shards(plans: list[ShardPlan], recipe: Recipe, staging: Path, workers: int) -> Iterator[ShardResult]:
    jobs = [(plan, recipe, staging) for plan in plans]
    if workers <= 1:
        yield from map(_write_shard, jobs)
        return
    context = multiprocessing.get_context("spawn")  # forking a process that runs threads can lock up
    with ProcessPoolExecutor(min(workers, len(jobs)), context) as pool:
        try:
            yield from pool.map(_write_shard, jobs)
        except BrokenProcessPool:
            raise UserError(
                f"{staging.parent}: a worker process was killed (out of memory?): nothing is kept"
            ) from None
        finally:
            pool.shutdown(cancel_futures=True)


def _write_shard(job: tuple[ShardPlan, Recipe, Path]) -> ShardResult:
    """Preprocess and write one shard; runs in a worker process."""
    plan, recipe, staging = job
    cv2.setNumThreads(1)  # one worker, one core
    path, shrunk, counts = staging / plan.name, 0, [0, 0]
    pixels, total, squares = 0, np.zeros(3, np.int64), np.zeros(3, np.int64)
    with path.open("wb") as file, webdataset.TarWriter(file, encoder=False, mtime=0) as tar:
        for key, cell in plan.keyed_cells:
            image, data = read_image(cell.file)
            crop = preprocess(image, recipe, str(cell.file))
            tar.write(_members(key, cell, crop.image, crop.box, data))
            values = crop.image[cell_mask(crop.image)].astype(np.int64)
            pixels, total, squares = pixels + len(values), total + values.sum(0), squares + (values**2).sum(0)
            shrunk += crop.shrunk
            if cell.label is not None:
                counts[cell.label] += 1
        tar.close()
        file.flush()
        os.fsync(file.fileno())
    shard = Shard(plan.name, plan.split, len(plan.keyed_cells), tuple(counts), path.stat().st_size, file_sha256(path))
    return ShardResult(shard, shrunk, pixels, tuple(map(int, total)), tuple(map(int, squares)))


def _members(key: str, cell: Cell, image: np.ndarray, box: tuple[int, int, int, int], data: bytes) -> dict[str, object]:
    """One sample as ``TarWriter`` takes it: the image as PNG, the label if any, and where it came from."""
    info = {"source": cell.source, "subject": cell.subject, "box": box, "sha256": hashlib.sha256(data).hexdigest()}
    ok, png = cv2.imencode(".png", image[:, :, ::-1])
    if not ok:
        raise RuntimeError(f"{cell.file}: OpenCV could not encode a PNG")
    sample: dict[str, object] = {"__key__": key, "png": png.tobytes(), "json": json.dumps(info).encode()}
    if cell.label is not None:
        sample["cls"] = str(cell.label).encode()
    return sample


def _manifest(dataset: Dataset, recipe: Recipe, results: list[ShardResult]) -> Manifest:
    subjects = {s: _subjects(dataset, s) for s in dict.fromkeys(cell.split for cell in dataset.cells)}
    splits = tuple(
        Split(
            name,
            any(cell.label is not None for cell in dataset.cells if cell.split == name),
            sum(cell.split == name for cell in dataset.cells),
            len(found),
            len(found & subjects.get("train", set())),
        )
        for name, found in subjects.items()
    )
    return Manifest(
        format=FORMAT,
        dataset=dataset.name,
        layout=dataset.layout,
        split_by=dataset.split_by,
        source_digest=dataset.digest,
        classes=CLASSES,
        recipe=recipe,
        pixels=_pixel_statistics([r for r in results if r.shard.split == "train"]),
        shrunk=sum(result.shrunk for result in results),
        splits=splits,
        submissions=dataset.submissions,
        shards=tuple(result.shard for result in results),
    )


def _subjects(dataset: Dataset, split: str) -> set[str]:
    return {cell.subject for cell in dataset.cells if cell.split == split and cell.subject is not None}


def _pixel_statistics(results: list[ShardResult]) -> PixelStatistics:
    """Mean and standard deviation from exact integer sums, so that they do not depend on an order."""
    pixels = sum(result.pixels for result in results)
    mean = [sum(r.total[c] for r in results) / pixels for c in range(3)]
    variance = [sum(r.squares[c] for r in results) / pixels - mean[c] ** 2 for c in range(3)]
    std = [max(v, 1.0) ** 0.5 for v in variance]
    return PixelStatistics((mean[0], mean[1], mean[2]), (std[0], std[1], std[2]))


def _publish(staging: Path, folder: Path, manifest: Manifest, force: bool) -> None:
    """Move the shards into place: the old manifest goes first, the new one comes last.

    Only files that the old manifest lists are removed. A tar that no manifest lists is overwritten when it has the
    same bytes (a build killed while publishing) or with ``force``.
    """
    for shard in manifest.shards:
        path = folder / shard.name
        if path.exists() and not force and file_sha256(path) != shard.sha256:
            raise UserError(f"{path}: is there already, and no manifest lists it: move it, or --force overwrites it")
    for path in _listed(folder):
        path.unlink(missing_ok=True)
    for shard in manifest.shards:
        os.replace(staging / shard.name, folder / shard.name)
    publish_text(folder / NAME, manifest.to_json())


def _listed(folder: Path) -> list[Path]:
    """The manifest that is there, if any, and the shards that it lists; alone where it is damaged."""
    if not (folder / NAME).exists():
        return []
    try:
        return [folder / NAME, *(folder / shard.name for shard in load_manifest(folder).shards)]
    except UserError:
        return [folder / NAME]
